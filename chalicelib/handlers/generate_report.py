"""Creates the report of a month, stores it, and enqueues the mail with a link to it."""

import msgspec

from chalicelib.api import Context, InvalidRequestError, Job, enqueue, handler
from chalicelib.core.clock import from_ms
from chalicelib.mail.settings import MailSettings
from chalicelib.tasks.monthly_report import page
from chalicelib.tasks.monthly_report.figures import collect
from chalicelib.tasks.monthly_report.month import Month

# A report has the twelve months before its own, and 1970-01 is the first.
EARLIEST = Month(year=1971, month=1)


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mail's recipient, and the month (2026-02), by default the last that has ended."""

    to: str
    name: str = ""
    period: str | None = None


@handler(max_attempts=5)
def generate_report(context: Context, job: Job[Payload]) -> None:
    """Store the report and enqueue its mail; a retry stores it again, and its mail is sent once."""
    settings, now = context.settings(MailSettings), from_ms(context.clock.now_ms())
    zone = settings.digest_zone
    month = Month.ended_before(now, zone) if job.payload.period is None else _read_month(job.payload.period)
    if not month.is_closed(now, zone):
        raise InvalidRequestError(f"the month {month} has not ended yet; ask for an earlier one")
    report = context.database.transact(
        lambda connection: collect(connection, month, zone=zone, settings=settings, at=now)
    )
    key = f"reports/{month}/{job.id}.html"
    context.store.put(key, page.html(report).encode(), content_type="text/html; charset=utf-8")
    link = context.store.link(key, seconds=page.LINK_SECONDS)
    mail = page.mail(report, to=job.payload.to, name=job.payload.name, link=link)
    enqueue(context, "send_email", mail, idempotency_key=f"report of job {job.id}")


def _read_month(text: str) -> Month:
    try:
        month = Month.parse(text)
    except ValueError as error:
        raise InvalidRequestError(f"period: {error}") from None
    if month < EARLIEST:
        raise InvalidRequestError(f"period: the earliest month that has a year before it is {EARLIEST}")
    return month
