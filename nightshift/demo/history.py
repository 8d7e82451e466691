"""A month of a sample deployment's history, generated from a seed: its runs, jobs, backups and pauses."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import Connection, Table, insert

from chalicelib import backup
from chalicelib.core.clock import to_ms
from chalicelib.operate.status.status import Status, read
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups, jobs, pauses, runs, schedules
from nightshift.demo.blog import new_id, seeded

DAYS = 30
# By task: the seconds that a run takes, and its number of items.
TYPICAL = {
    "daily_digest": (1.6, 172),
    "record_activity": (0.3, 65),
    "database_backup": (74, 19),
    "backup_drill": (168, 19),
    "database_cleanup": (2.4, 368),
    "monthly_report": (0.9, 1),
    "cache_warming": (0.4, 2),
    "external_sync": (1.1, 104),
}
THROTTLED = "ThrottledError: SES asks for a slower pace: Maximum sending rate exceeded"
REFUSED = "default: https://api.tides.example/items answers 503 Service Unavailable, the third time"
EXAMPLE = datetime(2026, 11, 24, 9, 44, 31, tzinfo=UTC)
SCHEDULES = {
    "daily_digest": "0 8 * * *",
    "record_activity": "5 0 * * *",
    "database_backup": "0 1 * * *",
    "backup_drill": "0 4 * * 0",
    "database_cleanup": "0 2 * * *",
    "monthly_report": "0 9 1 * * Europe/Berlin",
    "cache_warming": "every 30 minutes",
    "external_sync": "every 15 minutes",
}
TROUBLES = {
    ("daily_digest", 11): ("failed", THROTTLED),
    ("database_backup", 6): ("dead", "the copy is damaged: part 00007.sql.zst ends 18,432 bytes too early"),
    ("record_activity", 17): ("missed", "its fire did not come within 15 minutes"),
    ("external_sync", 4): ("failed", REFUSED),
    ("external_sync", 21): ("dead", REFUSED),
    ("daily_digest", 0): ("dead", "SES sends nothing for this account: sending is paused (reputation under review)"),
    ("external_sync", 0): ("failed", REFUSED),
}
DEAD_JOBS = (
    ("send_email", "to must be one plain e-mail address, not 'ada@example.com, bob@example.com'", 1, 0.6),
    ("send_email", THROTTLED, 10, 5.2),
    (
        "resize_image",
        "there is no handler for jobs of type 'resize_image'; there are generate_report, send_email",
        1,
        9,
    ),
)
OPEN_JOBS = {"pending": 12, "processing": 3, "failed": 2, "later": 41, "priority": 1}


def fill_history(
    connection: Connection, tasks: Mapping[str, Schedule], *, now: datetime, seed: int, is_well: bool
) -> int:
    """Insert the last days up to an aware `now`, with troubles that are over if `is_well`; return how many runs."""
    rng = seeded("nights", seed)
    fires = [(name, fire) for name, schedule in tasks.items() for fire in _fires(schedule, now, rng)]
    history = [_run(rng, name, fire, now=now, is_well=is_well) for name, fire in fires]
    _insert(connection, runs, history)
    watched = [{"task": name, "text": each.text, "checked_until": to_ms(now)} for name, each in tasks.items()]
    _insert(connection, schedules, watched)
    _insert(connection, backups, list(_backups(rng, now=now, is_well=is_well)))
    _insert(connection, jobs, list(_jobs(rng, now=now, is_well=is_well)))
    if not is_well:
        reason = "The new rule deletes sessions that the app still shows; see the ticket before you resume."
        paused_at = to_ms(now - timedelta(days=1, hours=7))
        _insert(connection, pauses, [_pause("task", "database_cleanup", reason, paused_at)])
        _insert(connection, pauses, [_pause("job", "send_email", "SES is looking into our bounces.", paused_at)])
    return len(history)


def read_example() -> Status:
    """Return the status that the documentation shows, always the same, from a temporary database."""
    from nightshift.testkit.clock import FrozenClock
    from nightshift.testkit.kit import Kit

    tasks = {name: Schedule(text) for name, text in SCHEDULES.items()}
    with TemporaryDirectory() as folder:
        kit = Kit(f"sqlite:///{folder}/example.db", clock=FrozenClock(EXAMPLE), SITE_NAME="The Night Owl")
        context = kit.context()
        context.database.transact(
            lambda connection: fill_history(connection, tasks, now=EXAMPLE, seed=1, is_well=False)
        )
        try:
            return replace(read(context, tasks, [backup.PART]), service="nightshift-prod")
        finally:
            context.database.engine.dispose()


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _fires(schedule: Schedule, now: datetime, rng: Random) -> Iterator[datetime]:
    start = (now - timedelta(days=DAYS - 1)).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if schedule.every is None:
        yield from takewhile(lambda fire: fire <= now, schedule.after(start - timedelta(seconds=1)))
        return
    fire = start + timedelta(minutes=rng.randrange(15))
    while fire <= now:
        yield fire
        fire += schedule.every


def _run(rng: Random, task: str, fire: datetime, *, now: datetime, is_well: bool) -> dict[str, Any]:
    seconds, items = TYPICAL.get(task, (1, 1))
    started = to_ms(fire) + rng.randrange(300, 2500)
    took = round(1000 * seconds * rng.lognormvariate(0, 0.25))
    status, error = _outcome(task, fire, now=now, is_well=is_well)
    is_running, is_done = status == "running", status == "succeeded"
    return {
        "id": new_id(rng),
        "task": task,
        "scheduled_for": to_ms(fire),
        "trigger": "schedule",
        "status": status,
        "attempt": {"missed": 0, "dead": 3, "failed": 2}.get(status, 1),
        "failures": {"dead": 3, "failed": 2}.get(status, 0),
        "lease_until": to_ms(now) + 300_000 if is_running else 0,
        "request_id": new_id(rng),
        "started_at": started,
        "finished_at": None if is_running else min(started + took, to_ms(now)),
        "total": items if is_done else 0,
        "succeeded": items if is_done else 0,
        "error_type": None if error is None else "no_fire" if status == "missed" else "TransientError",
        "error": error,
    }


def _outcome(task: str, fire: datetime, *, now: datetime, is_well: bool) -> tuple[str, str | None]:
    if now - fire < timedelta(minutes=1):
        return "running", None
    ago = (now.astimezone(UTC).date() - fire.astimezone(UTC).date()).days
    is_hit = True
    if task == "external_sync":
        # One of its many fires a day fails, and the next one recovers.
        is_hit = now - fire < timedelta(minutes=15) if ago == 0 else fire.hour == 3 and fire.minute < 15
    if ago == 0 and is_well:
        is_hit = False
    return TROUBLES.get((task, ago), ("succeeded", None)) if is_hit else ("succeeded", None)


def _backups(rng: Random, *, now: datetime, is_well: bool) -> Iterator[dict[str, Any]]:
    midnight = now.astimezone(UTC).replace(hour=1, minute=0, second=0, microsecond=0)
    for ago in range(7):
        taken = midnight - timedelta(days=ago)
        if taken + timedelta(minutes=5) > now:
            continue
        octets = round(1.24e9 - 3e6 * ago)
        is_damaged = ago == 6 and not is_well
        yield {
            "id": f"{taken:%Y%m%dT%H%M%SZ}-{new_id(rng)[:8]}",
            "kind": "dump",
            "run_id": None,
            "status": "finished",
            "taken_at": to_ms(taken),
            "started_at": to_ms(taken),
            "finished_at": to_ms(taken) + 41_000,
            "verified_at": None if is_damaged else to_ms(taken) + 74_000,
            "drilled_at": to_ms(taken + timedelta(hours=3)) if taken.weekday() == 6 else None,
            "stored_bytes": octets,
            "plain_bytes": 6 * octets,
            "error": "part 00007.sql.zst ends 18,432 bytes too early" if is_damaged else None,
        }


def _jobs(rng: Random, *, now: datetime, is_well: bool) -> Iterator[dict[str, Any]]:
    base = {"data": "{}", "attempts": 0, "queue": "work", "due_at": 0, "ended_at": None, "last_error": None}
    for kind, number in OPEN_JOBS.items():
        for _ in range(number):
            created = to_ms(now) - rng.randrange(2000, 240_000)
            changed: dict[str, Any] = {"status": kind}
            if kind in {"later", "priority"}:
                changed = {"status": "pending"}
            if kind == "later":
                changed["due_at"] = to_ms(now) + rng.randrange(60_000, 86_400_000)
            if kind == "priority":
                changed["queue"] = "priority"
            type_ = rng.choice(["send_email", "generate_report", "send_digest"])
            yield {"id": new_id(rng), "type": type_, "created_at": created, **base, **changed}
    for type_, error, attempts, hours in () if is_well else DEAD_JOBS:
        ended = to_ms(now) - round(3_600_000 * hours)
        dead = {"status": "dead", "attempts": attempts, "ended_at": ended, "last_error": error}
        yield {"id": new_id(rng), "type": type_, "created_at": ended - 60_000, **base, **dead}


def _pause(kind: str, name: str, reason: str, paused_at: int) -> dict[str, Any]:
    return {"kind": kind, "name": name, "reason": reason, "paused_at": paused_at}
