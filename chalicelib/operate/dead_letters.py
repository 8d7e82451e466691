"""Redrive of the dead-letter queue. SQS's own redrive would not reopen the jobs' rows."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import Any

import msgspec
from botocore.exceptions import ClientError
from sqlalchemy import select

from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError, NightshiftError
from chalicelib.operate.operations import Nothing
from chalicelib.queue import claim, outbox
from chalicelib.queue.job import OUTGOING, OVER, Status, message_of
from chalicelib.queue.message import Message, decode
from chalicelib.queue.services import payloads, queues
from chalicelib.queue.sqs import DeadLetter, DeadLetters
from chalicelib.schema import jobs


def redrive(context: Context, _request: Nothing) -> dict[str, Any]:
    """Retry all messages of the dead-letter queue, and return how many of them had which result.

    `retried`: the job's row is open again. `sent`: SQS had moved the message there itself, and it is back on the work
    queue. `settled`: the job is completed or closed. `kept`: the message cannot be read or sent again, its job is dead
    again, or the database treats its id as equal to that of another job.
    """
    letters = queues(context).dead_letters
    counts = dict.fromkeys(("retried", "sent", "settled", "kept"), 0)
    kept: dict[str, DeadLetter] = {}
    left = []
    retried: set[str] = set()
    for letter in letters.receive():
        if context.is_out_of_time():
            left.append(letter)
            break
        result = _redrive(context, letter, retried)
        if result == "kept":
            # By id: a letter is received again if reading all of them takes longer than it is hidden.
            kept[letter.message_id] = letter
        else:
            kept.pop(letter.message_id, None)
            counts[result] += 1
            # Deleted last: a kill before it repeats the message, which the claim of its job's row makes harmless.
            letters.delete(letter)
    _release(letters, [*kept.values(), *left])
    return counts | {"kept": len(kept)}


def _redrive(context: Context, letter: DeadLetter, retried: set[str]) -> str:
    id_, message = _read(context, letter)
    query = select(*OUTGOING).where(jobs.c.id == id_)
    row = context.database.autocommit(lambda connection: connection.execute(query).one_or_none())
    if row is not None and row.id != id_:
        # The column's collation treats another job's id as equal, so this job can have no row.
        return "kept"
    if row is not None and row.status == Status.DEAD:
        # Retry a job once: it may fail again at once, and its next letter would repeat this for ever.
        if id_ in retried or not _can_be_sent(row):
            return "kept"
        retried.add(id_)
        now_ms = context.clock.now_ms()
        context.database.transact(lambda connection: claim.reopen(connection, [id_], dispatch_ms=now_ms))
        outbox.send_now(context.database, queues(context), [id_], clock=context.clock)
        return "retried"
    if row is not None and row.status in OVER:
        return "settled"
    if message is None or (message.data_in_row and row is None):
        return "kept"
    try:
        # With its id: without it, the message would be another job.
        queues(context).named(row.queue if row else "work").send([msgspec.structs.replace(message, id=id_)])
    except InvalidRequestError:
        # In ASCII the message may be too long, and its id invalid. It must not stop the others.
        return "kept"
    return "sent"


def _read(context: Context, letter: DeadLetter) -> tuple[str, Message | None]:
    """Return the id of a letter's job, and its message if it can be read."""
    message = None
    with suppress(NightshiftError):
        message = decode(payloads(context).fetch(letter.body))
    return letter.job_id or (message and message.id) or letter.message_id, message


def _can_be_sent(row: Any) -> bool:
    try:
        message_of(row)
    except InvalidRequestError:
        return False
    return True


def remove(context: Context, ids: Collection[str]) -> None:
    """Delete the dead letters of these jobs, and no others."""
    wanted, letters = set(ids), queues(context).dead_letters
    others: dict[str, DeadLetter] = {}
    for letter in letters.receive() if wanted else ():
        if (letter.job_id or _read(context, letter)[0]) in wanted:
            letters.delete(letter)
            continue
        has_come_again = letter.message_id in others
        others[letter.message_id] = letter
        if has_come_again or context.is_out_of_time():
            break
    _release(letters, others.values())


def _release(letters: DeadLetters, looked_at: Iterable[DeadLetter]) -> None:
    for letter in looked_at:
        # SQS refuses if the letter is visible already. Otherwise it is visible within a minute.
        with suppress(ClientError):
            letters.release(letter)
