"""Arguments and options that several commands share: their help, their completion, and the parsing of times."""

import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from chalicelib.core.clock import to_ms
from nightshift.cli.output import UsageError
from nightshift.project import triggers
from nightshift.project.stage import stages_of

# The length of `pauses.reason`.
MAX_REASON = 500
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
# Outside these years, a conversion to another zone could overflow.
FIRST_YEAR, LAST_YEAR = 1970, 9998
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)


def complete_stage(incomplete: str) -> list[str]:
    """Return the stages of .chalice/config.json that start with the text."""
    return _starting(stages_of(Path.cwd()), incomplete)


def complete_task(incomplete: str) -> list[str]:
    """Return the tasks of app.py that start with the text."""
    return _starting(_functions("task"), incomplete)


def complete_function(incomplete: str) -> list[str]:
    """Return the functions of app.py that start with the text."""
    return _starting(_functions("task", "expression", "queue", "topic", "function"), incomplete)


def complete_type(incomplete: str) -> list[str]:
    """Return the job types with a handler that start with the text."""
    return _starting((path.stem for path in Path("chalicelib", "handlers").glob("[!_]*.py")), incomplete)


def _functions(*kinds: triggers.Kind) -> list[str]:
    # A shell that completes a word has no place for an error message.
    with suppress(ValueError):
        return triggers.functions_of(triggers.read(Path.cwd()), *kinds)
    return []


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _check_reason(reason: str) -> str:
    if not reason.strip():
        raise typer.BadParameter("it is empty; say why you pause it")
    if len(reason) > MAX_REASON:
        raise typer.BadParameter(f"it has {len(reason)} characters; at most {MAX_REASON} are allowed")
    return reason


def check_stage(stage: str | None) -> str | None:
    """Return the stage. Raises BadParameter for an empty one, such as an unset shell variable."""
    if stage is not None and not stage.strip():
        raise typer.BadParameter("it is empty; name a stage of .chalice/config.json")
    return stage


StageName = Annotated[
    str | None,
    typer.Option(
        "--stage",
        callback=check_stage,
        help="The deployed stage. Default: the database and settings of this shell.",
        autocompletion=complete_stage,
    ),
]
TaskName = Annotated[str, typer.Argument(metavar="TASK", show_default=False, autocompletion=complete_task)]
JobType = Annotated[str, typer.Argument(metavar="TYPE", show_default=False, autocompletion=complete_type)]
Reason = Annotated[
    str, typer.Option(callback=_check_reason, help="Why it is paused. Shown in status.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the full answer as JSON.")]


def read_time(text: str, zone: ZoneInfo) -> datetime:
    """Return the time in UTC; a date means its start. Raises UsageError for invalid text, or a time that DST skips."""
    local, day = _parse_time(text), _parse_date(text)
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    moment = local.replace(tzinfo=zone).astimezone(UTC)
    # A day that starts later, because DST skips midnight, is still a whole day.
    if day is None and moment.astimezone(zone).replace(tzinfo=None) != local:
        raise UsageError(f"{text} does not exist in {zone}: a clock change skips it. Use UTC: 2026-03-29T01:00:00Z")
    return moment


def read_end(text: str, zone: ZoneInfo) -> datetime:
    """Return the time in UTC; a date means its last second. Raises UsageError as `read_time` does."""
    moment, day = read_time(text, zone), _parse_date(text)
    return moment if day is None else read_time((day + DAY).isoformat(), zone) - SECOND


def read_since(text: str, *, now: datetime) -> int:
    """Return the start of a period such as 15m, or a time, as epoch milliseconds; without a zone it is in UTC."""
    if ago := _AGO.fullmatch(text):
        seconds = timedelta(**{UNITS[ago[2]]: int(ago[1])}).total_seconds()
        return max(to_ms(now) - round(1000 * seconds), 0)
    try:
        moment = read_time(text, ZoneInfo("UTC"))
    except ValueError:
        raise UsageError(
            f"--since {text!r:.60} is invalid: use 30s, 15m, 2h, 3d or a time such as 2026-02-01T09:00"
        ) from None
    if moment > now:
        raise UsageError(f"--since {text:.60} is in the future")
    return max(to_ms(moment), 0)


def _parse_time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if FIRST_YEAR <= moment.year <= LAST_YEAR:
            return moment
    except ValueError:
        pass
    raise UsageError(
        f"{text!r:.60} is not a time: use 2026-02-01T09:00, 2026-02-01, or with a zone 2026-02-01T08:00:00Z"
    )


def _parse_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
