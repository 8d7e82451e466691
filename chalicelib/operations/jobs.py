"""Jobs, as an operator sees and mends them: list, show, retry, edit, forget, cancel."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update

from chalicelib import handlers
from chalicelib.clock import from_ms, iso
from chalicelib.context import Context
from chalicelib.errors import InvalidRequestError
from chalicelib.nearest import hint
from chalicelib.operations import dead_letters
from chalicelib.queue import claims, outbox
from chalicelib.queue.job import WAITING, Status, envelope_of
from chalicelib.queue.message import decode_data, encode_data, read_data
from chalicelib.redaction import redact
from chalicelib.schema import jobs

MOST = 1000
STATUSES = (*Status, "all")
TIMES = ("created_at", "due_at", "expires_at", "started_at", "ended_at", "completed_at")


# Where a job stands among all: when it was created, in epoch milliseconds, and its id.
Place = tuple[int, str]
# What is empty, as a shell's variable that was never set, must not mean every job.
Words = Annotated[str, msgspec.Meta(min_length=1)]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs: by id, type, and words of their last error. Without a status, those that were given up.

    An answer that reaches the limit has a `next`; what is asked `after` that begins behind it.
    """

    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST)] = ()
    type: Words | None = None
    error: Words | None = None
    status: str = Status.DEAD
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] = 50
    after: Place | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}{hint(self.status, STATUSES)}")


class One(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job."""

    id: str


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job, the data that it is to have, and its type where that changes too."""

    id: str
    data: dict[str, Any]
    type: Words | None = None


def list_jobs(context: Context, asked: Filter) -> dict[str, Any]:
    """Return the newest jobs that match, without their data."""
    query = select(jobs).where(_matching(asked)).order_by(jobs.c.created_at.desc(), jobs.c.id)
    if asked.after:
        query = query.where(_is_behind(jobs.c.created_at < asked.after[0], asked.after))
    rows = context.database.autocommit(lambda connection: connection.execute(query.limit(asked.limit)).all())
    if asked.type and not (rows or asked.after):
        _check_type(context, asked.type)
    return {"jobs": [_describe(row) for row in rows], **_next([(row.created_at, row.id) for row in rows], asked)}


def show(context: Context, asked: One) -> dict[str, Any]:
    """Return a job with its data, in which secrets are redacted by key and addresses masked."""
    row = context.database.transact(lambda connection: _find(connection, asked.id))
    try:
        data: Any = decode_data(row.data)
    except InvalidRequestError:
        data = _read_anyhow(row.data)
    try:
        envelope: Any = envelope_of(row)
    except ValueError:
        envelope = row.envelope
    return {**_describe(row), "data": redact(data), "envelope": redact(envelope)}


def retry(context: Context, asked: Filter) -> dict[str, Any]:
    """Let jobs that were given up be tried anew, at once, with all their attempts; return their ids, oldest first."""
    found = _given_up(context, asked)
    return {"retried": _reopen(context, [id_ for _, id_ in found]), **_next(found, asked)}


def edit(context: Context, asked: Edit) -> dict[str, Any]:
    """Change the data of a job that waits or was given up, and have it tried; return its id.

    Raises InvalidRequestError where the job's handler cannot take the data, and changes nothing.
    """

    def work(connection: Connection) -> None:
        row = _find(connection, asked.id)
        type_ = asked.type or row.type
        read_data(asked.data, handlers.find(type_).payload)
        is_open = jobs.c.status.in_((*WAITING, Status.DEAD))
        changed = update(jobs).where(jobs.c.id == asked.id, is_open).values(data=encode_data(asked.data), type=type_)
        if connection.execute(changed).rowcount == 0:
            raise InvalidRequestError(f"job {asked.id} is {row.status}, and can be edited no more")

    context.database.transact(work)
    _reopen(context, [asked.id])
    return {"edited": [asked.id]}


def forget(context: Context, asked: Filter) -> dict[str, Any]:
    """Delete jobs that were given up, and their dead letters; return their ids, oldest first."""
    found = _given_up(context, asked)
    ids = [id_ for _, id_ in found]
    dead_letters.remove(context, ids)

    def work(connection: Connection) -> list[str]:
        still = _still_given_up(connection, ids)
        connection.execute(delete(jobs).where(jobs.c.id.in_(still)))
        return still

    return {"forgotten": context.database.transact(work), **_next(found, asked)}


def cancel(context: Context, asked: One) -> dict[str, Any]:
    """Close a job that waits before it is performed (again). Raises InvalidRequestError when it is too late."""
    now_ms = context.clock.now_ms()
    waiting = and_(jobs.c.id == asked.id, jobs.c.status.in_(WAITING))
    over = {"status": Status.CANCELLED.value, "ended_at": now_ms, "dispatch_at": None}

    def work(connection: Connection) -> None:
        _find(connection, asked.id)
        if connection.execute(update(jobs).where(waiting).values(**over)).rowcount == 0:
            raise InvalidRequestError(f"job {asked.id} is {_find(connection, asked.id).status}, and does not wait")

    context.database.transact(work)
    return {"cancelled": [asked.id]}


def _given_up(context: Context, asked: Filter) -> list[Place]:
    if asked.status != Status.DEAD:
        raise InvalidRequestError("only jobs that were given up can be retried or forgotten: leave status at dead")
    if not (asked.ids or asked.type or asked.error):
        raise InvalidRequestError("say which jobs: ids, a type, or words of their error")
    query = select(jobs.c.created_at, jobs.c.id).where(_matching(asked)).order_by(jobs.c.created_at, jobs.c.id)
    if asked.after:
        query = query.where(_is_behind(jobs.c.created_at > asked.after[0], asked.after))
    query = query.limit(len(asked.ids) if asked.ids else asked.limit)
    found = [(row.created_at, row.id) for row in context.database.autocommit(lambda c: c.execute(query).all())]
    if asked.type and not (found or asked.after):
        _check_type(context, asked.type)
    if missing := set(asked.ids) - {id_ for _, id_ in found}:
        raise InvalidRequestError(f"no job that was given up, and matches, has the id {', '.join(sorted(missing))}")
    return found


def _is_behind(is_elsewhen: ColumnElement[bool], place: Place) -> ColumnElement[bool]:
    return or_(is_elsewhen, and_(jobs.c.created_at == place[0], jobs.c.id > place[1]))


def _next(found: Sequence[Place], asked: Filter) -> dict[str, Any]:
    return {"next": list(found[-1])} if len(found) == asked.limit and not asked.ids else {}


def _still_given_up(connection: Connection, ids: list[str]) -> list[str]:
    """Return those of the jobs that nobody has retried or forgotten meanwhile, nor will in this transaction's time."""
    query = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.status == Status.DEAD).with_for_update()
    found = set(connection.execute(query).scalars())
    return [id_ for id_ in ids if id_ in found]


def _check_type(context: Context, type_: str) -> None:
    """Tell a type of which nothing matches from one that was never heard of. Raises InvalidRequestError."""
    query = select(jobs.c.id).where(jobs.c.type == type_).limit(1)
    if not context.database.autocommit(lambda connection: connection.execute(query).all()):
        handlers.find(type_)


def _reopen(context: Context, ids: list[str]) -> list[str]:
    """Have those of the jobs tried that are given up, and return them; one that was edited while it waits is sent."""
    now_ms = context.clock.now_ms()

    def work(connection: Connection) -> list[str]:
        still = _still_given_up(connection, ids)
        claims.reopen(connection, still, dispatch_ms=now_ms)
        return still

    reopened = context.database.transact(work)
    # The rows are open before their dead letters go: a kill in between leaves letters of jobs that live, not less.
    dead_letters.remove(context, ids)
    outbox.send_now(context.database, context.queues, ids, clock=context.clock)
    return reopened


def _find(connection: Connection, id_: str) -> Any:
    row = connection.execute(select(jobs).where(jobs.c.id == id_)).one_or_none()
    # A collation finds other spellings of an id too, by which nothing else knows the job.
    if row is None or row.id != id_:
        raise InvalidRequestError(f"there is no job with the id {id_[:64]}")
    return row


def _matching(asked: Filter) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [jobs.c.id.is_not(None)]
    if asked.status != "all":
        conditions.append(jobs.c.status == asked.status)
    if asked.ids:
        conditions.append(jobs.c.id.in_(asked.ids))
    if asked.type:
        conditions.append(jobs.c.type == asked.type)
    if asked.error:
        conditions.append(jobs.c.last_error.contains(asked.error, autoescape=True))
    return and_(*conditions)


def _read_anyhow(text: str) -> Any:
    """Return what the text holds, less strictly than a worker reads it; what is no JSON as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # The body of a message that could not be read is kept as a JSON string.
    return _read_anyhow(value) if isinstance(value, str) else value


def _describe(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "type": row.type,
        "status": row.status,
        "queue": row.queue,
        "attempts": row.attempts,
        "last_error": redact(row.last_error),
        "idempotency_key": redact(row.idempotency_key),
        **{name: _time(getattr(row, name)) for name in TIMES},
    }


def _time(ms: int | None) -> str | None:
    try:
        return iso(from_ms(ms)) if ms else None
    except (ValueError, OverflowError, OSError):
        # Whoever wrote the row may have counted in another unit.
        return f"{ms} ms"
