"""The ledger of mails that jobs send: which may begin, which may not, and what is kept of each."""

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from chalicelib.core.database import Database
from chalicelib.mail import emails
from chalicelib.mail.deliveries import Status
from chalicelib.schema import emails as table
from chalicelib.schema import jobs
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import NOON, Kit
from tests.mail.losing import lose_one_answer

JOB = "job-1"


class Ledger:
    """The ledger of one job, recorded as ended at a moment or not at all, on a clock that stands still."""

    def __init__(self, database: Database) -> None:
        self.clock = FrozenClock(NOON)
        self._database = database

    def begin(self, *, attempt: int = 1) -> Status:
        return emails.begin(self._database, self.clock, job_id=JOB, attempt=attempt)

    def settle(self, status: Status, **values: str) -> None:
        emails.settle(self._database, self.clock, job_id=JOB, status=status, **values)

    def end_job(self, *, seconds: int = 0) -> None:
        """Record that the job ended, so many seconds from now."""
        ended_at = self.clock.now_ms() + 1000 * seconds
        self._execute(update(jobs).where(jobs.c.id == JOB).values(ended_at=ended_at))

    def row(self) -> Any:
        return self._database.transact(
            lambda connection: connection.execute(select(table).where(table.c.job_id == JOB)).one()
        )

    def add_job(self) -> None:
        self._execute(insert(jobs).values(id=JOB, type="send_email", data="{}", created_at=0))

    def _execute(self, statement: Any) -> None:
        self._database.transact(lambda connection: connection.execute(statement))


@pytest.fixture
def ledger(database_url: str) -> Ledger:
    ledger = Ledger(Kit(database_url).context().database)
    ledger.add_job()
    return ledger


def test_a_beginning_whose_answer_is_lost_is_known_again(
    ledger: Ledger, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_one_answer(Kit(database_url).context().database.engine, monkeypatch)
    assert ledger.begin() is Status.SENDING
    assert ledger.begin() is Status.UNKNOWN


def test_a_mail_that_nobody_began_is_being_sent_from_now_on(ledger: Ledger) -> None:
    assert ledger.begin() is Status.SENDING
    row = ledger.row()
    assert (row.status, row.claimed_at, row.settled_at) == ("sending", ledger.clock.now_ms(), None)


def test_a_mail_that_is_being_sent_is_unknown_to_the_next_attempt(ledger: Ledger) -> None:
    ledger.begin()
    ledger.clock.advance(60)
    assert ledger.begin(attempt=2) is Status.UNKNOWN
    row = ledger.row()
    assert (row.status, row.error) == ("unknown", "the process ended before SES's answer was recorded")
    assert (row.claimed_at, row.settled_at) == (ledger.clock.now_ms() - 60_000, ledger.clock.now_ms())


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_mail_that_was_sent_stays_so_whoever_asks(ledger: Ledger, attempt: int) -> None:
    ledger.begin()
    ledger.settle(Status.SENT, provider_id="ses-1")
    before = ledger.row()
    ledger.end_job()
    ledger.clock.advance(60)
    assert ledger.begin(attempt=attempt) is Status.SENT
    assert ledger.row() == before


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("status", [Status.PENDING, Status.REFUSED])
def test_a_mail_that_was_certainly_not_sent_may_begin_anew(ledger: Ledger, status: Status, attempt: int) -> None:
    ledger.begin()
    ledger.settle(status, error="reason")
    ledger.clock.advance(60)
    assert ledger.begin(attempt=attempt) is Status.SENDING
    row = ledger.row()
    assert (row.status, row.claimed_at, row.settled_at, row.error) == ("sending", ledger.clock.now_ms(), None, None)


@pytest.mark.parametrize(
    ("attempt", "ended_after_seconds", "stands"),
    [
        # An operator sees a job that is recorded as dead, and its attempts count from one again.
        (1, 0, Status.SENDING),
        (1, 5, Status.SENDING),
        # Nothing was recorded of the attempt that left the mail unknown: a worker that takes over has no such leave.
        (1, None, Status.UNKNOWN),
        (1, -5, Status.UNKNOWN),
        # It was recorded as failed: it has no dead letter yet.
        (2, 0, Status.UNKNOWN),
        (2, 5, Status.UNKNOWN),
    ],
)
def test_a_mail_that_nobody_can_know_of_begins_anew_only_when_an_operator_says_so(
    ledger: Ledger, attempt: int, ended_after_seconds: int | None, stands: Status
) -> None:
    ledger.begin()
    ledger.settle(Status.UNKNOWN, error="no answer")
    before = ledger.row()
    if ended_after_seconds is not None:
        ledger.end_job(seconds=ended_after_seconds)
    ledger.clock.advance(60)
    assert ledger.begin(attempt=attempt) is stands
    assert ledger.row().status == stands
    assert (ledger.row() == before) == (stands is Status.UNKNOWN)


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (Status.SENT, {"provider_id": "ses-1"}),
        (Status.REFUSED, {"error": "MessageRejected: no"}),
        (Status.UNKNOWN, {"error": "no answer"}),
    ],
)
def test_what_became_of_a_mail_is_kept_with_its_moment(ledger: Ledger, status: Status, values: dict[str, str]) -> None:
    ledger.begin()
    ledger.clock.advance(2)
    ledger.settle(status, **values)
    row = ledger.row()
    kept = {"provider_id": None, "error": None} | values
    assert (row.status, row.settled_at) == (status, ledger.clock.now_ms())
    assert {"provider_id": row.provider_id, "error": row.error} == kept


def test_a_mail_that_is_pending_again_has_no_end(ledger: Ledger) -> None:
    ledger.begin()
    ledger.settle(Status.PENDING)
    assert (ledger.row().status, ledger.row().settled_at) == ("pending", None)


def test_a_reason_longer_than_its_column_is_cut(ledger: Ledger) -> None:
    ledger.begin()
    ledger.settle(Status.REFUSED, error="🐙" * 1000)
    assert ledger.row().error == "🐙" * 500


def test_each_job_has_a_mail_of_its_own(ledger: Ledger, database_url: str) -> None:
    ledger.begin()
    database = Kit(database_url).context().database
    assert emails.begin(database, ledger.clock, job_id="job-2", attempt=1) is Status.SENDING
    emails.settle(database, ledger.clock, job_id="job-2", status=Status.SENT, provider_id="ses-2")
    assert ledger.row().status == "sending"
