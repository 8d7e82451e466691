"""Claiming jobs: every statement that decides which worker may perform one, now or later."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import BigInteger, Connection, and_, bindparam, case, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from chalicelib.core import pauses
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.database import Database, insert_missing
from chalicelib.core.errors import AlreadyClaimed, NightshiftError
from chalicelib.queue import breaker
from chalicelib.queue.attempt import Action, JobAttempt
from chalicelib.queue.breaker import Breaker
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import DATA_BYTES, KEPT_MS, OVER, SHORT_DATA, TAKEN, WAITING, Status
from chalicelib.queue.message import INVALID
from chalicelib.queue.payloads import MAX_BYTES
from chalicelib.schema import jobs, rate_slots

# SQS counts delays in seconds, and two machines' clocks differ by less than this.
EARLY_MS = 1000
# By then SQS has delivered a retried message again, unless the message was lost.
BACKUP_MS = 15 * 60_000
# Attempts to fetch a body from the bucket, where fetching it ends the process.
READ_ATTEMPTS = 3
# Deliveries of a message whose row is missing: its transaction may not have committed yet.
ROWLESS_RECEIVES = 3

# Made once: building such a statement takes SQLAlchemy longer than the database takes to execute it.
_BY_ID = jobs.c.id.in_(bindparam("ids", expanding=True))
_STATE = ("status", "attempts", "due_at", "expires_at", "slot_at", "lease_until", "claimed_by", "last_error")
_COLUMNS = [jobs.c[name] for name in ("id", "type", "queue", "idempotency_key", "envelope", *_STATE)]
_FIND = select(*_COLUMNS).where(_BY_ID)
_IS_FREE = or_(jobs.c.status.in_(WAITING), and_(jobs.c.status.in_(TAKEN), jobs.c.lease_until <= bindparam("at_ms")))
# The fence of each write under a claim: the claim still holds the job.
IS_OURS = and_(
    jobs.c.claimed_by == bindparam("by"), jobs.c.status.in_(TAKEN), jobs.c.lease_until == bindparam("until_ms")
)
_UNTIL: Any = bindparam("until_ms", type_=BigInteger)
_CLAIM = (
    update(jobs)
    .where(_BY_ID, _IS_FREE)
    .ordered_values(
        # An attempt that was claimed with others, and never ended, perhaps never began: it is not counted.
        # First, since in MySQL later assignments see the values of earlier ones.
        (jobs.c.attempts, case((jobs.c.status == Status.CLAIMED, jobs.c.attempts), else_=jobs.c.attempts + 1)),
        (jobs.c.status, bindparam("to_status")),
        (jobs.c.started_at, bindparam("at_ms")),
        (jobs.c.claimed_by, bindparam("by")),
        (jobs.c.lease_until, bindparam("until_ms")),
        (jobs.c.dispatch_at, case((jobs.c.type == INVALID, _UNTIL + KEPT_MS), else_=_UNTIL)),
    )
)
_INSERT = insert(jobs)
# The columns' defaults in the database.
_DEFAULTS = {"status": "pending", "queue": "work", "attempts": 0, "due_at": 0, "dispatch_at": 0, "lease_until": 0}
# Not before the claim, which ends the time in which an operator may edit a job.
_READ_CLAIMED = select(*_COLUMNS, SHORT_DATA).where(_BY_ID, IS_OURS)
_READ_LONG = select(case((DATA_BYTES <= MAX_BYTES, jobs.c.data))).where(jobs.c.id == bindparam("id"), IS_OURS)

FindOptional = Callable[[str], Handler | None]


class AlikeError(NightshiftError):
    """The database's collation takes the id of one of these jobs for that of another job."""


class Claim(Struct, frozen=True, kw_only=True):
    """The worker's request that claims, when, until when the lease lasts, and whether it claims one job alone."""

    by: str
    now_ms: int
    lease_until: int
    alone: bool = False

    @property
    def status(self) -> str:
        """The status of a job under this claim."""
        return (Status.PROCESSING if self.alone else Status.CLAIMED).value


def claim_jobs(
    database: Database, attempts: Sequence[JobAttempt], *, queue: str, handler_of: FindOptional, claim: Claim
) -> list[JobAttempt]:
    """Insert the jobs that have no row, claim those that are free and due, and return what to do about each.

    Raises AlikeError unless the claim is of one job alone.
    """
    by_id = {each.job_id: each for each in attempts}
    new_rows = {each.job_id: each.new_row(queue=queue, now_ms=claim.now_ms) for each in attempts}
    # The other messages have no id of their own and come for the first time: a look-up would cost a round trip.
    perhaps_recorded = [each.job_id for each in attempts if claim.alone or not each.is_first]

    def work(connection: Connection) -> list[JobAttempt]:
        for each in attempts:
            if each.is_redriven:
                # A job that began again since then has another message: this one is only a copy.
                reopen(connection, [each.job_id], dispatch_ms=claim.now_ms + BACKUP_MS, begun_before_ms=each.sent_ms)
        paused = paused_types(connection)
        try:
            decided = _claim(connection, by_id, new_rows, perhaps_recorded, paused, handler_of, claim)
        except IntegrityError:
            # One has a row after all, or another worker inserted it between our look-up and our insert.
            decided = _claim(connection, by_id, new_rows, list(by_id), paused, handler_of, claim)
        return [decided[id_] for id_ in by_id]

    return database.autocommit(work)


def decide(
    row: Any, attempt: JobAttempt, *, max_attempts: int, is_paused: bool, is_excused: bool, claim: Claim
) -> JobAttempt:
    """Return the attempt with what to do about it, decided from the row of its job alone.

    An excused job is not given up, since its last attempt may have failed for no fault of its own.
    """
    now_ms = claim.now_ms
    # Claimed by a statement whose answer was lost.
    is_ours = row.status in TAKEN and (row.claimed_by, row.lease_until) == (claim.by, claim.lease_until)
    number = row.attempts if is_ours or row.status == Status.CLAIMED else row.attempts + 1

    def to(action: Action, reason: str = "", due_ms: int = 0) -> JobAttempt:
        return replace(
            attempt, action=action, reason=reason, row=row, number=number, due_ms=due_ms, slot_ms=row.slot_at
        )

    if row.status in OVER:
        return to(Action.ACKNOWLEDGE, f"job {row.id} is {row.status}")
    is_left = row.status in TAKEN and not is_ours
    if is_left and row.lease_until > now_ms:
        until = iso(from_ms(row.lease_until))
        return to(Action.RETRY_LATER, f"job {row.id} is held by {row.claimed_by} until {until}")
    if row.expires_at is not None and row.expires_at <= now_ms:
        return to(Action.EXPIRE, f"job {row.id} expired at {iso(from_ms(row.expires_at))}")
    if number > max(max_attempts, 1) and not is_excused:
        how = "the process ended in the middle of it" if is_left else row.last_error
        return to(Action.GIVE_UP, f"attempt {row.attempts} was the last: {how}")
    if is_paused:
        return to(Action.POSTPONE, f"jobs of type {row.type} are paused", now_ms)
    due_ms = max(row.due_at, row.slot_at or 0)
    if not is_left and due_ms > now_ms + EARLY_MS:
        return to(Action.POSTPONE, f"job {row.id} is not due before {iso(from_ms(due_ms))}", due_ms)
    # A job that was claimed when a process ended is performed alone: it may be what ended the process. So is a job
    # with one attempt, since nothing would say whether an attempt that was claimed with others had begun.
    if not claim.alone and (is_left or max_attempts == 1):
        return to(Action.PERFORM_ALONE)
    return to(Action.PERFORM)


def read_long_data(connection: Connection, id_: str, *, claim: Claim) -> str | None:
    """Return the data of a job that the claim holds, or None where it is longer than any may be.

    Raises AlreadyClaimed where the claim does not hold it any more.
    """
    row = connection.execute(_READ_LONG, {"id": id_, "by": claim.by, "until_ms": claim.lease_until}).one_or_none()
    if row is None:
        raise AlreadyClaimed(f"job {id_} was taken over before its data was read")
    text: str | None = row[0]
    return text


def paused_types(connection: Connection) -> set[str]:
    """Return the types of jobs that an operator has paused, or `*` for every one."""
    return set(pauses.reasons(connection, "job"))


def reopen(
    connection: Connection, ids: Collection[str], *, dispatch_ms: int, begun_before_ms: int | None = None
) -> int:
    """Let jobs that were given up be tried again, with all their attempts; return how many there were.

    Where a moment is given, only those whose last attempt had begun by then.
    """
    exact_ids = [id_.encode().hex().upper() for id_ in ids]
    # The index finds ids by the column's collation; their bytes decide which of them are meant.
    given_up = and_(jobs.c.id.in_(list(ids)), func.hex(jobs.c.id).in_(exact_ids), jobs.c.status == Status.DEAD)
    if begun_before_ms is not None:
        # Not when it ended: a dead letter is sent, and may be redriven, before the end is recorded.
        given_up = and_(given_up, func.coalesce(jobs.c.started_at, 0) <= begun_before_ms)
    fresh = {"status": Status.PENDING.value, "attempts": 0, "due_at": 0, "slot_at": None, "dispatch_at": dispatch_ms}
    return connection.execute(update(jobs).where(given_up).values(**fresh)).rowcount


def _claim(
    connection: Connection,
    attempts: Mapping[str, JobAttempt],
    new_rows: Mapping[str, dict[str, Any]],
    perhaps_recorded: Sequence[str],
    paused: Collection[str],
    handler_of: FindOptional,
    claim: Claim,
) -> dict[str, JobAttempt]:
    """Return the attempts, by job id, with what to do about each; those to perform have the row as claimed.

    Raises IntegrityError where a job has a row that was not looked for, or another worker inserted one just now.
    """
    rows = connection.execute(_FIND, {"ids": perhaps_recorded}).all() if perhaps_recorded else ()
    # Ids compare by their bytes; the column's collation may also find other spellings of one.
    found = {row.id: row for row in rows if row.id in attempts}
    new = {id_: row for id_, row in new_rows.items() if id_ not in found}
    decided = _reject_duplicates(connection, attempts, new, now_ms=claim.now_ms)
    types = {row.type for row in found.values()} | {row["type"] for row in new.values()}
    handlers = {type_: handler_of(type_) for type_ in types - {INVALID}}
    is_guarded = any(each and each.breaker for each in handlers.values())
    failing = breaker.read(connection) if is_guarded else {}
    for other in (row.id for row in rows if row.id not in attempts):
        if not claim.alone:
            raise AlikeError(f"one of the ids is stored as {other}")
        reason = "the database takes the id {} for that of job {}; ids must differ by more than case or accents"
        decided = {id_: _give_up(each, reason.format(id_, other)) for id_, each in attempts.items()}
    for id_, each in attempts.items():
        if id_ in decided:
            continue
        if id_ in new and each.message and each.message.data_in_row:
            reason = f"job {id_} has no row in this database; send its id after the commit"
            is_last = each.receives >= ROWLESS_RECEIVES
            decided[id_] = _give_up(each, reason) if is_last else _retry_later(each, reason)
            continue
        row = found.get(id_) or SimpleNamespace(**new[id_])
        is_paused = row.type in paused or pauses.ALL in paused
        handler = handlers.get(row.type)
        max_attempts = handler.max_attempts if handler else READ_ATTEMPTS if row.type == INVALID else 1
        suspect = failing.get(handler.breaker or "") if handler else None
        is_excused = suspect is not None and suspect.excuses(claim.now_ms)
        each = replace(each, is_suspect=suspect is not None)
        decided[id_] = decide(
            row, each, max_attempts=max_attempts, is_paused=is_paused, is_excused=is_excused, claim=claim
        )
        if suspect and suspect.is_open and decided[id_].action is Action.PERFORM:
            decided[id_] = _take_probe(connection, decided[id_], suspect, now_ms=claim.now_ms)
        if handler and handler.rate and decided[id_].action is Action.PERFORM and row.slot_at is None:
            decided[id_] = _take_turn(connection, decided[id_], handler.rate.interval_ms, now_ms=claim.now_ms)
    _insert(connection, new, decided, claim=claim)
    return decided | _update(connection, {id_: decided[id_] for id_ in found}, claim=claim)


def _reject_duplicates(
    connection: Connection, attempts: Mapping[str, JobAttempt], new: Mapping[str, dict[str, Any]], *, now_ms: int
) -> dict[str, JobAttempt]:
    """Return those attempts whose jobs get no row, because another job has their idempotency key."""
    rejected: dict[str, JobAttempt] = {}
    holders = _find_keys(connection, [row["unique_key"] for row in new.values()], now_ms=now_ms)
    for id_, row in new.items():
        if row["unique_key"] and holders.setdefault(row["unique_key"], id_) != id_:
            reason = f"job {holders[row['unique_key']]} has the idempotency key {row['idempotency_key']!r}"
            rejected[id_] = replace(attempts[id_], action=Action.ACKNOWLEDGE, reason=reason)
    return rejected


def _find_keys(connection: Connection, keys: Collection[str | None], *, now_ms: int) -> dict[str, str]:
    """Return the ids of the jobs that have these keys, and free the keys whose period is over."""
    wanted = sorted({key for key in keys if key})
    if not wanted:
        return {}
    having = jobs.c.unique_key.in_(wanted)
    connection.execute(update(jobs).where(having, jobs.c.unique_until <= now_ms).values(unique_key=None))
    return {row.unique_key: row.id for row in connection.execute(select(jobs.c.unique_key, jobs.c.id).where(having))}


def _give_up(attempt: JobAttempt, reason: str) -> JobAttempt:
    return replace(attempt, action=Action.GIVE_UP, reason=reason, number=0)


def _retry_later(attempt: JobAttempt, reason: str) -> JobAttempt:
    return replace(attempt, action=Action.RETRY_LATER, reason=reason)


def _take_probe(connection: Connection, attempt: JobAttempt, suspect: Breaker, *, now_ms: int) -> JobAttempt:
    """Hold the attempt, unless it is the one that may be made now."""
    if suspect.admits(now_ms) and breaker.take_probe(connection, suspect.name, now_ms=now_ms):
        return attempt
    since = iso(from_ms(suspect.failing_since))
    return replace(attempt, action=Action.HOLD, reason=f"it waits, since {since}: {suspect.reason}")


def _take_turn(connection: Connection, attempt: JobAttempt, interval_ms: float, *, now_ms: int) -> JobAttempt:
    """Take the next turn under the type's rate limit, and postpone the attempt until then."""
    type_ = attempt.row.type
    of_type = rate_slots.c.type == type_
    connection.execute(insert_missing(rate_slots, connection.dialect).values(type=type_, next_at=now_ms))
    is_taken = False
    while not is_taken:
        next_at = connection.execute(select(rate_slots.c.next_at).where(of_type)).scalar_one()
        turn_ms = max(next_at, now_ms)
        # If another worker takes this turn in between, look for the next one.
        unchanged = update(rate_slots).where(of_type, rate_slots.c.next_at == next_at)
        # To the microsecond: rounded to milliseconds, 1,500 a second would be 1,000, and 3,000 unlimited.
        following = round(turn_ms + interval_ms, 3)
        is_taken = connection.execute(unchanged.values(next_at=following)).rowcount == 1
    turn_ms = int(turn_ms)
    if turn_ms <= now_ms + EARLY_MS:
        return attempt
    reason = f"jobs of type {type_} are limited, and its turn is at {iso(from_ms(turn_ms))}"
    return replace(attempt, action=Action.POSTPONE, reason=reason, due_ms=turn_ms, slot_ms=turn_ms)


def _changes(attempt: JobAttempt, *, claim: Claim) -> dict[str, Any]:
    """Return what an attempt's action changes in the job's row."""
    match attempt.action:
        case Action.PERFORM | Action.GIVE_UP:
            return {
                "status": claim.status,
                "attempts": attempt.number,
                "started_at": claim.now_ms,
                "claimed_by": claim.by,
                "lease_until": claim.lease_until,
                # As in the statement _CLAIM.
                "dispatch_at": claim.lease_until + (KEPT_MS if attempt.row.type == INVALID else 0),
            }
        case Action.EXPIRE:
            return {"status": Status.EXPIRED.value, "ended_at": claim.now_ms, "dispatch_at": None}
        case Action.POSTPONE:
            return {"dispatch_at": attempt.due_ms, "slot_at": attempt.slot_ms, "lease_until": 0}
        case Action.HOLD:
            return {"dispatch_at": claim.now_ms, "lease_until": 0}
    # It is claimed alone in a moment; if this process ends first, dispatch sends it again.
    return {"dispatch_at": claim.lease_until}


def _insert(
    connection: Connection, new: Mapping[str, dict[str, Any]], decided: Mapping[str, JobAttempt], *, claim: Claim
) -> None:
    rows = [
        row | _changes(decided[id_], claim=claim)
        # In order, so that two workers with the same messages cannot deadlock.
        for id_, row in sorted(new.items())
        if decided[id_].row is not None
    ]
    if rows:
        # Every row of one statement has the same columns, and those that no row needs cost the most time here.
        needed = {name for row in rows for name, value in row.items() if value != _DEFAULTS.get(name)}
        connection.execute(_INSERT, [{name: row.get(name, _DEFAULTS.get(name)) for name in needed} for row in rows])


def _update(connection: Connection, decided: Mapping[str, JobAttempt], *, claim: Claim) -> dict[str, JobAttempt]:
    """Change rows that exist; return the attempts to perform, with the rows as claimed.

    A job that another worker claimed first is retried later.
    """
    for id_, attempt in decided.items():
        if attempt.action in {Action.EXPIRE, Action.POSTPONE, Action.HOLD}:
            changed = update(jobs).where(jobs.c.id == id_, _IS_FREE).values(_changes(attempt, claim=claim))
            connection.execute(changed, {"at_ms": claim.now_ms})
    ids = sorted(id_ for id_, each in decided.items() if each.action in {Action.PERFORM, Action.GIVE_UP})
    if not ids:
        return {}
    fence = {"ids": ids, "by": claim.by, "until_ms": claim.lease_until}
    connection.execute(_CLAIM, fence | {"at_ms": claim.now_ms, "to_status": claim.status})
    claimed = {row.id: row for row in connection.execute(_READ_CLAIMED, fence)}
    reason = "another worker claimed it just now"
    return {
        id_: replace(decided[id_], row=claimed[id_])
        if id_ in claimed
        else replace(decided[id_], action=Action.RETRY_LATER, reason=reason)
        for id_ in ids
    }
