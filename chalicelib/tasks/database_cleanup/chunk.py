"""A chunk: the rows that go in one transaction."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection, and_, delete

from chalicelib.core.errors import TransientError
from chalicelib.tasks.database_cleanup.moment import Lens
from chalicelib.tasks.database_cleanup.parcel import Bundles, Found, Parcel, find, gather
from chalicelib.tasks.database_cleanup.rule import Rule
from chalicelib.tasks.database_cleanup.stretch import Key, among, next_stretch, within


class ChangedError(TransientError):
    """What was to go changed under our hands, and nothing of it went."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of a chunk: `deleted` rows went; those up to the key `last` are done with, None being all."""

    deleted: int
    last: Key | None


def delete_stretch(connection: Connection, rule: Rule, lens: Lens, after: Key | None, *, rows: int) -> Step:
    """Delete what is due among so many rows behind a key by one statement; the rule has nothing that goes with them."""
    stretch = next_stretch(connection, rule.table, after, rows=rows)
    due = and_(within(rule.table, stretch), rule.where, lens.due)
    return Step(deleted=connection.execute(delete(rule.table).where(due)).rowcount, last=stretch.last)


def delete_rows(
    connection: Connection, rule: Rule, lens: Lens, after: Key | None, *, rows: int, allowed: int | None
) -> Step:
    """Delete what is due among so many rows behind a key, with all that hangs on it.

    Rows that somebody else has locked are left for another day. Raises ChangedError, and PermanentError when more than
    `allowed` are due.
    """
    stretch = next_stretch(connection, rule.table, after, rows=rows)
    return _delete(connection, rule, lens, find(connection, rule, lens, stretch, allowed=allowed, lock=True))


def delete_parcel(connection: Connection, rule: Rule, lens: Lens, parcel: Parcel) -> Step:
    """Delete of a parcel what is still due and as it was packed, and nothing else. Raises ChangedError."""
    found = find(connection, rule, lens, parcel.stretch, allowed=None, lock=True)
    now = gather(connection, rule, found.rows)
    unchanged = {key: values for key, values in found.rows.items() if now[key] == parcel.bundles.get(key)}
    return _delete(connection, rule, lens, replace(found, rows=unchanged), packed=now)


def _delete(connection: Connection, rule: Rule, lens: Lens, found: Found, *, packed: Bundles | None = None) -> Step:
    gone = 0
    for position, theirs in enumerate(rule.dependents):
        if values := {values[position] for values in found.rows.values()} - {None}:
            gone += connection.execute(delete(theirs.table).where(theirs.in_(values))).rowcount
    if packed is not None and gone != sum(len(packed[key]) - 1 for key in found.rows):
        raise ChangedError("rows came in that hang on others which are about to go")
    if found.rows:
        # Once more what makes them due: they are locked, but not by every storage engine.
        due = and_(among(rule.table, found.rows), rule.where, lens.due)
        if connection.execute(delete(rule.table).where(due)).rowcount != len(found.rows):
            raise ChangedError("rows are not due any more")
    return Step(deleted=len(found.rows), last=found.stretch.last)
