"""A deployment whose history a test writes, row by row, before it reads the status."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Table, insert

from app import PARTS
from chalicelib.backup.status import BackupsStatus
from chalicelib.core.clock import to_ms
from chalicelib.operate.status.status import Status, read
from chalicelib.operate.status.tasks import TaskStatus
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups, jobs, pauses, runs, schedules
from nightshift.demo.history import fill_history
from nightshift.testkit.kit import Kit

# A Monday, and noon.
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PLANNED = {
    "daily_digest": Schedule("0 8 * * *"),
    "database_backup": Schedule("0 1 * * *"),
    "external_sync": Schedule("every 15 minutes"),
    "monthly_report": Schedule("0 9 1 * * Europe/Berlin"),
}


@dataclass(kw_only=True)
class Deployment:
    """The kit, and verbs that write rows; moments are aware, errors and reasons as somebody recorded them."""

    kit: Kit
    planned: Mapping[str, Schedule]

    def __post_init__(self) -> None:
        self._numbers = count(1)

    def insert(self, table: Table, **values: Any) -> None:
        """Insert a row."""
        statement = insert(table).values(**values)
        self.kit.context().database.transact(lambda connection: connection.execute(statement))

    def ran(self, task: str, scheduled_for: datetime, status: str = "succeeded", **changed: Any) -> str:
        """Insert a run that took two seconds, and return its id."""
        started = to_ms(scheduled_for) + 1000
        values = {
            "id": f"run-{next(self._numbers)}",
            "task": task,
            "scheduled_for": to_ms(scheduled_for),
            "trigger": "schedule",
            "status": status,
            "attempt": 1,
            "failures": 0,
            "lease_until": 0,
            "request_id": "request",
            "started_at": started,
            "finished_at": None if status == "running" else started + 2000,
        }
        self.insert(runs, **values | changed)
        return str((values | changed)["id"])

    def missed(self, task: str, scheduled_for: datetime, error_type: str) -> None:
        """Insert a fire that was not let run, or did not come."""
        self.ran(task, scheduled_for, "missed", error_type=error_type, error="because")

    def job(self, status: str, **changed: Any) -> None:
        """Insert a job that was created a minute ago."""
        values = {
            "id": f"job-{next(self._numbers)}",
            "type": "send_email",
            "data": "{}",
            "status": status,
            "created_at": to_ms(NOW - MINUTE),
        }
        self.insert(jobs, **values | changed)

    def backup(self, taken_at: datetime, *, verified: bool = True, status: str = "finished", **changed: Any) -> None:
        """Insert a backup."""
        values = {
            "id": f"{taken_at:%Y%m%dT%H%M%SZ}-{next(self._numbers):08}",
            "kind": "dump",
            "status": status,
            "taken_at": to_ms(taken_at),
            "verified_at": to_ms(taken_at + MINUTE) if verified else None,
            "stored_bytes": 1_240_000_000,
        }
        self.insert(backups, **values | changed)

    def pause(self, kind: str, name: str, reason: str = "by hand") -> None:
        """Insert a pause of an hour ago."""
        self.insert(pauses, kind=kind, name=name, reason=reason, paused_at=to_ms(NOW - HOUR))

    def watch(self, task: str, checked_until: datetime, *, text: str | None = None) -> None:
        """Insert up to when the watch has decided about the fires of a task."""
        schedule = self.planned[task].text if text is None else text
        self.insert(schedules, task=task, text=schedule, checked_until=to_ms(checked_until))

    def read(self) -> Status:
        """Read the status."""
        return read(self.kit.context(), self.planned, PARTS)

    def backups(self) -> BackupsStatus:
        """Read the section about backups."""
        found: BackupsStatus = self.read().sections["backups"]
        return found

    def task(self, name: str) -> TaskStatus:
        """Read the status of a task."""
        return next(task for task in self.read().tasks if task.name == name)

    def told(self) -> list[str]:
        """Read the findings, each as one sentence."""
        return [f"{finding.subject} {finding.matter}" for finding in self.read().findings]


@pytest.fixture
def deployment(database_url: str) -> Deployment:
    kit = Kit(database_url)
    return Deployment(kit=kit, planned=PLANNED)


@pytest.fixture
def with_history(deployment: Deployment) -> Deployment:
    """A deployment with a month behind it, of thousands of runs."""
    database = deployment.kit.context().database
    count = database.transact(
        lambda connection: fill_history(connection, deployment.planned, now=NOW, seed=1, is_well=False)
    )
    assert count > 1000
    return deployment
