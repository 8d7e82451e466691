"""What was found: the rows of a stretch that are due."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from chalicelib.cleanup.moment import Lens
from chalicelib.cleanup.rule import Rule
from chalicelib.cleanup.stretch import Key, Stretch, by_primary_key, within
from chalicelib.errors import PermanentError

# MariaDB makes a table of a longer list, and then may read all of the other one.
MOST = 900


@dataclass(frozen=True, kw_only=True)
class Found:
    """The rows that are due in a stretch, by key, each with the values that its dependents hold."""

    stretch: Stretch
    rows: Mapping[Key, tuple[Any, ...]]


def find(connection: Connection, rule: Rule, lens: Lens, stretch: Stretch, *, allowed: int | None, lock: bool) -> Found:
    """Return what is due in a stretch, or in as much of it as one statement should name.

    With `lock`, rows that somebody else has locked are left out. Raises PermanentError for more rows than `allowed`.
    """
    query = select(*rule.key, lens.value, *rule.dependents.values())
    query = query.where(within(rule.table, stretch), rule.where, lens.due).order_by(*rule.key).limit(MOST)
    # Whoever holds a row is at work on it, and shall not be waited for while we hold others.
    query = query.with_for_update(skip_locked=True) if lock else query
    rows = connection.execute(by_primary_key(query, rule.table)).all()
    width = len(rule.key)
    due = {tuple(row[:width]): tuple(row[width + 1 :]) for row in rows if _is_due(lens, row[width])}
    if allowed is not None and len(due) > allowed:
        raise PermanentError(f"more rows are due now than when they were counted; {allowed} more would be allowed")
    last = tuple(rows[-1][:width]) if len(rows) == MOST else stretch.last
    return Found(stretch=replace(stretch, last=last), rows=due)


def _is_due(lens: Lens, value: object) -> bool:
    try:
        return lens.is_due(value)
    except ValueError:
        return False
