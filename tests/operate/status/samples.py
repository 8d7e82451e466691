"""A status with something in every place, and the same with a text of one's own in each of its texts."""

from dataclasses import fields, is_dataclass, replace
from datetime import date, timedelta
from typing import Any

from app import PARTS
from chalicelib.backup.status import Backup, BackupsStatus
from chalicelib.core.pauses import Pause
from chalicelib.operate.status import page
from chalicelib.operate.status.findings import Finding
from chalicelib.operate.status.queue import DeadJob, Depth, QueueStatus
from chalicelib.operate.status.runs import Run
from chalicelib.operate.status.status import Status
from chalicelib.operate.status.tasks import WORST, Day, DayStatus, TaskStatus
from tests.operate.status.conftest import DAY, HOUR, MINUTE, NOW

MORNING = NOW.replace(hour=8)


def run(**changed: Any) -> Run:
    values: dict[str, Any] = {
        "id": "run-1",
        "task": "daily_digest",
        "scheduled_for": MORNING,
        "trigger": "schedule",
        "status": "succeeded",
        "attempt": 1,
        "started_at": MORNING,
        "finished_at": MORNING + MINUTE,
        "lease_until": MORNING,
        "total": 0,
        "succeeded": 0,
        "failed": 0,
        "skipped": 0,
        "error_type": None,
        "error": None,
    }
    return Run(**values | changed)


def days(*statuses: DayStatus) -> tuple[Day, ...]:
    """Return thirty days up to today, the last of them with these statuses, the others with none."""
    all_: list[DayStatus] = [*["none"] * (30 - len(statuses)), *statuses]  # type: ignore[list-item]
    first = date(2026, 3, 2) - timedelta(days=29)
    return tuple(
        Day(date=first + timedelta(days=n), status=status, counts={} if status == "none" else {status: n})
        for n, status in enumerate(all_)
    )


def task(**changed: Any) -> TaskStatus:
    values: dict[str, Any] = {
        "name": "daily_digest",
        "schedule": "0 8 * * *",
        "words": "At 08:00 every day",
        "is_interval": False,
        "pause": None,
        "days": days("succeeded"),
        "durations": (1200, 3400, 1600),
        "latest": run(),
        "settled": (run(),),
        "fires": (MORNING + DAY, MORNING + 2 * DAY, MORNING + 3 * DAY),
        "local_fires": ("3 Mar 08:00 UTC", "4 Mar 08:00 UTC", "5 Mar 08:00 UTC"),
        "unheard_since": None,
    }
    return TaskStatus(**values | changed)


PAUSE = Pause(kind="task", name="database_cleanup", reason="It deletes too much.", paused_at=NOW - HOUR)
BACKUP = Backup(
    id="20260302T010000Z-1a2b3c01",
    kind="dump",
    status="finished",
    taken_at=NOW.replace(hour=1),
    verified_at=NOW.replace(hour=1) + MINUTE,
    drilled_at=NOW.replace(hour=4),
    bytes=1_240_000_000,
    error=None,
)


def status(**changed: Any) -> Status:
    """Return a status in which every part of the page has something to show."""
    failed = run(status="failed", error="SES does not answer", total=104, failed=3)
    dead = DeadJob(
        id="0f8fad5b-d9cb-469f-a165-70867728950e",
        type="send_email",
        queue="work",
        attempts=10,
        ended_at=NOW - 5 * HOUR,
        error="Maximum sending rate exceeded",
    )
    values: dict[str, Any] = {
        "site_name": "The Night Owl",
        "service": "nightshift-prod",
        "read_at": NOW,
        "headline": "2 things are not well. First: daily_digest failed on 2 Mar 08:00.",
        "findings": (
            Finding(section="tasks", subject="daily_digest", matter="failed on 2 Mar 08:00", reason="SES is away"),
            Finding(section="queue", subject="2 jobs", matter="were given up"),
        ),
        "tasks": (
            task(latest=failed, settled=(failed,), days=days(*reversed(WORST))),
            task(name="database_cleanup", pause=PAUSE, durations=()),
            task(name="monthly_report", words="At 09:00 on the first day of every month, Europe/Berlin"),
            task(name="external_sync", is_interval=True, schedule="every 15 minutes", fires=(), latest=None),
        ),
        "running": (
            run(task="external_sync", status="running", started_at=NOW - MINUTE, lease_until=NOW + HOUR),
            run(task="cache_warming", status="running", started_at=NOW - HOUR, lease_until=NOW - MINUTE),
        ),
        "queue": QueueStatus(
            depths=(
                Depth(queue="work", waiting=1234, held_back=5, in_work=3, later=41, dead=21, oldest_due_at=NOW - HOUR),
                Depth(queue="priority"),
            ),
            dead=(dead, replace(dead, id="2", error=None, ended_at=None, attempts=1)),
        ),
        "sections": {
            "backups": BackupsStatus(
                latest=(
                    BACKUP,
                    replace(BACKUP, verified_at=None, drilled_at=None, bytes=None),
                    replace(BACKUP, status="failed", verified_at=None, error="S3 said no"),
                ),
                verified=BACKUP,
            )
        },
        "pauses": (PAUSE, Pause(kind="job", name="send_email", reason="SES is down", paused_at=NOW - DAY)),
    }
    return Status(**values | changed)


def html(shown: Status) -> str:
    """Return the page of a deployment with every part."""
    return page.html(shown, PARTS)


def with_text(value: Any, text: str) -> Any:
    """Return a status, or a part of one, with this text in each of its texts."""
    if isinstance(value, str):
        return text
    if isinstance(value, tuple):
        return tuple(with_text(each, text) for each in value)
    if isinstance(value, dict):
        return {key: with_text(each, text) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: with_text(getattr(value, field.name), text) for field in fields(value)})
    return value
