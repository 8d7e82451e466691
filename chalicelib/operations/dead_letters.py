"""The dead-letter queue, as an operator empties it: without SQS's own mover, which knows no rows."""

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import select

from chalicelib.context import Context
from chalicelib.errors import InvalidRequestError
from chalicelib.operations.checks import Nothing
from chalicelib.queue import claims, outbox
from chalicelib.queue.dead_letters import DeadLetter
from chalicelib.queue.job import OVER, Status
from chalicelib.queue.message import decode
from chalicelib.schema import jobs


def redrive(context: Context, _request: Nothing) -> dict[str, Any]:
    """Have everything on the dead-letter queue tried anew, and return how many messages became what.

    `retried`: their job's row is open again. `sent`: SQS had given them up before a worker could, and they are back
    on the work queue. `settled`: their job was done or closed meanwhile. `kept`: nobody could read them.
    """
    letters = context.queues.dead_letters
    counts = dict.fromkeys(("retried", "sent", "settled", "kept"), 0)
    kept = []
    for letter in letters.look():
        if context.is_out_of_time():
            kept.append(letter)
            break
        became = _redrive(context, letter)
        counts[became] += 1
        if became == "kept":
            kept.append(letter)
        else:
            # Behind whatever brought it back: a kill in between repeats the message, and its job's row knows it.
            letters.delete(letter)
    for letter in kept:
        letters.release(letter)
    return counts


def _redrive(context: Context, letter: DeadLetter) -> str:
    job_id, now_ms = letter.job_id, context.clock.now_ms()
    message = None
    try:
        message = decode(context.payloads.fetch(letter.body))
    except InvalidRequestError:
        if job_id is None:
            return "kept"
    id_ = job_id or (message and message.id) or letter.message_id
    query = select(jobs.c.status).where(jobs.c.id == id_)
    status = context.database.transact(lambda connection: connection.execute(query).scalar_one_or_none())
    if status == Status.DEAD:
        context.database.transact(lambda connection: claims.reopen(connection, [id_], dispatch_ms=now_ms))
        outbox.send_now(context.database, context.queues, [id_], clock=context.clock)
        return "retried"
    if status in OVER:
        return "settled"
    if message is None:
        return "kept"
    # With the id that it had: a copy under another would be another job.
    context.queues.work.send([msgspec.structs.replace(message, id=id_)])
    return "sent"


def remove(context: Context, ids: Collection[str]) -> None:
    """Take the dead letters of these jobs off the queue; the others are left as they are."""
    wanted, letters = set(ids), context.queues.dead_letters
    for letter in list(letters.look()) if wanted else []:
        (letters.delete if letter.job_id in wanted else letters.release)(letter)
