"""Jobs, as an operator sees them: which are meant, the list, and one with its data."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, or_, select, union_all

from chalicelib.core.clock import from_ms, iso
from chalicelib.core.context import Context
from chalicelib.core.database import distinct_values
from chalicelib.core.error_text import hint
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.redaction import redact
from chalicelib.operate.answers import MOST_BYTES, beginning
from chalicelib.queue.handler import find_handler
from chalicelib.queue.job import Status, envelope_of
from chalicelib.queue.message import decode_data
from chalicelib.schema import jobs

MOST = 1000
# Of an error in a list: one may have 64 KB.
LONG = 1000
STATUSES = (*Status, "all")
# All but what may be long.
LISTED = tuple(column for column in jobs.c if column.name not in {"data", "envelope"})
TIMES = ("created_at", "due_at", "expires_at", "started_at", "ended_at", "completed_at")


# Where a job stands among all: when it was created, in epoch milliseconds, and its id.
Place = tuple[int, str]
# What is empty, as a shell's variable that was never set, must not mean every job.
Words = Annotated[str, msgspec.Meta(min_length=1)]


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which jobs: by id, type, and words of their last error. Without a status, those that were given up.

    An answer that reaches the limit, or is as long as Lambda allows, has a `next`; what is asked `after` that begins
    behind it.
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


def list_jobs(context: Context, asked: Filter) -> dict[str, Any]:
    """Return the newest jobs that match, without their data."""
    rows = context.database.autocommit(lambda connection: _newest(connection, asked))
    if asked.type and not (rows or asked.after):
        check_type(context, asked.type)
    described = [_describe(row, most=LONG) for row in rows]
    kept = beginning(described, most=MOST_BYTES)
    places = [(row.created_at, row.id) for row in rows[: len(kept)]]
    is_cut = len(kept) < len(described)
    return {"jobs": kept, **({"next": list(places[-1])} if is_cut else next_place(places, asked))}


def _newest(connection: Connection, asked: Filter) -> Sequence[Any]:
    wanted = matching(asked)
    if asked.after:
        created_ms, id_ = asked.after
        wanted = and_(wanted, jobs.c.created_at <= created_ms, or_(jobs.c.created_at < created_ms, jobs.c.id < id_))
    query = select(*LISTED).where(wanted).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(asked.limit)
    if asked.status != "all" or asked.ids:
        return connection.execute(query).all()
    # The newest of each status, by its index, and of these the newest: sorting all jobs would take seconds.
    parts = [
        select(query.where(jobs.c.status == status).subquery()) for status in distinct_values(connection, jobs.c.status)
    ]
    if not parts:
        return []
    found = union_all(*parts).subquery()
    merged = select(found).order_by(found.c.created_at.desc(), found.c.id.desc()).limit(asked.limit)
    return connection.execute(merged).all()


def show(context: Context, asked: One) -> dict[str, Any]:
    """Return a job with its data, in which secrets are redacted by key and addresses masked."""
    row = context.database.transact(lambda connection: find(connection, asked.id))
    try:
        data: Any = decode_data(row.data)
    except InvalidRequestError:
        data = _read_anyhow(row.data)
    try:
        envelope: Any = envelope_of(row)
    except ValueError:
        envelope = row.envelope
    return {**_describe(row), "data": redact(data), "envelope": redact(envelope)}


def next_place(found: Sequence[Place], asked: Filter) -> dict[str, Any]:
    """Return where an answer goes on that reached its limit, and nothing for any other."""
    return {"next": list(found[-1])} if len(found) == asked.limit and not asked.ids else {}


def check_type(context: Context, type_: str) -> None:
    """Tell a type of which nothing matches from one that was never heard of. Raises InvalidRequestError."""

    def work(connection: Connection) -> bool:
        of_type = select(jobs.c.id).where(jobs.c.type == type_).limit(1)
        # By the index, which begins with the queue.
        queues = distinct_values(connection, jobs.c.queue)
        return any(connection.execute(of_type.where(jobs.c.queue == queue)).all() for queue in queues)

    if not context.database.autocommit(work):
        find_handler(type_)


def find(connection: Connection, id_: str) -> Any:
    """Return the row of a job. Raises InvalidRequestError where there is none."""
    row = connection.execute(select(jobs).where(jobs.c.id == id_)).one_or_none()
    # A collation finds other spellings of an id too, by which nothing else knows the job.
    if row is None or row.id != id_:
        raise InvalidRequestError(f"there is no job with the id {id_[:64]}")
    return row


def matching(asked: Filter) -> ColumnElement[bool]:
    """Return the condition of the jobs that are meant."""
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


def _describe(row: Any, *, most: int | None = None) -> dict[str, Any]:
    return {
        "id": row.id,
        "type": row.type,
        "status": row.status,
        "queue": row.queue,
        "attempts": row.attempts,
        "last_error": None if row.last_error is None else redact(row.last_error)[:most],
        "idempotency_key": redact(row.idempotency_key),
        **{name: _time(getattr(row, name)) for name in TIMES},
    }


def _time(ms: int | None) -> str | None:
    try:
        return iso(from_ms(ms)) if ms else None
    except (ValueError, OverflowError, OSError):
        # Whoever wrote the row may have counted in another unit.
        return f"{ms} ms"
