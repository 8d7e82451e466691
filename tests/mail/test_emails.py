"""The ledger of jobs' mails: which may be sent, and what is recorded of each."""

from typing import Any

import pytest
from sqlalchemy import insert, select, update

from chalicelib.core.database import Database
from chalicelib.mail.ledger import Status, claim_email, move_email
from chalicelib.schema import emails, jobs
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import NOON, Kit
from tests.mail.lost_commit import lose_one_answer

JOB = "job-1"


class Email:
    """The mail of one job, on a frozen clock."""

    def __init__(self, database: Database) -> None:
        self.clock = FrozenClock(NOON)
        self._database = database

    def claim(self, *, attempt: int = 1) -> Status:
        return claim_email(self._database, self.clock, job_id=JOB, attempt=attempt)

    def move(self, after: Status, **values: str) -> None:
        move_email(self._database, self.clock, job_id=JOB, after=after, **values)

    def end_job(self, *, seconds: int = 0) -> None:
        """Record that the job ended, so many seconds from now."""
        ended_at = self.clock.now_ms() + 1000 * seconds
        self._execute(update(jobs).where(jobs.c.id == JOB).values(ended_at=ended_at))

    def row(self) -> Any:
        return self._database.transact(
            lambda connection: connection.execute(select(emails).where(emails.c.job_id == JOB)).one()
        )

    def add_job(self) -> None:
        self._execute(insert(jobs).values(id=JOB, type="send_email", data="{}", created_at=0))

    def _execute(self, statement: Any) -> None:
        self._database.transact(lambda connection: connection.execute(statement))


@pytest.fixture
def email(database_url: str) -> Email:
    email = Email(Kit(database_url).context().database)
    email.add_job()
    return email


def test_email_claim_survives_lost_answer(email: Email, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_one_answer(Kit(database_url).context().database.engine, monkeypatch)
    assert email.claim() is Status.SENDING
    assert email.claim() is Status.UNKNOWN


def test_first_claim_moves_mail_to_sending(email: Email) -> None:
    assert email.claim() is Status.SENDING
    row = email.row()
    assert (row.status, row.claimed_at, row.settled_at) == ("sending", email.clock.now_ms(), None)


def test_next_attempt_makes_sending_mail_unknown(email: Email) -> None:
    email.claim()
    email.clock.advance(60)
    assert email.claim(attempt=2) is Status.UNKNOWN
    row = email.row()
    assert (row.status, row.error) == ("unknown", "the process ended before SES's answer was recorded")
    assert (row.claimed_at, row.settled_at) == (email.clock.now_ms() - 60_000, email.clock.now_ms())


@pytest.mark.parametrize("attempt", [1, 2])
def test_sent_mail_stays_sent(email: Email, attempt: int) -> None:
    email.claim()
    email.move(Status.SENT, provider_id="ses-1")
    before = email.row()
    email.end_job()
    email.clock.advance(60)
    assert email.claim(attempt=attempt) is Status.SENT
    assert email.row() == before


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("status", [Status.PENDING, Status.REFUSED])
def test_unsent_mail_can_be_claimed_again(email: Email, status: Status, attempt: int) -> None:
    email.claim()
    email.move(status, error="reason")
    email.clock.advance(60)
    assert email.claim(attempt=attempt) is Status.SENDING
    row = email.row()
    assert (row.status, row.claimed_at, row.settled_at, row.error) == ("sending", email.clock.now_ms(), None, None)


@pytest.mark.parametrize(
    ("attempt", "ended_after_seconds", "expected"),
    [
        # The job was recorded as dead, and an operator's retry counts attempts from one again.
        (1, 0, Status.SENDING),
        (1, 5, Status.SENDING),
        # The attempt that left the mail unknown was not recorded, so this is a redelivery and no operator's retry.
        (1, None, Status.UNKNOWN),
        (1, -5, Status.UNKNOWN),
        # The job was recorded as failed and is not dead yet.
        (2, 0, Status.UNKNOWN),
        (2, 5, Status.UNKNOWN),
    ],
)
def test_unknown_mail_is_claimed_only_after_operator_retry(
    email: Email, attempt: int, ended_after_seconds: int | None, expected: Status
) -> None:
    email.claim()
    email.move(Status.UNKNOWN, error="no answer")
    before = email.row()
    if ended_after_seconds is not None:
        email.end_job(seconds=ended_after_seconds)
    email.clock.advance(60)
    assert email.claim(attempt=attempt) is expected
    assert email.row().status == expected
    assert (email.row() == before) == (expected is Status.UNKNOWN)


@pytest.mark.parametrize(
    ("status", "values"),
    [
        (Status.SENT, {"provider_id": "ses-1"}),
        (Status.REFUSED, {"error": "MessageRejected: no"}),
        (Status.UNKNOWN, {"error": "no answer"}),
    ],
)
def test_result_is_recorded_with_its_time(email: Email, status: Status, values: dict[str, str]) -> None:
    email.claim()
    email.clock.advance(2)
    email.move(status, **values)
    row = email.row()
    kept = {"provider_id": None, "error": None} | values
    assert (row.status, row.settled_at) == (status, email.clock.now_ms())
    assert {"provider_id": row.provider_id, "error": row.error} == kept


def test_mail_moved_back_to_pending_has_no_end(email: Email) -> None:
    email.claim()
    email.move(Status.PENDING)
    assert (email.row().status, email.row().settled_at) == ("pending", None)


def test_long_error_is_cut_to_column(email: Email) -> None:
    email.claim()
    email.move(Status.REFUSED, error="🐙" * 1000)
    assert email.row().error == "🐙" * 500


def test_each_job_has_its_own_mail(email: Email, database_url: str) -> None:
    email.claim()
    database = Kit(database_url).context().database
    assert claim_email(database, email.clock, job_id="job-2", attempt=1) is Status.SENDING
    move_email(database, email.clock, job_id="job-2", after=Status.SENT, provider_id="ses-2")
    assert email.row().status == "sending"
