"""The dead-letter queue, as an operator empties it: without SQS's own mover, which knows no rows."""

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
    """Have everything on the dead-letter queue tried anew, and return how many messages became what.

    `retried`: their job's row is open again. `sent`: SQS had given them up before a worker could, and they are back
    on the work queue. `settled`: their job was done or closed meanwhile. `kept`: nobody could read them or send them
    again, their job was given up again, or the database takes its id for that of another job.
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
        became = _redrive(context, letter, retried)
        if became == "kept":
            # Under its id, since it comes again when looking at them takes longer than it is hidden.
            kept[letter.message_id] = letter
        else:
            kept.pop(letter.message_id, None)
            counts[became] += 1
            # Behind whatever brought it back: a kill in between repeats the message, and its job's row knows it.
            letters.delete(letter)
    _release(letters, [*kept.values(), *left])
    return counts | {"kept": len(kept)}


def _redrive(context: Context, letter: DeadLetter, retried: set[str]) -> str:
    id_, message = _read(context, letter)
    query = select(*OUTGOING).where(jobs.c.id == id_)
    row = context.database.autocommit(lambda connection: connection.execute(query).one_or_none())
    if row is not None and row.id != id_:
        # The column's collation takes another job's id for this one, which therefore can have no row.
        return "kept"
    if row is not None and row.status == Status.DEAD:
        # Its next letter may be here before we have seen all others, and would keep us at it for ever.
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
        # With the id that it had: a copy under another would be another job.
        queues(context).named(row.queue if row else "work").send([msgspec.structs.replace(message, id=id_)])
    except InvalidRequestError:
        # In ASCII it is longer than what came, and its id may be anybody's: it must not hold up those behind it.
        return "kept"
    return "sent"


def _read(context: Context, letter: DeadLetter) -> tuple[str, Message | None]:
    """Return the id of a letter's job, and its message where it has one that can be read."""
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
    """Take the dead letters of these jobs off the queue; the others are left as they are."""
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
        # SQS refuses for one that can be seen again already; any other will be within a minute.
        with suppress(ClientError):
            letters.release(letter)
