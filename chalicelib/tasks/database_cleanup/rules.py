"""The rules of the database cleanup. Add yours to RULES; docs/database_cleanup.md shows how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, and_, true

from chalicelib.application import expiring, unverified_users, users
from chalicelib.core.errors import ConfigurationError
from chalicelib.schema import deliveries, emails, quarantine, runs


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """Delete rows whose `timestamp` lies more than `keep` before the fire, and for which `where` holds.

    `dependents` maps columns of other tables to the column that they refer to: their rows are deleted first, in the
    same transaction. `archive` writes rows to the bucket before they are deleted. A transaction reads at most `chunk`
    rows. When a run would delete more than `max_rows`, or more than `max_share` (0 to 1) of a table that is not small,
    it deletes nothing. Raises ConfigurationError.
    """

    name: str
    timestamp: Column[Any]
    keep: timedelta = timedelta(0)
    where: ColumnElement[bool] = field(default_factory=true)
    dependents: Mapping[Column[Any], Column[Any]] = field(default_factory=dict)
    archive: bool = False
    chunk: int = 5000
    max_rows: int = 1_000_000
    max_share: float = 0.5

    def __post_init__(self) -> None:
        if self.keep < timedelta(0) or self.chunk < 1 or self.max_rows < 0 or not 0 <= self.max_share <= 1:
            raise ConfigurationError(
                f"the rule {self.name} needs keep and max_rows of 0 or more, chunk of 1 or more, max_share of 0 to 1"
            )

    @property
    def table(self) -> Table:
        """The table to clean."""
        return self.timestamp.table

    @property
    def key(self) -> tuple[Column[Any], ...]:
        """The primary key of the table."""
        return tuple(self.table.primary_key)


DAY, YEAR = timedelta(days=1), timedelta(days=365)


def _unverified_users() -> tuple[Rule, ...]:
    if unverified_users is None:
        return ()
    return (
        Rule(
            name="unverified_users",
            timestamp=users.c.created_at,
            keep=timedelta(days=7),
            where=and_(users.c.is_verified.is_(False), users.c.is_admin.is_(False)),
            dependents=unverified_users,
        ),
    )


RULES: tuple[Rule, ...] = (
    *(
        # On any day nearly all tokens have expired.
        Rule(name=timestamp.table.name, timestamp=timestamp, keep=keep, max_share=0.5 if keep >= DAY else 1)
        for timestamp, keep in expiring.items()
    ),
    *_unverified_users(),
    Rule(name="runs", timestamp=runs.c.started_at, keep=YEAR),
    Rule(name="deliveries", timestamp=deliveries.c.settled_at, keep=YEAR),
    Rule(name="emails", timestamp=emails.c.settled_at, keep=YEAR),
    Rule(name="quarantine", timestamp=quarantine.c.seen_at, keep=timedelta(days=90)),
)
