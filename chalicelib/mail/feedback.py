"""Bounces and complaints, as SNS delivers them: whom they concern gets no more mail."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from chalicelib.core.attempt import attempt_and_report
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.mail import notices, subscriptions, suppressions
from chalicelib.mail.suppressions import Incident, Reason
from chalicelib.mail.text import clean


def receive(event: object, context: Context) -> dict[str, Any]:
    """Record what an event of SNS tells, once however often it is delivered, and return the summary.

    Counts are recipients: succeeded are news, skipped were recorded before, failed bear no plain address. Raises
    RunFailedError, so that Lambda tries it again, and in the end keeps it with the failed fires.
    """
    return attempt_and_report(context, "mail_feedback", lambda: _receive(event, context))


def _receive(event: object, context: Context) -> Counts:
    now_ms = context.clock.now_ms()
    # All are read before any is recorded: what cannot be read fails the event as a whole.
    incidents = [incident for message in list(_messages(event)) for incident in notices.read(message, now_ms=now_ms)]
    return sum((_take(context, incident) for incident in incidents), Counts())


def _messages(event: object) -> Iterator[str]:
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or not records:
        raise InvalidRequestError("mail_feedback takes what SES publishes to its topic, and this is no event of SNS")
    for record in records:
        told = record.get("Sns") if isinstance(record, Mapping) else None
        if not isinstance(told, Mapping) or not isinstance(told.get("Message"), str):
            raise InvalidRequestError("a record of the event is not of SNS: it has no Sns.Message")
        if told.get("Type", "Notification") == "Notification":
            yield told["Message"]
        else:
            # SNS asks to confirm a subscription; that of a function needs none.
            logger.info("feedback ignored", extra={"type": clean(str(told["Type"]))[:64]})


def _take(context: Context, incident: Incident | None) -> Counts:
    if incident is None:
        # Nothing of what it bears: nobody can tell which part of such a text would have to be masked.
        logger.warning("feedback about no plain address")
        return Counts(total=1, failed=1)
    now_ms = context.clock.now_ms()
    if not context.database.transact(lambda connection: _record(connection, incident, now_ms=now_ms)):
        return Counts(total=1, skipped=1)
    fields = {"reason": incident.reason.value, "address": incident.address, "ses_message_id": incident.message_id}
    logger.info("mail came back", extra=fields)
    return Counts(total=1, succeeded=1)


def _record(connection: Connection, incident: Incident, *, now_ms: int) -> bool:
    is_news = suppressions.record(connection, incident, now_ms=now_ms)
    # In the same transaction, since it is news only once; and who opted in again is not taken out by a copy.
    if is_news and incident.reason is Reason.COMPLAINT:
        subscriptions.end_by_address(connection, incident.address, spellings=incident.spellings)
    return is_news
