"""What an operator does with jobs: enqueue, retry, edit, forget, cancel."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection, and_, delete, or_, select, update

from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError
from chalicelib.operate import dead_letters
from chalicelib.operate.jobs import JobFilter, OneJob, Place, Text, check_type, find, matching, next_place
from chalicelib.queue import claim, outbox
from chalicelib.queue.handler import find_handler
from chalicelib.queue.job import WAITING, Job, QueueName, Status
from chalicelib.queue.message import encode_data, read_data
from chalicelib.queue.services import queues
from chalicelib.schema import jobs


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job, its new data, and its new type if that changes."""

    id: str
    data: dict[str, Any]
    type: Text | None = None


def retry(context: Context, request: JobFilter) -> dict[str, Any]:
    """Retry dead jobs now, with all their attempts, and return their ids, oldest first."""
    found = _dead(context, request)
    return {"retried": _reopen(context, [id_ for _, id_ in found]), **next_place(found, request)}


def edit(context: Context, request: Edit) -> dict[str, Any]:
    """Change the data of a waiting or dead job, retry it, and return its id.

    Raises InvalidRequestError, and changes nothing, if the job's handler rejects the data.
    """

    def work(connection: Connection) -> None:
        row = find(connection, request.id)
        type_ = request.type or row.type
        read_data(request.data, find_handler(context, type_).payload)
        is_open = jobs.c.status.in_((*WAITING, Status.DEAD))
        changed = (
            update(jobs).where(jobs.c.id == request.id, is_open).values(data=encode_data(request.data), type=type_)
        )
        if connection.execute(changed).rowcount == 0:
            raise InvalidRequestError(f"job {request.id} is {row.status}, so it cannot be edited")

    context.database.transact(work)
    _reopen(context, [request.id])
    return {"edited": [request.id]}


def forget(context: Context, request: JobFilter) -> dict[str, Any]:
    """Delete dead jobs and their dead letters, and return their ids, oldest first."""
    found = _dead(context, request)
    ids = [id_ for _, id_ in found]
    dead_letters.remove(context, ids)

    def work(connection: Connection) -> list[str]:
        still = _still_dead(connection, ids)
        connection.execute(delete(jobs).where(jobs.c.id.in_(still)))
        return still

    return {"forgotten": context.database.transact(work), **next_place(found, request)}


def cancel(context: Context, request: OneJob) -> dict[str, Any]:
    """Cancel a waiting job. Raises InvalidRequestError if it no longer waits."""
    now_ms = context.clock.now_ms()
    waiting = and_(jobs.c.id == request.id, jobs.c.status.in_(WAITING))
    over = {"status": Status.CANCELLED.value, "ended_at": now_ms, "dispatch_at": None}

    def work(connection: Connection) -> None:
        find(connection, request.id)
        if connection.execute(update(jobs).where(waiting).values(**over)).rowcount == 0:
            raise InvalidRequestError(
                f"job {request.id} is {find(connection, request.id).status}, so it cannot be cancelled"
            )

    context.database.transact(work)
    return {"cancelled": [request.id]}


def _dead(context: Context, request: JobFilter) -> list[Place]:
    if request.status != Status.DEAD:
        raise InvalidRequestError("only dead jobs can be retried or forgotten: omit the status")
    if not (request.ids or request.type or request.error):
        raise InvalidRequestError("name the jobs: by id, type, or text of their error")
    query = select(jobs.c.created_at, jobs.c.id).where(matching(request)).order_by(jobs.c.created_at, jobs.c.id)
    if request.after:
        created_ms, id_ = request.after
        query = query.where(jobs.c.created_at >= created_ms, or_(jobs.c.created_at > created_ms, jobs.c.id > id_))
    query = query.limit(len(request.ids) if request.ids else request.limit)
    found = [(row.created_at, row.id) for row in context.database.autocommit(lambda c: c.execute(query).all())]
    if request.type and not (found or request.after):
        check_type(context, request.type)
    if missing := set(request.ids) - {id_ for _, id_ in found}:
        raise InvalidRequestError(f"no matching dead job has the id {', '.join(sorted(missing))}")
    return found


def _still_dead(connection: Connection, ids: list[str]) -> list[str]:
    """Lock and return the jobs that are still dead."""
    query = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.status == Status.DEAD).with_for_update()
    found = set(connection.execute(query).scalars())
    return [id_ for id_ in ids if id_ in found]


def _reopen(context: Context, ids: list[str]) -> list[str]:
    """Reopen the dead jobs among these and return them, and send all of them."""
    now_ms = context.clock.now_ms()

    def work(connection: Connection) -> list[str]:
        still = _still_dead(connection, ids)
        claim.reopen(connection, still, dispatch_ms=now_ms)
        return still

    reopened = context.database.transact(work)
    # The rows are reopened before their dead letters are deleted: a kill in between leaves a letter, and loses no job.
    dead_letters.remove(context, ids)
    outbox.send_now(context.database, queues(context), ids, clock=context.clock)
    return reopened


class Enqueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new job."""

    type: Text
    data: dict[str, Any]
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    idempotency_key: Text | None = None
    queue: QueueName = "work"


def enqueue(context: Context, request: Enqueue) -> dict[str, Any]:
    """Enqueue a job and return its id, or the id of the job with the same key, and whether it is new.

    Raises InvalidRequestError if its type has no handler, or the handler rejects the data.
    """
    read_data(request.data, find_handler(context, request.type).payload)
    job = Job(
        type=request.type,
        payload=request.data,
        run_at=request.run_at,
        idempotency_key=request.idempotency_key,
        queue=request.queue,
        source="nightshift enqueue",
    )
    with outbox.transaction(context) as connection:
        (id_,) = outbox.enqueue_many(connection, [job])
    return {"id": id_, "is_new": id_ == job.id}
