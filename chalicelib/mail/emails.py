"""The ledger of mails that jobs send: one row a job, written before the mail, so that no retry sends it again.

pending → sending → sent | refused | unknown. Only a mail that SES certainly did not take moves back to pending.
"""

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, insert, select, update

from chalicelib.core.clock import Clock
from chalicelib.core.database import Database
from chalicelib.mail.deliveries import Status
from chalicelib.schema import emails, jobs


def begin(database: Database, clock: Clock, *, job_id: str, attempt: int) -> Status:
    """Mark the job's mail as being sent, where it may be, and return where it stands now.

    One that is sent stays so. One that is being sent belongs to an attempt that has ended, since a job is one
    attempt's at a time: it becomes unknown. An unknown one is begun anew only in the first attempt after an operator,
    who has seen its job dead, let that be tried again.
    """
    of_job = emails.c.job_id == job_id
    job_ended_at = select(jobs.c.ended_at).where(jobs.c.id == job_id).scalar_subquery().label("job_ended_at")
    find = select(emails.c.status, emails.c.settled_at, emails.c.provider_id, job_ended_at).where(of_job)
    # By which it is known again where the answer to the commit was lost, and all is repeated.
    mark = uuid4().hex

    def work(connection: Connection) -> Status:
        now_ms = clock.now_ms()
        sending = {
            "status": Status.SENDING.value,
            "claimed_at": now_ms,
            "settled_at": None,
            "provider_id": mark,
            "error": None,
        }
        row = connection.execute(find.with_for_update()).one_or_none()
        if row is None:
            connection.execute(insert(emails).values(job_id=job_id, **sending))
            return Status.SENDING
        if row.status == Status.SENDING and row.provider_id == mark:
            return Status.SENDING
        if row.status == Status.SENDING:
            error = "the process ended before SES's answer was recorded"
            unknown = {"status": Status.UNKNOWN.value, "settled_at": now_ms, "provider_id": None, "error": error}
            connection.execute(update(emails).where(of_job).values(**unknown))
            return Status.UNKNOWN
        if row.status == Status.SENT or (row.status == Status.UNKNOWN and not _is_reopened(row, attempt)):
            return Status(row.status)
        connection.execute(update(emails).where(of_job).values(**sending))
        return Status.SENDING

    return database.transact(work)


def _is_reopened(row: Any, attempt: int) -> bool:
    # The attempt that left the mail unknown may have ended unrecorded, or without a dead letter: then the next one
    # is not the operator's. It is where attempts count from one again, and the job's end was recorded after the mail's.
    return attempt == 1 and row.job_ended_at is not None and row.job_ended_at >= row.settled_at


def settle(
    database: Database,
    clock: Clock,
    *,
    job_id: str,
    status: Status,
    provider_id: str | None = None,
    error: str | None = None,
) -> None:
    """Record what became of the mail that is being sent."""
    values = {
        "status": status.value,
        "settled_at": None if status is Status.PENDING else clock.now_ms(),
        "provider_id": provider_id,
        "error": None if error is None else error[:500],
    }
    statement = update(emails).where(emails.c.job_id == job_id).values(**values)
    database.autocommit(lambda connection: connection.execute(statement))
