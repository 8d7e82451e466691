"""The ledger of mails that jobs send: one row a job, written before the mail, so that no retry sends it again.

pending → sending → sent | refused | unknown. Only a mail that SES certainly did not take moves back to pending.
"""

from sqlalchemy import Connection, insert, select, update

from chalicelib.clock import Clock
from chalicelib.database import Database
from chalicelib.mail.deliveries import Status
from chalicelib.schema import emails


def begin(database: Database, clock: Clock, *, job_id: str) -> Status:
    """Mark the job's mail as being sent, and return where it stood before.

    One that is sent stays so. One that is being sent belongs to an attempt that has ended, since a job is one
    attempt's at a time: it becomes unknown. Refused and unknown ones are begun anew: only an operator, who has seen
    them, can let their job be tried again.
    """

    def work(connection: Connection) -> Status:
        of_job = emails.c.job_id == job_id
        before = connection.execute(select(emails.c.status).where(of_job).with_for_update()).scalar_one_or_none()
        sending = {"status": Status.SENDING.value, "claimed_at": clock.now_ms(), "settled_at": None, "error": None}
        if before is None:
            connection.execute(insert(emails).values(job_id=job_id, **sending))
            return Status.PENDING
        if before == Status.SENDING:
            error = "the process ended before SES's answer was recorded"
            connection.execute(update(emails).where(of_job).values(status=Status.UNKNOWN.value, error=error))
        elif before != Status.SENT:
            connection.execute(update(emails).where(of_job).values(**sending))
        return Status(before)

    return database.transact(work)


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
    database.transact(lambda connection: connection.execute(statement))
