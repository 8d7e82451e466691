"""`nightshift make …`: a new task or handler, written into this project."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.schedule_view import tell_when
from nightshift.terminal import print_lines, sentences
from nightshift.usage import UsageError

if TYPE_CHECKING:
    from chalicelib.schedule.schedule import Schedule

app = typer.Typer(no_args_is_help=True, help="Write a new task or handler into this project.")

FIRES = 3


@app.command()
def task(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    cron: Annotated[str, typer.Option("--cron", help='Cron text, a name such as @daily, or "every 15 minutes".')],
    zone: Annotated[str | None, typer.Option("--zone", help="The time zone of its clock; UTC without one.")] = None,
) -> None:
    """Write a scheduled task with its trigger in app.py, its settings and policy, and a test that passes.

    Changes nothing, and exits with 1, when it refuses the name or the schedule.

    Example: nightshift make task send_weekly_newsletter --cron "0 9 * * 1" --zone Europe/Berlin
    """
    with sentences():
        from chalicelib.schedule.schedule import Schedule
        from nightshift.make.task import contents_of
        from nightshift.make.writing import write

        if zone is not None and len(zone.split()) != 1:
            raise UsageError("--zone must be one time zone, such as Europe/Berlin")
        schedule, now, project = Schedule(cron if zone is None else f"{cron} {zone}"), datetime.now(UTC), Path.cwd()
        contents = contents_of(project, name, schedule, now=now)
        changed = [path for path in contents if (project / path).exists()]
        write(project, contents)
        _print([*_tell(contents, changed), *_tell_when(schedule, now)])


@app.command()
def handler(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Write a handler of jobs of a new type, and a test that passes; the workers perform its jobs.

    Changes nothing, and exits with 1, when it refuses the name.

    Example: nightshift make handler resize_image
    """
    with sentences():
        from nightshift.make.handler import contents_of
        from nightshift.make.writing import write

        contents = contents_of(Path.cwd(), name)
        write(Path.cwd(), contents)
        _print(_tell(contents, []))


def _print(lines: Iterable[str]) -> None:
    # All is written by now: whether anybody can read of it changes no more, and 1 would mean that nothing was.
    with suppress(SystemExit):
        print_lines(lines)


def _tell(contents: Mapping[str, str], changed: list[str]) -> Iterator[str]:
    for path in sorted(contents, key=lambda path: path in changed):
        yield f"{'changed' if path in changed else 'created'}  {path}"


def _tell_when(schedule: "Schedule", now: datetime) -> Iterator[str]:
    from chalicelib.operate.schedules import describe
    from chalicelib.schedule.eventbridge import rule_of

    yield ""
    yield from tell_when(describe(schedule, now, count=FIRES))
    rule = rule_of(schedule, now=now)
    dropped = f"; fires dropped a day, at most: {rule.surplus}" if rule.surplus else ""
    yield f"EventBridge gets {rule.expression}{dropped}"
