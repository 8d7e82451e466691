"""Arguments and options that many commands take."""

from typing import Annotated

import typer

from nightshift.completion import complete_stage, complete_task, complete_type


def _check_reason(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("it is empty, and whoever finds it paused will ask why")
    return reason


StageName = Annotated[
    str | None,
    typer.Option("--stage", help="The stage; without it, the settings of this shell.", autocompletion=complete_stage),
]
TaskName = Annotated[str, typer.Argument(metavar="TASK", show_default=False, autocompletion=complete_task)]
JobType = Annotated[str, typer.Argument(metavar="TYPE", show_default=False, autocompletion=complete_type)]
Reason = Annotated[
    str, typer.Option(callback=_check_reason, help="Why, for whoever finds it paused.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")]
