"""The monthly report: count the last month's figures, store the report, and mail it to the administrators."""

from typing import Any

import msgspec
from sqlalchemy import select

from chalicelib.api import Context, Counts, InvalidRequestError, Job, Run, enqueue_many, task, transaction
from chalicelib.application import posts, users
from chalicelib.core.clock import from_ms
from chalicelib.core.mapping import require_mapping
from chalicelib.mail.settings import MailSettings
from chalicelib.runs.fire import AUTOMATIC
from chalicelib.tasks.monthly_report import page
from chalicelib.tasks.monthly_report.figures import Report, collect
from chalicelib.tasks.monthly_report.month import Month

FORMATS = {
    "html": ("text/html; charset=utf-8", page.html),
    "csv": ("text/csv; charset=utf-8", page.csv_text),
    "json": ("application/json", page.json_text),
}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The month (2026-02) instead of the last one, and whether to mail it; scheduled runs mail it by default."""

    month: str | None = None
    mail: bool | None = None


@task(overlap="queue", catch_up="all", catch_up_limit=12, options=("month", "mail"))
def monthly_report(context: Context, run: Run) -> Counts:
    """Store the month's report and queue its mails; counts are administrators."""
    require_mapping(context.database.engine, users, posts)
    options = _read_options(run)
    settings, now = context.settings(MailSettings), from_ms(context.clock.now_ms())
    zone = settings.digest_zone
    month = Month.parse(options.month) if options.month else Month.ended_before(run.scheduled_for, zone)
    if not month.is_closed(now, zone):
        raise InvalidRequestError(f"the month {month} has not ended yet; ask for an earlier one")
    administrators = find_administrators(context)
    is_mailed = run.trigger in AUTOMATIC if options.mail is None else options.mail
    if run.dry_run:
        return Counts(total=len(administrators), skipped=len(administrators))
    report = context.database.transact(
        lambda connection: collect(connection, month, zone=zone, settings=settings, at=now)
    )
    for extension, (content_type, write) in FORMATS.items():
        context.store.put(_key(month, extension), write(report).encode(), content_type=content_type)
    if not is_mailed:
        return Counts(total=len(administrators), skipped=len(administrators))
    _enqueue_mails(context, run, report, administrators)
    return Counts(total=len(administrators), succeeded=len(administrators))


def _read_options(run: Run) -> Options:
    try:
        options = msgspec.convert(dict(run.options), Options)
        if options.month is not None:
            Month.parse(options.month)
    except ValueError as error:
        raise InvalidRequestError(f"monthly_report has an invalid option: {error}") from None
    return options


def _key(month: Month, extension: str) -> str:
    # The same key each time, so that the bucket keeps the versions of one report.
    return f"reports/{month}/report.{extension}"


def find_administrators(context: Context) -> list[Any]:
    """Return the administrators who get the report."""
    wanted = select(users.c.id, users.c.name, users.c.email).where(users.c.is_admin, users.c.is_verified)
    return context.database.autocommit(lambda connection: list(connection.execute(wanted.order_by(users.c.id))))


def _enqueue_mails(context: Context, run: Run, report: Report, administrators: list[Any]) -> None:
    link = context.store.link(_key(report.month, "html"), seconds=page.LINK_SECONDS)
    # Scheduled runs send one mail a month, however often they repeat; manual runs one for each request.
    occasion = str(report.month) if run.trigger in AUTOMATIC else str(run.id)
    mails = [
        Job(
            type="send_email",
            payload=page.mail(report, to=administrator.email, name=administrator.name, link=link),
            idempotency_key=f"monthly_report {occasion} {administrator.id}",
        )
        for administrator in administrators
    ]
    with transaction(context) as connection:
        enqueue_many(connection, mails)
