"""What has to be true after a soak, whatever failed in it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from chalicelib.application import users
from chalicelib.core.clock import from_ms, iso
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups, deliveries, jobs, runs
from soak.application import Request
from soak.post import Post

ENDED = {"succeeded", "skipped", "missed", "dead"}
# The grace of a fire is over by then, and the watch came by.
SETTLED_AFTER = timedelta(hours=42)
RESTORED = "soak_restored"


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A promise that was not kept, how, and the words by which the log tells of it."""

    promise: str
    how: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a soak has left: its database, who asked for what, the mails, and the operator's function.

    Fires are due from `first` on; `now` is when the calm has ended. `counts` says how many things of each kind came to
    what.
    """

    connection: Connection
    planned: Mapping[str, Schedule]
    first: datetime
    now: datetime
    requests: Sequence[Request]
    post: Post
    ask: Callable[..., dict[str, Any]]
    counts: dict[str, Counter[str]] = field(default_factory=dict)


def inspect(left: Left) -> Iterator[Violation]:
    """Yield whatever is wrong."""
    for check in (_fires, _jobs, _requests, _digests, _backups):
        yield from check(left)


def _fires(left: Left) -> Iterator[Violation]:
    counts = left.counts["fires"] = Counter()
    for task, schedule in left.planned.items():
        rows = left.connection.execute(select(runs).where(runs.c.task == task))
        found = {from_ms(row.scheduled_for): row for row in rows}
        for moment, row in found.items():
            if row.status not in ENDED or (row.status in {"missed", "dead"} and not row.error):
                how = f"the run of {task} for {iso(moment)} is {row.status}, with the reason {row.error}"
                yield Violation(promise="a run ends, and one that did not succeed says why", how=how, words=(row.id,))
        # Of an interval nobody knows when it is due.
        for due in schedule.between(left.first, left.now - SETTLED_AFTER, limit=100_000):
            counts[found[due].status if due in found else "nothing"] += 1
            if due not in found:
                how = f"{task} was due at {iso(due)}, and nothing tells of it"
                yield Violation(promise="a fire that is due has a run or a reason", how=how, words=(iso(due),))


def _jobs(left: Left) -> Iterator[Violation]:
    counts = left.counts["jobs"] = Counter()
    for row in left.connection.execute(select(jobs.c.id, jobs.c.type, jobs.c.status)):
        counts[row.status] += 1
        if row.status not in {"completed", "dead"}:
            how = f"job {row.id} of type {row.type} is {row.status}"
            yield Violation(promise="a job is completed or dead", how=how, words=(row.id,))


def _requests(left: Left) -> Iterator[Violation]:
    counts = left.counts["requests"] = Counter()
    rows = left.connection.execute(select(jobs.c.id, jobs.c.idempotency_key, jobs.c.status)).all()
    by_name = {row.id: row for row in rows} | {row.idempotency_key: row for row in rows}
    for request in left.requests:
        row = by_name.get(request.recipient) or by_name.get(request.id)
        status, mails = row.status if row else "nothing", left.post.letters[request.recipient]
        counts[f"{'accepted' if request.is_accepted else 'refused'}, {status}, {mails} mails"] += 1
        allowed = {"completed": {1} if request.is_good else set(), "dead": {0, 1}, "nothing": {0}}.get(status, {0, 1})
        if mails not in allowed or (request.is_accepted and row is None):
            how = f"{request.recipient} asked by {request.way}: {status}, and {mails} mails went out"
            words = (request.recipient, row.id if row else request.id)
            yield Violation(promise="an accepted job is done once, or dead", how=how, words=words)


def _digests(left: Left) -> Iterator[Violation]:
    counts = left.counts["digests"] = Counter()
    promise = "nobody has two digests of one day, nor one that the ledger does not know"
    query = select(deliveries, users.c.email).join(users, users.c.id == deliveries.c.user_id)
    known = set()
    for row in left.connection.execute(query):
        counts[row.status] += 1
        day = date.fromisoformat(row.digest_day)
        mails = left.post.digests_of(row.email, day)
        known.add(left.post.name(row.email, day))
        if mails not in {"sent": {1}, "unknown": {0, 1}, "refused": {0}, "withdrawn": {0}}.get(row.status, set()):
            how = f"{row.user_id} has {mails} digests of {row.digest_day}, which is {row.status}"
            yield Violation(promise=promise, how=how, words=(row.user_id, row.digest_day))
    for recipient, told in left.post.digests.keys() - known:
        yield Violation(promise=promise, how=f"{recipient} has one of {told}", words=(recipient,))


def _backups(left: Left) -> Iterator[Violation]:
    counts = left.counts["backups"] = Counter()
    made = select(backups.c.run_id).where(backups.c.verified_at.is_not(None))
    for run_id, number in Counter(left.connection.execute(made).scalars()).items():
        if number > 1:
            how = f"run {run_id} has made {number}"
            yield Violation(promise="a run makes one backup", how=how, words=(str(run_id),))
    for each in left.ask("backup.list")["backups"]:
        if each["finished_at"] is None:
            counts["not finished"] += 1
            continue
        asked = {"schema": RESTORED, "replace": True, "by_checksum": True, "plain": True}
        answer = left.ask("backup.restore", backup=each["id"], **asked)
        is_same = answer["is_complete"] and not answer["differences"]
        counts["restored" if is_same else "different"] += 1
        if not is_same:
            how = f"{each['id']} is restored as {answer}"
            yield Violation(promise="a listed backup restores as it was", how=how, words=(each["id"],))
