"""The status of a deployment at one moment, read in a handful of queries however long its history is."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from chalicelib import pauses
from chalicelib.clock import from_ms
from chalicelib.context import Context
from chalicelib.pauses import Pause
from chalicelib.redaction import redact
from chalicelib.schedule import Schedule
from chalicelib.status.backups import BackupsStatus, read_backups
from chalicelib.status.findings import Finding, find
from chalicelib.status.queue import QueueStatus, read_queue
from chalicelib.status.runs import Run, read_running
from chalicelib.status.tasks import TaskStatus, read_tasks
from chalicelib.telemetry import SERVICE

BACKUP = "database_backup"


@dataclass(frozen=True, kw_only=True)
class Status:
    """All of it; addresses in texts are masked, secrets redacted. `service` is the deployment's name in its logs."""

    site_name: str
    service: str
    read_at: datetime
    headline: str
    findings: tuple[Finding, ...]
    tasks: tuple[TaskStatus, ...]
    running: tuple[Run, ...]
    queue: QueueStatus
    backups: BackupsStatus
    pauses: tuple[Pause, ...]

    @property
    def is_well(self) -> bool:
        """Whether there is nothing that somebody should look at."""
        return not self.findings


def read(context: Context, planned: Mapping[str, Schedule]) -> Status:
    """Return the status of the deployment; `planned` is the schedule of each task. Raises DBAPIError."""
    # To the second, as all of it is told.
    now = from_ms(context.clock.now_ms()).replace(microsecond=0)

    def work(connection: Connection) -> Status:
        paused = tuple(replace(each, reason=redact(each.reason)) for each in pauses.read(connection))
        tasks = read_tasks(connection, planned, paused, now=now)
        running = read_running(connection)
        queue = read_queue(connection, [pause.name for pause in paused if pause.kind == "job"], now=now)
        backups = read_backups(connection)
        findings = find(tasks, running, queue, backups, backup_schedule=planned.get(BACKUP), now=now)
        return Status(
            site_name=context.settings.site_name,
            service=SERVICE,
            read_at=now,
            headline=_headline(findings, tasks, paused),
            findings=findings,
            tasks=tasks,
            running=running,
            queue=queue,
            backups=backups,
            pauses=paused,
        )

    return context.database.autocommit(work)


def _headline(findings: tuple[Finding, ...], tasks: tuple[TaskStatus, ...], pauses: tuple[Pause, ...]) -> str:
    if findings:
        first = f"{findings[0].subject} {findings[0].matter}."
        return f"Not well: {first}" if len(findings) == 1 else f"{len(findings)} things are not well. First: {first}"
    if all(task.latest is None for task in tasks):
        return "Nothing has run yet, and nothing is wrong."
    if pauses:
        names = [pause.subject for pause in pauses]
        told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"All is well, with {told} paused." if len(names) <= 3 else f"All is well, with {len(names)} pauses."
    return "All is well."
