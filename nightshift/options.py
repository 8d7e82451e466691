"""Arguments and options that many commands take."""

from typing import Annotated

import typer

from nightshift.completion import complete_stage, complete_task, complete_type

# As the tables of pauses have it.
LONGEST_REASON = 500


def _check_reason(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("it is empty, and whoever finds it paused will ask why")
    if len(reason) > LONGEST_REASON:
        raise typer.BadParameter(f"it has {len(reason)} characters, and {LONGEST_REASON} at most are kept")
    return reason


def check_stage(stage: str | None) -> str | None:
    """Return the stage. Raises BadParameter for an empty one, as of a shell's variable that was never set."""
    if stage is not None and not stage.strip():
        raise typer.BadParameter("it is empty; name a stage of .chalice/config.json")
    return stage


StageName = Annotated[
    str | None,
    typer.Option(
        "--stage",
        callback=check_stage,
        help="The stage; without it, the settings of this shell.",
        autocompletion=complete_stage,
    ),
]
TaskName = Annotated[str, typer.Argument(metavar="TASK", show_default=False, autocompletion=complete_task)]
JobType = Annotated[str, typer.Argument(metavar="TYPE", show_default=False, autocompletion=complete_type)]
Reason = Annotated[
    str, typer.Option(callback=_check_reason, help="Why, for whoever finds it paused.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")]
