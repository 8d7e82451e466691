"""The ledger of mails: one row a mail, written before it is sent, so that no retry sends it again.

`deliveries` has a row for each day's digest and user, `emails` one for each job.
pending → sending → sent | refused | unknown, pending → refused | withdrawn. Only a mail that SES certainly did not
accept moves back from sending to pending. docs/lifecycle.md draws the moves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Update, and_, case, func, insert, literal, select, update

from chalicelib.application import users
from chalicelib.core.clock import Clock
from chalicelib.core.database import Database, insert_missing
from chalicelib.core.telemetry import logger
from chalicelib.mail import suppressions
from chalicelib.schema import deliveries, emails, jobs

# Longer than any Lambda may live (15 minutes): a delivery that is still `sending` then belongs to a dead process.
SENDING_LIMIT_MS = 16 * 60 * 1000
MAX_ERROR = 500
ABANDONED = "the process ended before SES's answer was recorded"

WANTS_DIGEST = and_(users.c.email_digest.is_(True), users.c.is_verified.is_(True))


class Status(StrEnum):
    """The status of a mail."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"

    @property
    def is_settled(self) -> bool:
        """Whether this status ends the mail."""
        return self not in {Status.PENDING, Status.SENDING}


# What is logged about a delivery that ended with an error.
MESSAGES = {Status.REFUSED: "digest refused", Status.UNKNOWN: "digest may or may not have been sent"}


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """A delivery and its user; `email` and `name` are None if the user has left, opted out or been suppressed."""

    user_id: str
    status: str
    claimed_at: int | None
    email: str | None
    name: str | None


class Deliveries:
    """The deliveries of one day's digest. Each method is a transaction of its own."""

    def __init__(self, database: Database, clock: Clock, *, day: str) -> None:
        self._database = database
        self._clock = clock
        self._day = day

    def next_users(self, *, after: str, limit: int) -> list[str]:
        """Return the next ids, greater than `after` if that is not empty, of verified users who want the digest."""
        query = select(users.c.id).where(WANTS_DIGEST).order_by(users.c.id).limit(limit)
        if after:
            query = query.where(users.c.id > after)
        return self._database.autocommit(lambda connection: list(connection.execute(query).scalars()))

    def count_users(self) -> int:
        """Return how many verified users want the digest."""
        query = select(func.count()).select_from(users).where(WANTS_DIGEST)
        return self._database.autocommit(lambda connection: connection.execute(query).scalar_one())

    def create(self, *, first: str, last: str) -> list[str]:
        """Create missing deliveries for the users of the range who want the digest; return the ids that are pending.

        Users whose address is suppressed get none.
        """
        addresses = select(users.c.id, users.c.email).where(WANTS_DIGEST, users.c.id.between(first, last))
        new = select(literal(self._day), users.c.id, literal(Status.PENDING.value))
        new = new.where(WANTS_DIGEST, users.c.id.between(first, last))
        pending = select(deliveries.c.user_id).where(self._within(first, last), deliveries.c.status == Status.PENDING)

        def work(connection: Connection) -> list[str]:
            columns = ["digest_day", "user_id", "status"]
            rows = connection.execute(addresses).all()
            suppressed = suppressions.among(connection, [row.email for row in rows])
            reached = new.where(users.c.id.not_in([row.id for row in rows if row.email in suppressed]))
            connection.execute(insert_missing(deliveries, connection.dialect).from_select(columns, reached))
            return list(connection.execute(pending.order_by(deliveries.c.user_id)).scalars())

        return self._database.transact(work)

    def recipients(self, *, first: str, last: str) -> list[Recipient]:
        """Return the recipients of the range's deliveries, in order."""
        query = (
            select(
                deliveries.c.user_id,
                deliveries.c.status,
                deliveries.c.claimed_at,
                users.c.email.label("email"),
                users.c.name.label("name"),
            )
            .select_from(deliveries.outerjoin(users, and_(users.c.id == deliveries.c.user_id, WANTS_DIGEST)))
            .where(self._within(first, last))
            .order_by(deliveries.c.user_id)
        )

        def work(connection: Connection) -> list[Recipient]:
            rows = connection.execute(query).all()
            suppressed = suppressions.among(connection, [row.email for row in rows])
            no_user = {"email": None, "name": None}
            return [Recipient(**row._asdict() | (no_user if row.email in suppressed else {})) for row in rows]

        return self._database.transact(work)

    def _within(self, first: str, last: str) -> Any:
        return and_(deliveries.c.digest_day == self._day, deliveries.c.user_id.between(first, last))

    def claim(self, user_ids: Sequence[str]) -> frozenset[str]:
        """Move pending deliveries to sending, and return those that this call moved; each is moved by one caller."""
        # Identifies our rows if the answer to the statement is lost and it is repeated.
        mark = uuid4().hex
        moving = self._moving(user_ids, before=Status.PENDING, after=Status.SENDING).values(provider_id=mark)
        is_ours = and_(self._with_status(user_ids, Status.SENDING), deliveries.c.provider_id == mark)

        def work(connection: Connection) -> frozenset[str]:
            if connection.execute(moving).rowcount == len(user_ids):
                return frozenset(user_ids)
            return frozenset(connection.execute(select(deliveries.c.user_id).where(is_ours)).scalars())

        return self._database.autocommit(work)

    def move(
        self,
        user_ids: Collection[str],
        *,
        before: Status,
        after: Status,
        provider_ids: Mapping[str, str] | None = None,
        errors: Mapping[str, str] | None = None,
    ) -> int:
        """Move the deliveries that still have the status `before`, and return how many did.

        `provider_ids` and `errors` are by user id, for all of them or for none; errors are logged.
        """
        if not user_ids:
            return 0
        statement = self._moving(user_ids, before=before, after=after)
        if provider_ids:
            statement = statement.values(provider_id=_by_user(provider_ids))
        if errors:
            cut = {user_id: error[:MAX_ERROR] for user_id, error in errors.items()}
            statement = statement.values(error=_by_user(cut))
        moved = self._database.autocommit(lambda connection: connection.execute(statement).rowcount)
        for user_id, reason in (errors or {}).items():
            logger.warning(MESSAGES[after], extra={"user_id": user_id, "reason": reason})
        return moved

    def _with_status(self, user_ids: Collection[str], status: Status) -> Any:
        return and_(
            deliveries.c.digest_day == self._day, deliveries.c.user_id.in_(user_ids), deliveries.c.status == status
        )

    def _moving(self, user_ids: Collection[str], *, before: Status, after: Status) -> Update:
        values = _values(after, now_ms=self._clock.now_ms())
        return update(deliveries).where(self._with_status(user_ids, before)).values(**values)

    def is_abandoned(self, delivery: Recipient) -> bool:
        """Return whether the process that was sending this mail must have ended."""
        return delivery.status == Status.SENDING and not self.is_in_progress(delivery)

    def is_in_progress(self, delivery: Recipient) -> bool:
        """Return whether another process may be sending this mail now."""
        oldest_ms = self._clock.now_ms() - SENDING_LIMIT_MS
        return delivery.status == Status.SENDING and (delivery.claimed_at or 0) >= oldest_ms

    def count_by_status(self) -> dict[str, int]:
        """Return the number of the day's deliveries by status."""
        query = select(deliveries.c.status, func.count().label("total")).where(deliveries.c.digest_day == self._day)
        query = query.group_by(deliveries.c.status)
        rows = self._database.autocommit(lambda connection: connection.execute(query).all())
        return {row.status: row.total for row in rows}


def claim_email(database: Database, clock: Clock, *, job_id: str, attempt: int) -> Status:
    """Move a job's mail to sending if it may be sent, and return its status.

    A mail that was sent stays sent. One that is sending becomes unknown: a job has one attempt at a time, so the
    attempt that was sending it has ended. An unknown one is sent again only by the first attempt after an operator has
    retried the dead job.
    """
    of_job = emails.c.job_id == job_id
    job_ended_at = select(jobs.c.ended_at).where(jobs.c.id == job_id).scalar_subquery().label("job_ended_at")
    find = select(emails.c.status, emails.c.settled_at, emails.c.provider_id, job_ended_at).where(of_job)
    # Identifies our row if the answer to the commit is lost and the transaction is repeated.
    mark = uuid4().hex

    def work(connection: Connection) -> Status:
        now_ms = clock.now_ms()
        claimed = _values(Status.SENDING, now_ms=now_ms, provider_id=mark)
        row = connection.execute(find.with_for_update()).one_or_none()
        if row is None:
            connection.execute(insert(emails).values(job_id=job_id, **claimed))
            return Status.SENDING
        if row.status == Status.SENDING and row.provider_id == mark:
            return Status.SENDING
        if row.status == Status.SENDING:
            unknown = _values(Status.UNKNOWN, now_ms=now_ms, error=ABANDONED)
            connection.execute(update(emails).where(of_job).values(**unknown))
            return Status.UNKNOWN
        if row.status == Status.SENT or (row.status == Status.UNKNOWN and not _is_retried_by_operator(row, attempt)):
            return Status(row.status)
        connection.execute(update(emails).where(of_job).values(**claimed))
        return Status.SENDING

    return database.transact(work)


def _is_retried_by_operator(row: Any, attempt: int) -> bool:
    # Attempts count from one again after an operator's retry. The attempt that left the mail unknown may have ended
    # unrecorded, though, or without a dead letter: so the job's end must have been recorded after the mail's.
    return attempt == 1 and row.job_ended_at is not None and row.job_ended_at >= row.settled_at


def move_email(database: Database, clock: Clock, *, job_id: str, after: Status, **values: str) -> None:
    """Move the mail that is being sent; `values` are its provider_id or its error."""
    moved = _values(after, now_ms=clock.now_ms(), **values)
    statement = update(emails).where(emails.c.job_id == job_id).values(**moved)
    database.autocommit(lambda connection: connection.execute(statement))


def _values(after: Status, *, now_ms: int, provider_id: str | None = None, error: str | None = None) -> dict[str, Any]:
    """Return the columns of a mail that moves to the status `after`; `claimed_at` stays unless it is now claimed."""
    return {
        "status": after.value,
        **({"claimed_at": now_ms} if after is Status.SENDING else {}),
        "settled_at": now_ms if after.is_settled else None,
        "provider_id": provider_id,
        "error": error and error[:MAX_ERROR],
    }


def _by_user(texts: Mapping[str, str]) -> Any:
    id_type = deliveries.c.user_id.type
    return case({literal(user_id, id_type): text for user_id, text in texts.items()}, value=deliveries.c.user_id)
