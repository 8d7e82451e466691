"""`nightshift make …`: generate a task or a handler in this project."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.cli.output import UsageError, friendly_errors, print_lines
from nightshift.cli.schedule import fire_lines

if TYPE_CHECKING:
    from chalicelib.schedule.schedule import Schedule

app = typer.Typer(no_args_is_help=True, help="Generate a task or a handler in this project.")

FIRES = 3


@app.command()
def task(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    cron: Annotated[
        str, typer.Option("--cron", help='A cron expression, a name such as @daily, or "every 15 minutes".')
    ],
    zone: Annotated[str | None, typer.Option("--zone", help="The time zone of the schedule. Default: UTC.")] = None,
    is_for_app: Annotated[
        bool, typer.Option("--app", help="The application does it: enqueue a job at each fire.")
    ] = False,
) -> None:
    """Generate a scheduled task with its trigger, settings, policy and test.

    If the name or the schedule is invalid, it changes nothing and exits with 1.

    Example: nightshift make task send_weekly_newsletter --cron "0 9 * * 1" --zone Europe/Berlin
    """
    with friendly_errors():
        from chalicelib.schedule.schedule import Schedule
        from nightshift.make.task import contents_of
        from nightshift.make.writing import write

        if zone is not None and len(zone.split()) != 1:
            raise UsageError("--zone must be one time zone, such as Europe/Berlin")
        schedule, now, project = Schedule(cron if zone is None else f"{cron} {zone}"), datetime.now(UTC), Path.cwd()
        contents = contents_of(project, name, schedule, now=now, is_for_app=is_for_app)
        changed = [path for path in contents if (project / path).exists()]
        write(project, contents)
        _print([*_file_lines(contents, changed), *_schedule_lines(schedule, now)])


@app.command()
def handler(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Generate a handler for a new job type, and its test.

    If the name is invalid, it changes nothing and exits with 1.

    Example: nightshift make handler resize_image
    """
    with friendly_errors():
        from nightshift.make.handler import contents_of
        from nightshift.make.writing import write

        contents = contents_of(Path.cwd(), name)
        write(Path.cwd(), contents)
        _print(_file_lines(contents, []))


def _print(lines: Iterable[str]) -> None:
    # The files are written: exit code 1 would mean that nothing was, even if standard output is closed.
    with suppress(SystemExit):
        print_lines(lines)


def _file_lines(contents: Mapping[str, str], changed: list[str]) -> Iterator[str]:
    for path in sorted(contents, key=lambda path: path in changed):
        yield f"{'changed' if path in changed else 'created'}  {path}"


def _schedule_lines(schedule: "Schedule", now: datetime) -> Iterator[str]:
    from chalicelib.operate.schedules import describe
    from chalicelib.schedule.eventbridge import rule_of

    yield ""
    yield from fire_lines(describe(schedule, now, count=FIRES))
    rule = rule_of(schedule, now=now)
    dropped = f"; drops at most {rule.surplus} fires a day" if rule.surplus else ""
    yield f"EventBridge expression: {rule.expression}{dropped}"
