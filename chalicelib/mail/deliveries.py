"""The delivery ledger: one row for each digest day and user, written before the mail, and its moves.

pending → sending → sent | refused | unknown, pending → refused | withdrawn. Only a mail that SES certainly did
not take moves back from sending to pending. docs/lifecycle.md draws it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Update, and_, case, func, literal, select, update

from chalicelib.application import users
from chalicelib.core.clock import Clock
from chalicelib.core.database import Database, insert_missing
from chalicelib.mail import suppressions
from chalicelib.schema import deliveries

# Longer than any Lambda may live (15 minutes): a mail that is still `sending` then belongs to a dead process.
SENDING_LIMIT_MS = 16 * 60 * 1000

WANTED = and_(users.c.email_digest.is_(True), users.c.is_verified.is_(True))


class Status(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Recipient:
    """A delivery and whom it is for; `email` and `name` are None for who has left, opted out or been suppressed."""

    user_id: str
    status: str
    claimed_at: int | None
    email: str | None
    name: str | None


class Ledger:
    """The deliveries of one digest day. Each method is a transaction of its own."""

    def __init__(self, database: Database, clock: Clock, *, day: str) -> None:
        self._database = database
        self._clock = clock
        self._day = day

    def next_users(self, *, after: str, limit: int) -> list[str]:
        """Return the next ids of verified users who want the digest, in order, beginning behind `after`."""
        query = select(users.c.id).where(WANTED, users.c.id > after).order_by(users.c.id).limit(limit)
        return self._database.autocommit(lambda connection: list(connection.execute(query).scalars()))

    def count_wanted(self) -> int:
        """Return how many verified users want the digest."""
        query = select(func.count()).select_from(users).where(WANTED)
        return self._database.autocommit(lambda connection: connection.execute(query).scalar_one())

    def enlist(self, *, first: str, last: str) -> list[str]:
        """Give each user of the range who wants the digest a delivery; return the ids whose mail is yet to be sent.

        Users whose address is suppressed get none.
        """
        addresses = select(users.c.id, users.c.email).where(WANTED, users.c.id.between(first, last))
        wanted = select(literal(self._day), users.c.id, literal(Status.PENDING.value))
        wanted = wanted.where(WANTED, users.c.id.between(first, last))
        pending = select(deliveries.c.user_id).where(self._within(first, last), deliveries.c.status == Status.PENDING)

        def work(connection: Connection) -> list[str]:
            columns = ["digest_day", "user_id", "status"]
            rows = connection.execute(addresses).all()
            suppressed = suppressions.among(connection, [row.email for row in rows])
            reached = wanted.where(users.c.id.not_in([row.id for row in rows if row.email in suppressed]))
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
            .select_from(deliveries.outerjoin(users, and_(users.c.id == deliveries.c.user_id, WANTED)))
            .where(self._within(first, last))
            .order_by(deliveries.c.user_id)
        )

        def work(connection: Connection) -> list[Recipient]:
            rows = connection.execute(query).all()
            suppressed = suppressions.among(connection, [row.email for row in rows])
            nobody = {"email": None, "name": None}
            return [Recipient(**row._asdict() | (nobody if row.email in suppressed else {})) for row in rows]

        return self._database.transact(work)

    def _within(self, first: str, last: str) -> Any:
        return and_(deliveries.c.digest_day == self._day, deliveries.c.user_id.between(first, last))

    def claim(self, user_ids: Sequence[str]) -> frozenset[str]:
        """Move pending deliveries to sending, and return those that were pending: of several callers, one has each."""
        # By which they are known again where the answer to the statement was lost, and it is repeated.
        mark = uuid4().hex
        moving = self._moving(user_ids, before=Status.PENDING, after=Status.SENDING).values(provider_id=mark)
        is_ours = and_(self._standing(user_ids, Status.SENDING), deliveries.c.provider_id == mark)

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
        """Move those deliveries that still stand where the caller believes, and return how many did.

        `provider_ids` and `errors` are by user id, for all of them or for none.
        """
        statement = self._moving(user_ids, before=before, after=after)
        if provider_ids:
            statement = statement.values(provider_id=_each(provider_ids))
        if errors:
            statement = statement.values(error=_each({user_id: error[:500] for user_id, error in errors.items()}))
        return self._database.autocommit(lambda connection: connection.execute(statement).rowcount)

    def _standing(self, user_ids: Collection[str], status: Status) -> Any:
        wanted = deliveries.c.user_id.in_(user_ids)
        return and_(deliveries.c.digest_day == self._day, wanted, deliveries.c.status == status)

    def _moving(self, user_ids: Collection[str], *, before: Status, after: Status) -> Update:
        now_ms = self._clock.now_ms()
        is_open = after in {Status.PENDING, Status.SENDING}
        return (
            update(deliveries)
            .where(self._standing(user_ids, before))
            .values(
                status=after.value,
                claimed_at=now_ms if after is Status.SENDING else deliveries.c.claimed_at,
                settled_at=None if is_open else now_ms,
                provider_id=None,
                error=None,
            )
        )

    def is_abandoned(self, delivery: Recipient) -> bool:
        """Return whether this mail is being sent by a process that must have ended since."""
        return delivery.status == Status.SENDING and not self.is_in_work(delivery)

    def is_in_work(self, delivery: Recipient) -> bool:
        """Return whether another process may be sending this mail now."""
        oldest_ms = self._clock.now_ms() - SENDING_LIMIT_MS
        return delivery.status == Status.SENDING and (delivery.claimed_at or 0) >= oldest_ms

    def summary(self) -> dict[str, int]:
        """Return the number of the day's deliveries by status."""
        query = select(deliveries.c.status, func.count().label("total")).where(deliveries.c.digest_day == self._day)
        query = query.group_by(deliveries.c.status)
        rows = self._database.autocommit(lambda connection: connection.execute(query).all())
        return {row.status: row.total for row in rows}


def _each(texts: Mapping[str, str]) -> Any:
    return case(dict(texts), value=deliveries.c.user_id)
