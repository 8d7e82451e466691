"""The daily digest: yesterday's posts, to everyone who asked for them. This run lists who; the worker sends."""

from datetime import timedelta

from chalicelib.core.context import Context
from chalicelib.core.errors import OutOfTimeError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.mail import digests
from chalicelib.mail.deliveries import Ledger
from chalicelib.queue.message import Message
from chalicelib.runs.claims import Run, save_checkpoint
from chalicelib.schedule.schedule import Window, window_before
from chalicelib.tasks import Task

CHUNK = 1000
RECIPIENTS_A_MESSAGE = 100


def perform(context: Context, run: Run) -> Counts:
    """Write a delivery for each recipient and put messages for those not yet sent on the queue.

    Counts are recipients: succeeded were handed to the worker, skipped had been reached before.
    """
    window = window_before(run.scheduled_for, context.settings.digest_zone)
    ledger = Ledger(context.database, context.clock, day=window.day.isoformat())
    if run.dry_run:
        return _rehearse(context, window, ledger)
    if digests.prepare(context, window) == 0:
        return Counts()
    after, counts = _read_progress(run)
    while chunk := ledger.next_users(after=after, limit=CHUNK):
        if context.is_out_of_time():
            raise OutOfTimeError(f"{counts.total} recipients are done, the rest is handed on")
        pending = ledger.enlist(first=chunk[0], last=chunk[-1])
        context.queues.work.send(_messages(window.day.isoformat(), pending))
        logger.debug("recipients listed", extra={"first": chunk[0], "last": chunk[-1], "pending": len(pending)})
        after, counts = chunk[-1], counts + _count(chunk, pending)
        # Behind the sending: a kill in between repeats messages, which the ledger makes harmless.
        save_checkpoint(context, run, {"after": after, "counts": counts.as_dict()})
    return counts


def _rehearse(context: Context, window: Window, ledger: Ledger) -> Counts:
    wanted = ledger.count_wanted() if digests.count_posts(context, window) else 0
    return Counts(total=wanted, skipped=wanted)


def _read_progress(run: Run) -> tuple[str, Counts]:
    if run.checkpoint is None:
        return "", Counts()
    return str(run.checkpoint["after"]), Counts(**run.checkpoint["counts"])


def _messages(day: str, user_ids: list[str]) -> list[Message]:
    ranges = (user_ids[i : i + RECIPIENTS_A_MESSAGE] for i in range(0, len(user_ids), RECIPIENTS_A_MESSAGE))
    return [Message(type="send_digest", data={"day": day, "first": ids[0], "last": ids[-1]}) for ids in ranges]


def _count(chunk: list[str], pending: list[str]) -> Counts:
    total = max(len(chunk), len(pending))
    return Counts(total=total, succeeded=len(pending), skipped=total - len(pending))


TASK = Task(
    name="daily_digest",
    perform=perform,
    max_failed_share=0.0,
    max_attempts=3,
    overlap="skip",
    catch_up="latest",
    grace=timedelta(minutes=15),
)
