"""A rule: which rows are too old to keep, what goes with them, and how much may go at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, and_, true

from chalicelib.application import users
from chalicelib.core.errors import ConfigurationError
from chalicelib.schema import (
    deliveries,
    email_verification_tokens,
    emails,
    password_reset_tokens,
    quarantine,
    runs,
    sessions,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """Rows of the column's table whose `moment` lies more than `keep` before the fire, and for which `where` holds.

    `dependents` are columns of other tables, each with the column whose value it holds: their rows go first, in the
    same transaction. With `archive`, what goes is written to the bucket before. At most `chunk` rows are looked at in
    one transaction. When more than `max_rows` would go in one run, or more than `max_share` (0 to 1) of a table that
    is not small, nothing goes. Raises ConfigurationError.
    """

    name: str
    moment: Column[Any]
    keep: timedelta = timedelta(0)
    where: ColumnElement[bool] = field(default_factory=true)
    dependents: Mapping[Column[Any], Column[Any]] = field(default_factory=dict)
    archive: bool = False
    chunk: int = 5000
    max_rows: int = 1_000_000
    max_share: float = 0.5

    def __post_init__(self) -> None:
        if self.keep < timedelta(0) or self.chunk < 1 or self.max_rows < 0 or not 0 <= self.max_share <= 1:
            raise ConfigurationError(f"the rule {self.name} asks for what cannot be")

    @property
    def table(self) -> Table:
        """The table that it cleans."""
        return self.moment.table

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The primary key of the table."""
        return tuple(self.table.primary_key)


YEAR = timedelta(days=365)

RULES: tuple[Rule, ...] = (
    Rule(name="sessions", moment=sessions.c.updated_at, keep=timedelta(days=30)),
    # Of tokens nearly all have expired, on any day.
    Rule(name="password_reset_tokens", moment=password_reset_tokens.c.expires_at, max_share=1),
    Rule(name="email_verification_tokens", moment=email_verification_tokens.c.expires_at, max_share=1),
    Rule(
        name="unverified_users",
        moment=users.c.created_at,
        keep=timedelta(days=7),
        where=and_(users.c.is_verified.is_(False), users.c.is_admin.is_(False)),
        dependents={
            sessions.c.user_id: users.c.id,
            email_verification_tokens.c.user_id: users.c.id,
            password_reset_tokens.c.email: users.c.email,
        },
    ),
    Rule(name="runs", moment=runs.c.started_at, keep=YEAR),
    Rule(name="deliveries", moment=deliveries.c.settled_at, keep=YEAR),
    Rule(name="emails", moment=emails.c.settled_at, keep=YEAR),
    Rule(name="quarantine", moment=quarantine.c.seen_at, keep=timedelta(days=90)),
)
