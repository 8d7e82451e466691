"""Jobs as an operator sees them: a list, and one job with its data."""

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

MOST_JOBS = 1000
# Characters of an error in a list: an error may have 64 KB.
LONGEST_ERROR = 1000
STATUSES = (*Status, "all")
# All but those that may be long.
LISTED = tuple(column for column in jobs.c if column.name not in {"data", "envelope", "result"})
TIMES = ("created_at", "due_at", "expires_at", "started_at", "ended_at", "completed_at")


# Where a page of jobs ends: when its last job was created, in epoch milliseconds, and the job's id.
Place = tuple[int, str]
# An empty text, such as an unset variable of a shell, must not select all jobs.
Text = Annotated[str, msgspec.Meta(min_length=1)]


class JobFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter of jobs, by id, type, text of their last error, and status.

    An answer that reaches the limit, or is as long as Lambda allows, has a `next`: the `after` of the next request.
    """

    ids: Annotated[tuple[str, ...], msgspec.Meta(max_length=MOST_JOBS)] = ()
    type: Text | None = None
    error: Text | None = None
    status: str = Status.DEAD
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_JOBS)] = 50
    after: Place | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}{hint(self.status, STATUSES)}")


class OneJob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job."""

    id: str


def list_jobs(context: Context, request: JobFilter) -> dict[str, Any]:
    """Return the newest jobs that match, without their data."""
    rows = context.database.autocommit(lambda connection: _select(connection, request))
    if request.type and not (rows or request.after):
        check_type(context, request.type)
    described = [_describe(row, longest_error=LONGEST_ERROR) for row in rows]
    kept = beginning(described, most=MOST_BYTES)
    places = [(row.created_at, row.id) for row in rows[: len(kept)]]
    is_cut = len(kept) < len(described)
    return {"jobs": kept, **({"next": list(places[-1])} if is_cut else next_place(places, request))}


def _select(connection: Connection, request: JobFilter) -> Sequence[Any]:
    condition = matching(request)
    if request.after:
        created_ms, id_ = request.after
        condition = and_(
            condition, jobs.c.created_at <= created_ms, or_(jobs.c.created_at < created_ms, jobs.c.id < id_)
        )
    query = select(*LISTED).where(condition).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(request.limit)
    if request.status != "all" or request.ids:
        return connection.execute(query).all()
    # Merge the newest of each status, each read by an index: sorting all jobs would take seconds.
    parts = [
        select(query.where(jobs.c.status == status).subquery()) for status in distinct_values(connection, jobs.c.status)
    ]
    if not parts:
        return []
    newest = union_all(*parts).subquery()
    merged = select(newest).order_by(newest.c.created_at.desc(), newest.c.id.desc()).limit(request.limit)
    return connection.execute(merged).all()


def show(context: Context, request: OneJob) -> dict[str, Any]:
    """Return a job with its data and result, in which secrets are redacted by key and addresses are masked."""
    row = context.database.transact(lambda connection: find(connection, request.id))
    try:
        data: Any = decode_data(row.data)
    except InvalidRequestError:
        data = _read_leniently(row.data)
    try:
        envelope: Any = envelope_of(row)
    except ValueError:
        envelope = row.envelope
    result = None if row.result is None else _read_leniently(row.result)
    return {**_describe(row), "data": redact(data), "envelope": redact(envelope), "result": redact(result)}


def next_place(found: Sequence[Place], request: JobFilter) -> dict[str, Any]:
    """Return the `next` of an answer that reached its limit, and nothing for any other."""
    return {"next": list(found[-1])} if len(found) == request.limit and not request.ids else {}


def check_type(context: Context, type_: str) -> None:
    """Raise InvalidRequestError for a type that has neither a job nor a handler."""

    def work(connection: Connection) -> bool:
        of_type = select(jobs.c.id).where(jobs.c.type == type_).limit(1)
        # For each queue, since the index begins with it.
        queues = distinct_values(connection, jobs.c.queue)
        return any(connection.execute(of_type.where(jobs.c.queue == queue)).all() for queue in queues)

    if not context.database.autocommit(work):
        find_handler(context, type_)


def find(connection: Connection, id_: str) -> Any:
    """Return the row of a job. Raises InvalidRequestError if there is none."""
    row = connection.execute(select(jobs).where(jobs.c.id == id_)).one_or_none()
    # The column's collation may also find an id in another spelling, which is another job's.
    if row is None or row.id != id_:
        raise InvalidRequestError(f"there is no job with the id {id_[:64]}")
    return row


def matching(request: JobFilter) -> ColumnElement[bool]:
    """Return the condition of the jobs that a filter selects."""
    conditions: list[ColumnElement[bool]] = [jobs.c.id.is_not(None)]
    if request.status != "all":
        conditions.append(jobs.c.status == request.status)
    if request.ids:
        conditions.append(jobs.c.id.in_(request.ids))
    if request.type:
        conditions.append(jobs.c.type == request.type)
    if request.error:
        conditions.append(jobs.c.last_error.contains(request.error, autoescape=True))
    return and_(*conditions)


def _read_leniently(text: str) -> Any:
    """Return the value of a JSON text, read less strictly than by a worker; other texts stay as they are."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # A body that is not a message is stored as a JSON string.
    return _read_leniently(value) if isinstance(value, str) else value


def _describe(row: Any, *, longest_error: int | None = None) -> dict[str, Any]:
    return {
        "id": row.id,
        "type": row.type,
        "status": row.status,
        "queue": row.queue,
        "attempts": row.attempts,
        "last_error": None if row.last_error is None else redact(row.last_error)[:longest_error],
        "idempotency_key": redact(row.idempotency_key),
        **{name: _time(getattr(row, name)) for name in TIMES},
    }


def _time(ms: int | None) -> str | None:
    try:
        return iso(from_ms(ms)) if ms else None
    except (ValueError, OverflowError, OSError):
        # Other services insert rows too, perhaps in another unit.
        return f"{ms} ms"
