"""`nightshift status`: what ran, what did not, and what to look at first."""

import webbrowser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.options import AsJson, StageName
from nightshift.terminal import console, print_json, print_lines, sentences
from nightshift.waiting import ask

if TYPE_CHECKING:
    from chalicelib.operate.status.status import Status

# Beside 1 of a command that could not be done, 2 of a wrong option, and 3 of a run that was not needed.
NOT_WELL = 4


def status(
    as_json: AsJson = False,
    open_: Annotated[
        bool, typer.Option("--open", help="Store it as a page, and open that by a short-lived link.")
    ] = False,
    stage: StageName = None,
) -> None:
    """Show what ran, what did not, what waits, and what to look at first.

    Exits with 0 when all is well and 4 when something is not.

    Example: nightshift status --stage prod
    """
    with sentences():
        answer = ask(stage, "status.page" if open_ else "status")
        found = None if as_json or open_ else _read(answer)
    if as_json:
        print_json(answer)
    elif open_:
        print_lines([answer["link"]])
        if console.is_terminal:
            webbrowser.open(answer["link"])
    if found is not None:
        from nightshift.status_view import lines

        for line in lines(found, width=console.width if console.is_terminal else None):
            console.print(line)
    if not answer["is_well"]:
        raise typer.Exit(NOT_WELL)


def _read(answer: dict[str, Any]) -> "Status":
    import msgspec

    from chalicelib.operate.status.status import Status

    try:
        return msgspec.convert(answer, Status)
    except msgspec.ValidationError as error:
        raise ValueError(f"the deployment is of another version than this command, so deploy it: {error}") from None
