"""Claiming jobs: every statement that decides who may do one, now or later."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from sqlalchemy import BigInteger, Connection, and_, bindparam, case, func, insert, or_, select, update

from chalicelib.core import pauses
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.database import insert_missing
from chalicelib.core.errors import AlreadyClaimed, NightshiftError
from chalicelib.queue.job import INVALID, KEPT_MS, TAKEN, WAITING, Status
from chalicelib.queue.payloads import MAX_BYTES
from chalicelib.queue.rows import DATA_BYTES, SHORT_DATA
from chalicelib.queue.verdict import EARLY_MS, Claim, Decision, Policy, Verdict, judge
from chalicelib.schema import jobs, rate_slots

# Made once: building such a statement takes SQLAlchemy longer than the database takes to execute it.
_BY_ID = jobs.c.id.in_(bindparam("ids", expanding=True))
_READ = ("id", "type", "status", "attempts", "due_at", "expires_at", "slot_at", "lease_until", "claimed_by")
_COLUMNS = [jobs.c[name] for name in (*_READ, "envelope", "last_error")]
_FIND = select(*_COLUMNS).where(_BY_ID)
_IS_FREE = or_(jobs.c.status.in_(WAITING), and_(jobs.c.status.in_(TAKEN), jobs.c.lease_until <= bindparam("at_ms")))
# The fence of whatever a claim writes: the job is still in its hands.
IS_OURS = and_(
    jobs.c.claimed_by == bindparam("by"), jobs.c.status.in_(TAKEN), jobs.c.lease_until == bindparam("until_ms")
)
_UNTIL: Any = bindparam("until_ms", type_=BigInteger)
_CLAIM = (
    update(jobs)
    .where(_BY_ID, _IS_FREE)
    .ordered_values(
        # An attempt that was claimed in company, and never ended, was perhaps never begun: it is not counted.
        # First, since MySQL gives to later assignments what earlier ones have set.
        (jobs.c.attempts, case((jobs.c.status == Status.CLAIMED, jobs.c.attempts), else_=jobs.c.attempts + 1)),
        (jobs.c.status, bindparam("to_status")),
        (jobs.c.started_at, bindparam("at_ms")),
        (jobs.c.claimed_by, bindparam("by")),
        (jobs.c.lease_until, bindparam("until_ms")),
        (jobs.c.dispatch_at, case((jobs.c.type == INVALID, _UNTIL + KEPT_MS), else_=_UNTIL)),
    )
)
_INSERT = insert(jobs)
# What the database itself puts where a row says nothing.
_DEFAULTS = {"status": "pending", "queue": "work", "attempts": 0, "due_at": 0, "dispatch_at": 0, "lease_until": 0}
# Not before the claim, which ends the time in which an operator may edit a job.
_READ_CLAIMED = select(*_COLUMNS, SHORT_DATA).where(_BY_ID, IS_OURS)
_READ_LONG = select(case((DATA_BYTES <= MAX_BYTES, jobs.c.data))).where(jobs.c.id == bindparam("id"), IS_OURS)


class AlikeError(NightshiftError):
    """The database takes the id of one of these jobs for that of another job, as its collation compares them."""


def take(
    connection: Connection,
    asked: Mapping[str, dict[str, Any]],
    *,
    believed_new: Collection[str],
    without_data: Collection[str],
    paused: Collection[str],
    policy_of: Callable[[str], Policy],
    claim: Claim,
    alone: bool,
) -> dict[str, Decision]:
    """Record the jobs that nobody has recorded, claim those that are free and due, and return what was decided.

    `asked` holds by job id the row that the job gets where it has none; those `believed_new` are not looked for
    before, those `without_data` are never recorded, and jobs of `paused` types are put off. The decisions to take a job
    have its row as it was claimed. Raises IntegrityError where one of the jobs believed to be new is there after
    all, or was recorded just now: the same again, and nothing believed, finds it. Raises AlikeError unless `alone`.
    """
    looked_for = [id_ for id_ in asked if id_ not in believed_new]
    rows = connection.execute(_FIND, {"ids": looked_for}).all() if looked_for else ()
    # Ids compare by their bytes; the column's collation may also find other spellings of one.
    found = {row.id: row for row in rows if row.id in asked}
    new = {id_: row for id_, row in asked.items() if id_ not in found}
    decisions = _reject(connection, new, now_ms=claim.now_ms)
    for other in (row.id for row in rows if row.id not in asked):
        if not alone:
            raise AlikeError(f"one of the ids is stored as {other}")
        reason = "the database takes the id {} for that of job {}; ids must differ by more than case or accents"
        decisions = {id_: _give_up(reason.format(id_, other)) for id_ in asked}
    for id_ in without_data:
        if id_ in new:
            decisions.setdefault(id_, _give_up(f"the data of job {id_} is in its row, and it has no row any more"))
    for id_ in asked:
        if id_ not in decisions:
            row = found.get(id_) or SimpleNamespace(**new[id_])
            policy, is_paused = policy_of(row.type), row.type in paused or pauses.ALL_JOBS in paused
            decision = judge(row, policy=policy, is_paused=is_paused, claim=claim, alone=alone)
            if decision.verdict is Verdict.TAKE and policy.interval_ms is not None and row.slot_at is None:
                decision = _await_turn(connection, decision, policy.interval_ms, now_ms=claim.now_ms)
            decisions[id_] = decision
    _insert(connection, new, decisions, claim=claim, alone=alone)
    return decisions | _update(connection, {id_: decisions[id_] for id_ in found}, claim=claim, alone=alone)


def read_long(connection: Connection, id_: str, *, claim: Claim) -> str | None:
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
    """Let jobs that were given up be tried anew, with all their attempts; return how many there were.

    Where a moment is given, only those whose last attempt had begun by then.
    """
    exact_ids = [id_.encode().hex().upper() for id_ in ids]
    # Ids compare by their bytes, whatever the column's collation; by its index they are found.
    given_up = and_(jobs.c.id.in_(list(ids)), func.hex(jobs.c.id).in_(exact_ids), jobs.c.status == Status.DEAD)
    if begun_before_ms is not None:
        # Not when it ended: a message is buried, and may be moved back, before that is recorded.
        given_up = and_(given_up, func.coalesce(jobs.c.started_at, 0) <= begun_before_ms)
    fresh = {"status": Status.PENDING.value, "attempts": 0, "due_at": 0, "slot_at": None, "dispatch_at": dispatch_ms}
    return connection.execute(update(jobs).where(given_up).values(**fresh)).rowcount


def find_keys(connection: Connection, keys: Collection[str | None], *, now_ms: int) -> dict[str, str]:
    """Return the ids of the jobs that have these idempotency keys; those whose period is over let go of them."""
    wanted = sorted({key for key in keys if key})
    if not wanted:
        return {}
    having = jobs.c.unique_key.in_(wanted)
    connection.execute(update(jobs).where(having, jobs.c.unique_until <= now_ms).values(unique_key=None))
    return {row.unique_key: row.id for row in connection.execute(select(jobs.c.unique_key, jobs.c.id).where(having))}


def _reject(connection: Connection, new: Mapping[str, dict[str, Any]], *, now_ms: int) -> dict[str, Decision]:
    """Decide about those jobs that are not recorded because another one has their key."""
    decisions: dict[str, Decision] = {}
    holders = find_keys(connection, [row["unique_key"] for row in new.values()], now_ms=now_ms)
    for id_, row in new.items():
        if row["unique_key"] and holders.setdefault(row["unique_key"], id_) != id_:
            reason = f"job {holders[row['unique_key']]} has the idempotency key {row['idempotency_key']!r}"
            decisions[id_] = Decision(verdict=Verdict.SETTLED, row=None, reason=reason)
    return decisions


def _give_up(reason: str) -> Decision:
    return Decision(verdict=Verdict.GIVE_UP, row=None, reason=reason)


def _await_turn(connection: Connection, decision: Decision, interval_ms: float, *, now_ms: int) -> Decision:
    type_ = decision.row.type
    connection.execute(insert_missing(rate_slots, connection.dialect).values(type=type_, next_at=now_ms))
    turn_ms = None
    while turn_ms is None:
        turn_ms = _take_turn(connection, type_, interval_ms, now_ms=now_ms)
    if turn_ms <= now_ms + EARLY_MS:
        return decision
    reason = f"jobs of type {type_} are limited, and its turn is at {iso(from_ms(turn_ms))}"
    return replace(decision, verdict=Verdict.PUT_OFF, reason=reason, due_ms=turn_ms, slot_ms=turn_ms)


def _take_turn(connection: Connection, type_: str, interval_ms: float, *, now_ms: int) -> int | None:
    of_type = rate_slots.c.type == type_
    next_at = connection.execute(select(rate_slots.c.next_at).where(of_type)).scalar_one()
    turn_ms = max(next_at, now_ms)
    # Whoever else takes this turn in between gets it, and we look again.
    still = update(rate_slots).where(of_type, rate_slots.c.next_at == next_at)
    # To the microsecond: rounded to milliseconds, 1,500 a second would be 1,000, and 3,000 no limit at all.
    is_ours = connection.execute(still.values(next_at=round(turn_ms + interval_ms, 3))).rowcount == 1
    return int(turn_ms) if is_ours else None


def _changes(decision: Decision, *, claim: Claim, alone: bool) -> dict[str, Any]:
    """Return what a decision changes in the job's row."""
    match decision.verdict:
        case Verdict.TAKE | Verdict.GIVE_UP:
            return {
                "status": (Status.PROCESSING if alone else Status.CLAIMED).value,
                "attempts": decision.attempt,
                "started_at": claim.now_ms,
                "claimed_by": claim.by,
                "lease_until": claim.lease_until,
                # As in the statement _CLAIM.
                "dispatch_at": claim.lease_until + (KEPT_MS if decision.row.type == INVALID else 0),
            }
        case Verdict.EXPIRE:
            return {"status": Status.EXPIRED.value, "ended_at": claim.now_ms, "dispatch_at": None}
        case Verdict.PUT_OFF:
            return {"dispatch_at": decision.due_ms, "slot_at": decision.slot_ms, "lease_until": 0}
    # It is taken in a moment; should this process end before, dispatch sees to it.
    return {"dispatch_at": claim.lease_until}


def _insert(
    connection: Connection,
    new: Mapping[str, dict[str, Any]],
    decisions: Mapping[str, Decision],
    *,
    claim: Claim,
    alone: bool,
) -> None:
    rows = [
        row | _changes(decisions[id_], claim=claim, alone=alone)
        # In order, so that two workers with the same messages cannot wait for each other.
        for id_, row in sorted(new.items())
        if decisions[id_].row is not None
    ]
    if rows:
        # Every row of one statement has the same columns, and those that no row needs cost the most time here.
        needed = {name for row in rows for name, value in row.items() if value != _DEFAULTS.get(name)}
        connection.execute(_INSERT, [{name: row.get(name, _DEFAULTS.get(name)) for name in needed} for row in rows])


def _update(
    connection: Connection, decisions: Mapping[str, Decision], *, claim: Claim, alone: bool
) -> dict[str, Decision]:
    """Carry decisions out on rows that are there; return those to take, with the rows as they were claimed.

    A row that another worker was quicker to take is held.
    """
    for id_, decision in decisions.items():
        if decision.verdict in {Verdict.EXPIRE, Verdict.PUT_OFF}:
            changed = (
                update(jobs).where(jobs.c.id == id_, _IS_FREE).values(_changes(decision, claim=claim, alone=alone))
            )
            connection.execute(changed, {"at_ms": claim.now_ms})
    ids = sorted(id_ for id_, each in decisions.items() if each.verdict in {Verdict.TAKE, Verdict.GIVE_UP})
    if not ids:
        return {}
    fence = {"ids": ids, "by": claim.by, "until_ms": claim.lease_until}
    status = (Status.PROCESSING if alone else Status.CLAIMED).value
    connection.execute(_CLAIM, fence | {"at_ms": claim.now_ms, "to_status": status})
    claimed = {row.id: row for row in connection.execute(_READ_CLAIMED, fence)}
    reason = "another worker took it just now"
    return {
        id_: replace(decisions[id_], row=claimed[id_])
        if id_ in claimed
        else replace(decisions[id_], verdict=Verdict.HELD, reason=reason)
        for id_ in ids
    }
