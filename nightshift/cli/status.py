"""`nightshift status`: what ran, what did not, and what to check first."""

import webbrowser
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.cli.options import AsJson, StageName
from nightshift.cli.output import console, friendly_errors, print_json, print_lines
from nightshift.cli.progress import ask

if TYPE_CHECKING:
    from chalicelib.operate.status.status import Status

# The exit code if there is a problem: 1 is an error, 2 invalid usage, and 3 a skipped run.
PROBLEMS = 4


def status(
    as_json: AsJson = False,
    open_: Annotated[bool, typer.Option("--open", help="Store it as a web page and open a short-lived link.")] = False,
    stage: StageName = None,
) -> None:
    """Show what ran, what did not, what waits, and what to check first.

    Exits with 4 if there is a problem.

    Example: nightshift status --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "status.page" if open_ else "status")
        found = None if as_json or open_ else read_status(answer)
    if as_json:
        print_json(answer)
    elif open_:
        print_lines([answer["link"]])
        if console.is_terminal:
            webbrowser.open(answer["link"])
    if found is not None:
        from nightshift.cli.status_view import lines

        for line in lines(found, width=console.width if console.is_terminal else None):
            console.print(line)
    if not answer["is_well"]:
        raise typer.Exit(PROBLEMS)


def read_status(answer: dict[str, Any]) -> "Status":
    """Return the status of an answer. Raises ValueError if a deployment of another version gave it."""
    import msgspec

    from chalicelib.backup.status import BackupsStatus
    from chalicelib.operate.status.status import Status

    # A deployment without a part has no section of it.
    kinds = {"backups": BackupsStatus}
    try:
        sections = {name: msgspec.convert(answer[name], kind) for name, kind in kinds.items() if name in answer}
        return replace(msgspec.convert(answer, Status), sections=sections)
    except msgspec.ValidationError as error:
        raise ValueError(f"CLI and deployment versions differ: redeploy ({error})") from None
