"""The status of a deployment, read in a few queries however long its history is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from chalicelib.core import pauses
from chalicelib.core.clock import from_ms
from chalicelib.core.config import optional, setting
from chalicelib.core.context import Context
from chalicelib.core.part import Part
from chalicelib.core.pauses import Pause
from chalicelib.core.redaction import redact
from chalicelib.core.telemetry import SERVICE
from chalicelib.operate.answers import to_json
from chalicelib.operate.operations import Nothing, sections_of
from chalicelib.operate.status.findings import Finding, find
from chalicelib.operate.status.queue import QueueStatus, read_queue
from chalicelib.operate.status.runs import Run, read_running
from chalicelib.operate.status.tasks import TaskStatus, read_tasks
from chalicelib.schedule.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class SiteSettings:
    """The application's name, for the page. Only mails need one."""

    site_name: str | None = setting(optional(str), default="")


@dataclass(frozen=True, kw_only=True)
class Status:
    """The whole status, with addresses masked and secrets redacted.

    `service` is the deployment's name in its logs, and `sections` has what each part adds, by the section's name.
    """

    site_name: str | None
    service: str
    read_at: datetime
    headline: str
    findings: tuple[Finding, ...]
    tasks: tuple[TaskStatus, ...]
    running: tuple[Run, ...]
    queue: QueueStatus
    pauses: tuple[Pause, ...]
    sections: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether there are no findings."""
        return not self.findings


def read(context: Context, schedules: Mapping[str, Schedule], parts: Collection[Part]) -> Status:
    """Return the status of a deployment with these schedules and parts. Raises DBAPIError."""
    # To the second, as it is shown.
    now = from_ms(context.clock.now_ms()).replace(microsecond=0)
    added = sections_of(parts)

    def work(connection: Connection) -> Status:
        paused = tuple(replace(each, reason=redact(each.reason)) for each in pauses.read(connection))
        tasks = read_tasks(connection, schedules, paused, now=now)
        running = read_running(connection)
        queue = read_queue(connection, [pause.name for pause in paused if pause.kind == "job"], now=now)
        sections = {section.name: section.read(connection) for section in added}
        of_parts = [finding for section in added for finding in section.find(sections[section.name], schedules, now)]
        findings = find(tasks, running, queue, of_parts, now=now)
        return Status(
            site_name=context.settings(SiteSettings).site_name,
            service=SERVICE,
            read_at=now,
            headline=_headline(findings, tasks, paused),
            findings=findings,
            tasks=tasks,
            running=running,
            queue=queue,
            pauses=paused,
            sections=sections,
        )

    return context.database.autocommit(work)


def show(
    context: Context, _request: Nothing, schedules: Mapping[str, Schedule], parts: Collection[Part]
) -> dict[str, Any]:
    """Return the status as JSON, in which each section of a part is a key of its own."""
    status = read(context, schedules, parts)
    answer: dict[str, Any] = to_json(status)
    sections = answer.pop("sections")
    return {"is_well": status.is_well, **answer, **sections}


def _headline(findings: tuple[Finding, ...], tasks: tuple[TaskStatus, ...], pauses: tuple[Pause, ...]) -> str:
    if findings:
        first = f"{findings[0].subject} {findings[0].matter}."
        return f"Not well: {first}" if len(findings) == 1 else f"{len(findings)} things are not well. First: {first}"
    if all(task.latest is None for task in tasks):
        return "Nothing has run yet, and nothing is wrong."
    if pauses:
        names = [pause.subject for pause in pauses]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"All is well, with {listed} paused." if len(names) <= 3 else f"All is well, with {len(names)} pauses."
    return "All is well."
