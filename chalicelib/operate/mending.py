"""Jobs, as an operator mends them: retry, edit, forget, cancel."""

from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, or_, select, update

from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError
from chalicelib.operate import dead_letters
from chalicelib.operate.jobs import Filter, One, Place, Words, check_type, find, matching, next_place
from chalicelib.queue import claim, outbox
from chalicelib.queue.handler import find_handler
from chalicelib.queue.job import WAITING, Status
from chalicelib.queue.message import encode_data, read_data
from chalicelib.queue.services import queues
from chalicelib.schema import jobs


class Edit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job, the data that it is to have, and its type where that changes too."""

    id: str
    data: dict[str, Any]
    type: Words | None = None


def retry(context: Context, asked: Filter) -> dict[str, Any]:
    """Let jobs that were given up be tried anew, at once, with all their attempts; return their ids, oldest first."""
    found = _given_up(context, asked)
    return {"retried": _reopen(context, [id_ for _, id_ in found]), **next_place(found, asked)}


def edit(context: Context, asked: Edit) -> dict[str, Any]:
    """Change the data of a job that waits or was given up, and have it tried; return its id.

    Raises InvalidRequestError where the job's handler cannot take the data, and changes nothing.
    """

    def work(connection: Connection) -> None:
        row = find(connection, asked.id)
        type_ = asked.type or row.type
        read_data(asked.data, find_handler(type_).payload)
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

    return {"forgotten": context.database.transact(work), **next_place(found, asked)}


def cancel(context: Context, asked: One) -> dict[str, Any]:
    """Close a job that waits before it is performed (again). Raises InvalidRequestError when it is too late."""
    now_ms = context.clock.now_ms()
    waiting = and_(jobs.c.id == asked.id, jobs.c.status.in_(WAITING))
    over = {"status": Status.CANCELLED.value, "ended_at": now_ms, "dispatch_at": None}

    def work(connection: Connection) -> None:
        find(connection, asked.id)
        if connection.execute(update(jobs).where(waiting).values(**over)).rowcount == 0:
            raise InvalidRequestError(f"job {asked.id} is {find(connection, asked.id).status}, and does not wait")

    context.database.transact(work)
    return {"cancelled": [asked.id]}


def _given_up(context: Context, asked: Filter) -> list[Place]:
    if asked.status != Status.DEAD:
        raise InvalidRequestError("only jobs that were given up can be retried or forgotten: leave status at dead")
    if not (asked.ids or asked.type or asked.error):
        raise InvalidRequestError("say which jobs: ids, a type, or words of their error")
    query = select(jobs.c.created_at, jobs.c.id).where(matching(asked)).order_by(jobs.c.created_at, jobs.c.id)
    if asked.after:
        created_ms, id_ = asked.after
        query = query.where(jobs.c.created_at >= created_ms, or_(jobs.c.created_at > created_ms, jobs.c.id > id_))
    query = query.limit(len(asked.ids) if asked.ids else asked.limit)
    found = [(row.created_at, row.id) for row in context.database.autocommit(lambda c: c.execute(query).all())]
    if asked.type and not (found or asked.after):
        check_type(context, asked.type)
    if missing := set(asked.ids) - {id_ for _, id_ in found}:
        raise InvalidRequestError(f"no job that was given up, and matches, has the id {', '.join(sorted(missing))}")
    return found


def _still_given_up(connection: Connection, ids: list[str]) -> list[str]:
    """Return those of the jobs that nobody has retried or forgotten meanwhile, nor will in this transaction's time."""
    query = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.status == Status.DEAD).with_for_update()
    found = set(connection.execute(query).scalars())
    return [id_ for id_ in ids if id_ in found]


def _reopen(context: Context, ids: list[str]) -> list[str]:
    """Have those of the jobs tried that are given up, and return them; one that was edited while it waits is sent."""
    now_ms = context.clock.now_ms()

    def work(connection: Connection) -> list[str]:
        still = _still_given_up(connection, ids)
        claim.reopen(connection, still, dispatch_ms=now_ms)
        return still

    reopened = context.database.transact(work)
    # The rows are open before their dead letters go: a kill in between leaves letters of jobs that live, not less.
    dead_letters.remove(context, ids)
    outbox.send_now(context.database, queues(context), ids, clock=context.clock)
    return reopened
