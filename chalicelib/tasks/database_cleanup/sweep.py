"""How far a rule has come in a run, as it stands in the run's checkpoint."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select
from sqlalchemy.exc import IntegrityError, OperationalError

from chalicelib.core.clock import to_ms
from chalicelib.core.context import Context
from chalicelib.core.database import DEADLOCK, LOCK_WAIT_TIMEOUT, error_code
from chalicelib.core.errors import OutOfTimeError, PermanentError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.tasks.database_cleanup.chunks import (
    Archive,
    ChangedError,
    Key,
    Step,
    by_primary_key,
    delete_parcel,
    delete_rows,
    delete_stretch,
    next_stretch,
    pack,
    within,
)
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.database_cleanup.throttle import Pace, Pressure
from chalicelib.tasks.database_cleanup.timestamps import Lens, lens_for

# Parts of primary keys that JSON has no value for, and how they are written and read; a datetime is also a date.
_KINDS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "base64": (bytes, lambda part: base64.b64encode(part).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a rule stands: `counts` of rows so far, of the `expected` that its survey found, None before it.

    At most `allowed` rows may go in the run. The rows up to the key `after` are done with. `error` is a sentence.
    """

    expected: int | None = None
    allowed: int = 0
    after: Key | None = None
    counts: Counts = field(default_factory=Counts)
    is_done: bool = False
    error: str | None = None

    def finish(self) -> Progress:
        """Return the progress at the end: who was expected and is missing was gone, changed or in use meanwhile."""
        missing = max(0, (self.expected or 0) - self.counts.total)
        return replace(self, counts=self.counts + Counts(total=missing, skipped=missing), is_done=True)

    def fail(self, error: str) -> Progress:
        """Return the progress of a rule that failed."""
        return replace(self, error=error)

    def reopen(self) -> Progress:
        """Return what the next attempt begins with: a rule that failed goes on, anew where nothing was deleted yet."""
        if self.error is None:
            return self
        return replace(self, error=None) if self.counts.succeeded else Progress()

    def tally(self) -> Counts:
        """Return the counts; of a rule that failed, all that remains counts as failed."""
        missing = max(0, (self.expected or 0) - self.counts.total) if self.error else 0
        return self.counts + Counts(total=missing, failed=missing)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        after = None if self.after is None else [_write_key_part(part) for part in self.after]
        return vars(self) | {"after": after, "counts": self.counts.as_dict()}


def read_progress(saved: Mapping[str, Any]) -> Progress:
    """Return what `as_dict` wrote."""
    after = None if saved["after"] is None else tuple(_read_key_part(part) for part in saved["after"])
    return Progress(**{**saved, "after": after, "counts": Counts(**saved["counts"])})


def _write_key_part(part: Any) -> Any:
    for name, (kind, write, _) in _KINDS.items():
        if isinstance(part, kind):
            return {name: write(part)}
    return part


def _read_key_part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    ((name, text),) = part.items()
    return _KINDS[name][2](text)


# A share says little of a small table: of the three sessions of a new application, all may be old.
SMALL_TABLE = 1000
STRETCH = 5000
# A column of nothing else would write more log than anybody reads.
LISTED = 1000


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Rows of a rule: how many are `due`, how many `unreadable`, and how many may go at most."""

    due: int
    unreadable: int
    table_rows: int
    allowed: int


def survey(context: Context, rule: Rule, lens: Lens) -> Survey:
    """Count, and log the ids of rows whose moment cannot be understood. Raises OutOfTimeError."""
    due, unreadable, keys = _count_in_sql(context, rule, lens) if lens.in_sql else _count_values(context, rule, lens)
    if unreadable:
        ids = ["/".join(map(str, key)) for key in keys]
        logger.error("moments cannot be understood", extra={"unreadable": unreadable, "ids": ids})
    table_rows = context.database.transact(lambda connection: _count(connection, rule.table))
    is_small = table_rows <= SMALL_TABLE
    allowed = rule.max_rows if is_small else min(rule.max_rows, int(rule.max_share * table_rows))
    return Survey(due=due, unreadable=unreadable, table_rows=table_rows, allowed=allowed)


def check(rule: Rule, found: Survey) -> None:
    """Raise PermanentError when more would go than the rule allows."""
    if found.due > found.allowed:
        raise PermanentError(
            f"{found.due} of {found.table_rows} rows would go and the rule allows {found.allowed}, so none is deleted; "
            f'if that is meant, invoke the task with "uncapped": ["{rule.name}"]'
        )


def _count_in_sql(context: Context, rule: Rule, lens: Lens) -> tuple[int, int, list[Key]]:
    def work(connection: Connection) -> tuple[int, int, list[Key]]:
        due = _count(connection, rule.table, rule.where, lens.due)
        unreadable = _count(connection, rule.table, rule.where, lens.unreadable)
        listed = select(*rule.key).where(rule.where, lens.unreadable).order_by(*rule.key).limit(LISTED)
        return due, unreadable, [tuple(row) for row in connection.execute(listed)] if unreadable else []

    return context.database.transact(work)


def _count_values(context: Context, rule: Rule, lens: Lens) -> tuple[int, int, list[Key]]:
    due = unreadable = 0
    keys: list[Key] = []
    for row in _walk(context, rule, lens):
        try:
            due += lens.is_due(row[-1])
        except ValueError:
            unreadable += 1
            if len(keys) < LISTED:
                keys.append(tuple(row[:-1]))
    return due, unreadable, keys


def _walk(context: Context, rule: Rule, lens: Lens) -> Iterator[Row[Any]]:
    after: Key | None = None
    while True:
        if context.is_out_of_time():
            raise OutOfTimeError(f"the survey of {rule.name} has to begin anew")
        after, rows = context.database.transact(partial(_read_stretch, rule=rule, lens=lens, after=after))
        yield from rows
        if after is None:
            return


def _read_stretch(
    connection: Connection, *, rule: Rule, lens: Lens, after: Key | None
) -> tuple[Key | None, Sequence[Row[Any]]]:
    stretch = next_stretch(connection, rule.table, after, rows=STRETCH)
    query = select(*rule.key, lens.value).where(within(rule.table, stretch), rule.where, lens.due)
    return stretch.last, connection.execute(by_primary_key(query, rule.table)).all()


def _count(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(table).where(*conditions)
    return connection.execute(query).scalar_one()


def count_due(context: Context, rule: Rule, *, at: datetime, uncapped: bool) -> Counts:
    """Return the counts of what is due at a moment, as skipped. Raises PermanentError where `delete_due` would."""
    found = survey(context, rule, _lens(context, rule, at))
    if not uncapped:
        check(rule, found)
    return Counts(total=found.due, skipped=found.due) + _unreadable(found)


def delete_due(
    context: Context, rule: Rule, *, at: datetime, start: Progress, archive: Archive | None, uncapped: bool
) -> Iterator[Progress]:
    """Delete what is due at a moment, and yield how far it has come: after the survey, each chunk, and at the end.

    Raises PermanentError when more would go than the rule allows, TransientError when the archive or the database
    does not let it go now, and OutOfTimeError when it would wait beyond the deadline.
    """
    lens, progress = _lens(context, rule, at), start
    if progress.expected is None:
        found = survey(context, rule, lens)
        progress = Progress(expected=found.due + found.unreadable, allowed=found.allowed, counts=_unreadable(found))
        yield progress
        if not uncapped:
            check(rule, found)
    pace = Pace(context, Pressure(context.database), most=rule.chunk)
    is_simple = lens.in_sql and not rule.dependents
    while True:
        pace.give_way()
        rows, after = pace.size, progress.after
        allowed = None if uncapped else progress.allowed - progress.counts.succeeded
        counts = Counts()
        try:
            if archive is not None:
                work = _archived(context, rule, lens, after, rows=rows, allowed=allowed, archive=archive)
            elif is_simple and (allowed is None or allowed >= rows):
                work = partial(delete_stretch, rule=rule, lens=lens, after=after, rows=rows)
            else:
                work = partial(delete_rows, rule=rule, lens=lens, after=after, rows=rows, allowed=allowed)
            began_ms = context.clock.now_ms()
            step = context.database.transact(work)
            pace.keep(context.clock.now_ms() - began_ms)
        except IntegrityError as error:
            # One row that others refer to must not keep its neighbours.
            if not pace.go_singly():
                continue
            step, counts = _pass_over(context, rule, after, error), Counts(total=1, failed=1)
            pace.keep(0)
        except ChangedError as error:
            pace.pause(str(error))
            continue
        except OperationalError as error:
            if error_code(error) not in {DEADLOCK, LOCK_WAIT_TIMEOUT}:
                raise
            pace.pause(str(error.orig))
            continue
        logger.debug("chunk deleted", extra={"rule": rule.name, "rows": rows, "deleted": step.deleted})
        counts += Counts(total=step.deleted, succeeded=step.deleted)
        progress = replace(progress, after=step.last, counts=progress.counts + counts)
        if step.last is None:
            break
        yield progress
    yield progress.finish()


def _archived(
    context: Context, rule: Rule, lens: Lens, after: Key | None, *, rows: int, allowed: int | None, archive: Archive
) -> Callable[[Connection], Step]:
    """Archive what is due among so many rows, and return the transaction that deletes it."""
    packing = partial(pack, rule=rule, lens=lens, after=after, rows=rows, allowed=allowed)
    parcel = context.database.transact(packing)
    if parcel.bundles:
        archive.put(line for bundle in parcel.bundles.values() for line in bundle)
    return partial(delete_parcel, rule=rule, lens=lens, parcel=parcel)


def _lens(context: Context, rule: Rule, at: datetime) -> Lens:
    work = partial(lens_for, column=rule.moment, before_ms=to_ms(at - rule.keep))
    return context.database.transact(work)


def _unreadable(found: Survey) -> Counts:
    return Counts(total=found.unreadable, failed=found.unreadable)


def _pass_over(context: Context, rule: Rule, after: Key | None, error: IntegrityError) -> Step:
    work = partial(next_stretch, table=rule.table, after=after, rows=1)
    key = context.database.transact(work).last
    id_ = "/".join(map(str, key or ()))
    logger.error("row cannot be deleted", extra={"id": id_, "error": str(error.orig)})
    return Step(deleted=0, last=key)
