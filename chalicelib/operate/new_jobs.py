"""A new job, as an operator enqueues one: by the same path as every other."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from chalicelib.core.context import Context
from chalicelib.operate.jobs import Words
from chalicelib.queue import outbox
from chalicelib.queue.handler import find_handler
from chalicelib.queue.message import read_data
from chalicelib.queue.outbox import NewJob
from chalicelib.queue.services import queues


class Enqueue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job: its type and data, from when on it may begin, what makes a second one the same, and its queue."""

    type: Words
    data: dict[str, Any]
    run_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    idempotency_key: Words | None = None
    queue: Literal["work", "priority"] = "work"


def enqueue(context: Context, asked: Enqueue) -> dict[str, Any]:
    """Enqueue a job and return its id, or that of the job that has its key, and whether it is a new one.

    Raises InvalidRequestError where its type has no handler, or the handler cannot take the data.
    """
    read_data(asked.data, find_handler(asked.type).payload)
    job = NewJob(
        type=asked.type,
        data=asked.data,
        run_at=asked.run_at,
        idempotency_key=asked.idempotency_key,
        queue=asked.queue,
        source="nightshift enqueue",
    )
    (id_,) = context.database.transact(lambda connection: outbox.enqueue_many(connection, [job], clock=context.clock))
    is_new = id_ == job.id
    if is_new:
        outbox.send_now(context.database, queues(context), [id_], clock=context.clock)
    return {"id": id_, "is_new": is_new}
