"""Findings: what is wrong, the most urgent first."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.core.outcome import Outcome
from chalicelib.operate.status.queue import QueueStatus
from chalicelib.operate.status.runs import Run
from chalicelib.operate.status.tasks import TaskStatus
from chalicelib.operate.status.words import at, between, some
from chalicelib.runs.claims import MISSED

# The watch rescues a run a quarter of an hour after its lease has ended.
STUCK_AFTER = timedelta(minutes=30)
# The defaults of the alarms; other queues have the limit of `work`.
OLDEST = {"work": timedelta(hours=2), "priority": timedelta(minutes=15)}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong: its subject, what is wrong with it, and the reason if it is known.

    `section` is the section of the page that shows it.
    """

    section: str
    subject: str
    matter: str
    reason: str | None = None


def find(
    tasks: Sequence[TaskStatus],
    running: Sequence[Run],
    queue: QueueStatus,
    of_parts: Iterable[Finding],
    *,
    now: datetime,
) -> tuple[Finding, ...]:
    """Return all findings, including those of parts."""
    return (
        *_watch(tasks, now=now),
        *_settled(tasks, Outcome.DEAD.value, "was given up", now=now),
        *_settled(tasks, MISSED, "missed its fire", now=now),
        *_silent(tasks, now=now),
        *_stuck(running, now=now),
        *of_parts,
        *_unavailable(queue, now=now),
        *_waiting(queue, now=now),
        *_dead_jobs(queue),
        *_settled(tasks, Outcome.FAILED.value, "failed", now=now),
    )


def _watch(tasks: Sequence[TaskStatus], *, now: datetime) -> Iterator[Finding]:
    if unheard := [task.unheard_since for task in tasks if task.unheard_since and not task.is_interval]:
        matter = f"has not looked at a fire since {at(min(unheard), now=now)}"
        yield Finding(section="tasks", subject="the watch", matter=matter, reason="missed fires are not reported")


def _settled(tasks: Sequence[TaskStatus], status: str, verb: str, *, now: datetime) -> Iterator[Finding]:
    for task in tasks:
        for run in task.settled:
            if run.status == status:
                matter = f"{verb} on {at(run.finished_at or run.started_at, now=now)}"
                if status == MISSED:
                    matter = f"{verb} of {at(run.scheduled_for, now=now)}"
                yield Finding(section="tasks", subject=task.name, matter=matter, reason=run.error)


def _silent(tasks: Sequence[TaskStatus], *, now: datetime) -> Iterator[Finding]:
    for task in tasks:
        if task.is_interval and task.unheard_since:
            matter = f"has not fired since {at(task.unheard_since, now=now)}"
            yield Finding(section="tasks", subject=task.name, matter=matter, reason=f"it is due {task.schedule}")


def _stuck(running: Sequence[Run], *, now: datetime) -> Iterator[Finding]:
    for run in running:
        if run.lease_until and run.lease_until + STUCK_AFTER < now:
            matter = f"has a run that appears stuck since {at(run.lease_until, now=now)}"
            yield Finding(section="tasks", subject=run.task, matter=matter)


def _unavailable(queue: QueueStatus, *, now: datetime) -> Iterator[Finding]:
    for each in queue.unavailable:
        matter = f"has been unavailable since {at(each.since, now=now)}, and jobs wait for it"
        yield Finding(section="queue", subject=f"the application of {each.name}", matter=matter, reason=each.reason)


def _waiting(queue: QueueStatus, *, now: datetime) -> Iterator[Finding]:
    for depth in queue.depths:
        since = depth.oldest_due_at
        if since is not None and since + OLDEST.get(depth.queue, OLDEST["work"]) < now:
            matter = f"has a job that has waited for {between(since, now)}"
            yield Finding(section="queue", subject=f"the queue {depth.queue}", matter=matter)


def _dead_jobs(queue: QueueStatus) -> Iterator[Finding]:
    if queue.dead_count:
        verb = "was" if queue.dead_count == 1 else "were"
        reason = f"{queue.dead[0].type}: {queue.dead[0].error}" if queue.dead else None
        subject = some(queue.dead_count, "job")
        yield Finding(section="queue", subject=subject, matter=f"{verb} given up", reason=reason)
