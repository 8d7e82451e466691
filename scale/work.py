"""What is done for one unit of work: how long it takes a worker, and what it takes of SES and the database."""

from dataclasses import dataclass

from scale.inputs import (
    BATCH,
    COMMIT,
    HANDLER,
    MAIL_CPU,
    QUEUE_CPU,
    READY_CPU,
    SES_CALL,
    STARTING,
    WORKER_MEMORY_MB,
    WORKER_TIMEOUT,
    share,
)

# As chalicelib/core/context.py and chalicelib/mail/sending.py have them: no mail begins when less than both is left.
RESERVE = 10.0
LONGEST_CALL = 35.0
PROCESSOR = share(WORKER_MEMORY_MB)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One kind: its unit is a job, or one mail of a digest, of which a message asks for `units`.

    `part` of them are done at a time, and before each a worker looks whether it has time; None is all of a batch.
    `seconds` are those of a worker that waits for nobody; `time` is how long an invocation begins new units.
    """

    name: str
    units: int
    part: int | None
    seconds: float
    batch_seconds: float
    start_seconds: float
    mails: float
    commits: float
    time: float


def usual() -> Work:
    """Return jobs whose handler waits for something else most of its time, and sends no mail."""
    # What takes over 100 µs is recorded by itself, and a batch is claimed together.
    seconds = QUEUE_CPU / PROCESSOR + COMMIT + HANDLER
    return _work("usual", units=1, part=None, seconds=seconds, mails=0, commits=1 + 1 / BATCH, spare=RESERVE)


def mail() -> Work:
    """Return `send_email`: claimed in a batch; begun, settled and completed by a commit each, around SES's answer."""
    seconds = (QUEUE_CPU + MAIL_CPU) / PROCESSOR + 3 * COMMIT + SES_CALL
    return _work("mail", units=1, part=None, seconds=seconds, mails=1, commits=3 + 1 / BATCH, spare=RESERVE)


def digest(*, recipients: int, mails_a_call: int, turn_seconds: float = 0.0) -> Work:
    """Return the mails of `send_digest`: those of one call to SES are claimed together, and settled together.

    `turn_seconds` is what a worker waits for each mail where there is no Redis to share a pace.
    """
    # A mail's part of a processor was measured with a call for each: it is at most that.
    alone = MAIL_CPU / PROCESSOR + (2 * COMMIT + SES_CALL) / mails_a_call
    return _work(
        "digest",
        units=recipients,
        part=mails_a_call,
        seconds=max(turn_seconds, alone),
        mails=1,
        commits=2 / mails_a_call,
        spare=RESERVE + LONGEST_CALL,
    )


def _work(
    name: str,
    *,
    units: int,
    part: int | None,
    seconds: float,
    mails: float,
    commits: float,
    spare: float,
) -> Work:
    return Work(
        name=name,
        units=units,
        part=part,
        seconds=seconds,
        batch_seconds=COMMIT,
        start_seconds=STARTING + READY_CPU / PROCESSOR,
        mails=mails,
        commits=commits,
        time=WORKER_TIMEOUT - spare,
    )
