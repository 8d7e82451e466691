"""`nightshift adopt`: map an application's existing database."""

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from nightshift.cli.options import read_time
from nightshift.cli.output import UsageError, console, friendly_errors, print_lines, table

if TYPE_CHECKING:
    from nightshift.adopt.choices import Choice, Made


def adopt(
    yes: Annotated[bool, typer.Option("--yes", help="Take every proposal.")] = False,
    chosen: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Answer one question, such as posts=articles. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print application.py; do not write it.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an application.py that was changed.")] = False,
    at: Annotated[
        str | None, typer.Option("--at", help="Count what the tasks would do at this time, in UTC. Default: now.")
    ] = None,
    user: Annotated[str, typer.Option("--user", help="The user of the deployment, for the GRANTs.")] = "nightshift",
) -> None:
    """Map the tables of DATABASE_URL: write chalicelib/application.py.

    Nothing is written to the database. It asks where it is not sure, and then shows what each task would do today,
    the rights that the deployment needs, and indexes that are missing.

    Example: nightshift adopt --yes --dry-run
    """
    with friendly_errors():
        from nightshift.adopt import report, writing
        from nightshift.adopt.choices import Choices
        from nightshift.adopt.database import read_database, read_only
        from nightshift.adopt.proposal import propose
        from nightshift.local.environment import engine_of

        if not os.environ.get("DATABASE_URL"):
            raise ValueError(
                "DATABASE_URL is not set: DATABASE_URL=mysql+pymysql://user:password@host/database nightshift adopt"
            )
        if not yes and not sys.stdin.isatty():
            raise UsageError("standard input is not a terminal: --yes takes every proposal, --set KEY=VALUE answers")
        moment = read_time(at, ZoneInfo("UTC")) if at else datetime.now(UTC)
        choices = Choices(ask=_take if yes else _ask, given=dict(_answers(chosen or [])))
        engine = engine_of(os.environ)
        read_only(engine)
        with engine.connect() as connection:
            source = read_database(connection)
            proposal = propose(source, choices)
            text = writing.render(proposal)
            print_lines(_lines(choices.made))
            if dry_run:
                console.print(f"\n{text}", markup=False)
            else:
                writing.write(Path.cwd(), text, force=force)
                print_lines(["", f"Written: {writing.PATH}"])
            print_lines(report.lines(source, proposal, text, at=moment, user=user))


def _take(choice: "Choice") -> str:
    return choice.proposal


def _ask(choice: "Choice") -> str:
    console.print(f"\n{choice.key}: {choice.reason}.", markup=False)
    return str(typer.prompt(choice.question, default=choice.proposal))


def _answers(chosen: list[str]) -> Iterator[tuple[str, str]]:
    for text in chosen:
        key, is_given, value = text.partition("=")
        if not (key and is_given and value):
            raise UsageError(f"--set {text!r:.60} is invalid: use KEY=VALUE, such as --set posts=articles")
        yield key, value


def _lines(made: "list[Made]") -> Iterator[str]:
    yield from table(
        ("Nightshift's", "yours", "because"), (((each.choice.key, each.answer), [each.reason]) for each in made)
    )
