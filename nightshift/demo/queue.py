"""The demo's queue: jobs from three sources, and how each ends: completed, retried or dead."""

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from chalicelib.core.clock import from_ms
from chalicelib.queue import outbox
from chalicelib.queue.job import Status
from nightshift.demo import application
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import DEAD, Kit
from nightshift.testkit.memory import MemorySes

LIMIT_MINUTES = 24 * 60


@dataclass(frozen=True, kw_only=True)
class Enqueued:
    """A job of the demo: what it shows, its source and its id."""

    shows: str
    source: str
    job_id: str


class ThrottlingSes(MemorySes):
    """SES that throttles one recipient's mail twice, and another's forever."""

    def __init__(self) -> None:
        super().__init__()
        self.throttles = {"patient@example.com": 2, "unlucky@example.com": 1000}

    def send_email(self, **call: Any) -> dict[str, Any]:
        """Accept a mail, or throttle it."""
        (to,) = call["Destination"]["ToAddresses"]
        if self.throttles.get(to, 0) > 0:
            self.throttles[to] -= 1
            refusal: Any = {"Error": {"Code": "TooManyRequestsException", "Message": "Maximum sending rate exceeded."}}
            raise ClientError(refusal, "SendEmail")
        return super().send_email(**call)


def show_queue(console: Console, environment: Mapping[str, str]) -> None:
    """Enqueue jobs, run them on a simulated clock, and print how each ended."""
    url, ca = environment["DATABASE_URL"], environment.get("DATABASE_CA", "")
    with application.application() as jobs_url:
        settings = {
            "APP_JOBS_URL": jobs_url,
            "APP_JOBS_TYPES": application.TYPE,
            "APP_JOBS_SECRETS": application.SECRET,
            "APP_JOBS_PRIVATE": "on",
        }
        kit = Kit(url, clock=FrozenClock(datetime.now(UTC)), DATABASE_CA=ca, **settings)
        kit.ses = ThrottlingSes()
        started_ms = kit.clock.now_ms()
        enqueued = list(_enqueue(kit))
        kit.settle(minutes=LIMIT_MINUTES)
    hours = (kit.clock.now_ms() - started_ms) / 3_600_000
    rows = {job.id: job for job in kit.jobs()}
    console.print(f"\nQueue     {len(enqueued)} jobs from three sources; {hours:.1f} hours pass on a simulated clock\n")
    console.print(_table(rows, enqueued, started_ms=started_ms))
    console.print(f"\nSent      {len(kit.ses.sent)} mails, {len(kit.s3.objects)} report stored")
    for each in enqueued:
        if each.job_id in rows and rows[each.job_id].result is not None:
            console.print(f"Result    {each.shows}: {rows[each.job_id].result}", markup=False)
    console.print(f"Dead      {len(kit.sqs.messages(DEAD))} messages on the dead-letter queue:")
    for each in enqueued:
        if each.job_id in rows and rows[each.job_id].status == Status.DEAD:
            reason = rows[each.job_id].last_error.partition(": ")[2]
            console.print(f"          {each.shows}: {reason[:80]}", markup=False)


def _enqueue(kit: Kit) -> Iterator[Enqueued]:
    def mail(to: str, **more: Any) -> dict[str, Any]:
        return {"to": to, "subject": "Welcome", "template": "notice", "content": {"paragraphs": ["Hello."]}, **more}

    context = kit.context()
    with outbox.transaction(context) as connection:
        welcome = outbox.enqueue(connection, "send_email", mail("reader@example.com"))
        later = from_ms(kit.clock.now_ms()) + timedelta(hours=2)
        report = outbox.enqueue(connection, "generate_report", {"to": "editor@example.com"}, run_at=later)
    yield Enqueued(shows="a mail, with its transaction", source="enqueue()", job_id=welcome)
    yield Enqueued(shows="a report two hours later", source="enqueue()", job_id=report)
    rolled_back = _roll_back(kit, mail("nobody@example.com"))
    yield Enqueued(shows="a transaction that was rolled back", source="enqueue()", job_id=rolled_back)

    body = {"type": "send_email", "data": mail("once@example.com"), "idempotency_key": "welcome-42"}
    yield Enqueued(shows="a mail from another service", source="SQS message", job_id=kit.send(body))
    yield Enqueued(shows="the same again, with the same key", source="SQS message", job_id=kit.send(body))
    patient = {"type": "send_email", "data": mail("patient@example.com")}
    yield Enqueued(shows="SES throttles it twice", source="SQS message", job_id=kit.send(patient))
    picture = {"type": application.TYPE, "data": {"key": "cat.png", "width": 200}}
    yield Enqueued(shows="a picture, by your application", source="SQS message", job_id=kit.send(picture))
    yield Enqueued(
        shows="a type without a handler", source="SQS message", job_id=kit.send({"type": "resize", "data": {}})
    )
    yield Enqueued(shows="invalid JSON", source="SQS message", job_id=kit.send("resize, please"))

    yield Enqueued(shows="a row of another service", source="INSERT", job_id=_insert(kit, mail("old@example.com")))
    yield Enqueued(shows="SES throttles it forever", source="INSERT", job_id=_insert(kit, mail("unlucky@example.com")))
    yield Enqueued(
        shows="two addresses in one field", source="INSERT", job_id=_insert(kit, mail("a@example.com, b@example.com"))
    )


class _RollbackError(Exception):
    """Rolls the application's transaction back."""


def _roll_back(kit: Kit, data: dict[str, Any]) -> str:
    job_id = ""
    try:
        with outbox.transaction(kit.context()) as connection:
            job_id = outbox.enqueue(connection, "send_email", data)
            raise _RollbackError
    except _RollbackError:
        return job_id


def _insert(kit: Kit, data: dict[str, Any]) -> str:
    row: dict[str, Any] = {"id": str(uuid.uuid4()), "data": json.dumps(data), "now": kit.clock.now_ms()}
    statement = text("INSERT INTO jobs (id, type, data, created_at) VALUES (:id, 'send_email', :data, :now)")
    kit.context().database.autocommit(lambda connection: connection.execute(statement, row))
    return str(row["id"])


def _table(rows: Mapping[str, Any], enqueued: list[Enqueued], *, started_ms: int) -> Table:
    table = Table("job", "source", "status", box=None, header_style="dim", pad_edge=False)
    table.add_column("attempts", justify="right")
    table.add_column("after", justify="right")
    for each in enqueued:
        row = rows.get(each.job_id)
        if row is None:
            table.add_row(each.shows, each.source, "no job", "", "")
        else:
            minutes = ((row.ended_at or started_ms) - started_ms) / 60_000
            table.add_row(each.shows, each.source, row.status, str(row.attempts), f"{minutes:.0f} min")
    return table
