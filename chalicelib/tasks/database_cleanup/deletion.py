"""Run one rule: count its due rows, check its limits, and delete chunk by chunk."""

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

from chalicelib.api import Context, Counts, OutOfTimeError, PermanentError, logger
from chalicelib.core.clock import to_ms
from chalicelib.core.database import DEADLOCK, LOCK_WAIT_TIMEOUT, error_code
from chalicelib.tasks.database_cleanup.chunks import (
    Archive,
    Deleted,
    Key,
    RowsChangedError,
    by_primary_key,
    delete_archived,
    delete_range,
    delete_with_dependents,
    in_range,
    next_range,
    read_archivable,
)
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.database_cleanup.throttle import ServerLoad, Throttle
from chalicelib.tasks.database_cleanup.timestamps import Cutoff, cutoff_for

# The share of a small table says little: all three sessions of a new application may be old.
SMALL_TABLE = 1000
COUNT_CHUNK = 5000
# Limits the log line of a column full of invalid timestamps.
MAX_LOGGED_IDS = 1000

# Types in primary keys that JSON lacks, and how to write and read them. A datetime is a date too, so it comes first.
_JSON_TYPES: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "base64": (bytes, lambda part: base64.b64encode(part).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A rule's progress in the run's checkpoint.

    `expected` rows were due or invalid when counted, None before the count. `counts` are rows so far, and at most
    `allowed` may be deleted in the run. The table is processed up to the key `after`. `error` is the error message.
    """

    expected: int | None = None
    allowed: int = 0
    after: Key | None = None
    counts: Counts = field(default_factory=Counts)
    is_done: bool = False
    error: str | None = None

    def finish(self) -> Progress:
        """Return the final progress: rows that were expected and not met count as skipped."""
        missing = max(0, (self.expected or 0) - self.counts.total)
        return replace(self, counts=self.counts + Counts(total=missing, skipped=missing), is_done=True)

    def reopen(self) -> Progress:
        """Return where the next attempt continues: a failed rule that deleted nothing starts over."""
        if self.error is None:
            return self
        return replace(self, error=None) if self.counts.succeeded else Progress()

    def final_counts(self) -> Counts:
        """Return the counts; the remaining rows of a failed rule count as failed."""
        missing = max(0, (self.expected or 0) - self.counts.total) if self.error else 0
        return self.counts + Counts(total=missing, failed=missing)

    def as_dict(self) -> dict[str, Any]:
        """Return the progress as JSON values."""
        after = None if self.after is None else [_to_json(part) for part in self.after]
        return vars(self) | {"after": after, "counts": self.counts.as_dict()}


def read_progress(saved: Mapping[str, Any]) -> Progress:
    """Return the progress that `as_dict` wrote."""
    after = None if saved["after"] is None else tuple(_from_json(part) for part in saved["after"])
    return Progress(**{**saved, "after": after, "counts": Counts(**saved["counts"])})


def _to_json(part: Any) -> Any:
    for name, (type_, write, _) in _JSON_TYPES.items():
        if isinstance(part, type_):
            return {name: write(part)}
    return part


def _from_json(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    ((name, text),) = part.items()
    return _JSON_TYPES[name][2](text)


@dataclass(frozen=True, kw_only=True)
class _RowCounts:
    due: int
    invalid: int
    table_rows: int
    # How many may be deleted.
    allowed: int


def count_due(context: Context, rule: Rule, *, at: datetime, uncapped: bool) -> Counts:
    """Count the rows that are due at a moment, as skipped. Raises PermanentError where `delete_due` would."""
    found = _count_rows(context, rule, _cutoff(context, rule, at))
    if not uncapped:
        _check_limits(rule, found)
    return Counts(total=found.due + found.invalid, skipped=found.due, failed=found.invalid)


def delete_due(
    context: Context, rule: Rule, *, at: datetime, start: Progress, archive: Archive | None, uncapped: bool
) -> Iterator[Progress]:
    """Delete the rows that are due at a moment; yield the progress after the count, after each chunk, and at the end.

    Raises PermanentError when more rows are due than the rule allows, TransientError when the archive or the database
    refuses for now, and OutOfTimeError when a pause would exceed the deadline.
    """
    cutoff, progress = _cutoff(context, rule, at), start
    if progress.expected is None:
        found = _count_rows(context, rule, cutoff)
        invalid = Counts(total=found.invalid, failed=found.invalid)
        progress = Progress(expected=found.due + found.invalid, allowed=found.allowed, counts=invalid)
        yield progress
        if not uncapped:
            _check_limits(rule, found)
    throttle = Throttle(context, ServerLoad(context.database), max_rows=rule.chunk)
    is_simple = cutoff.in_sql and not rule.dependents
    while True:
        throttle.wait()
        rows, after = throttle.rows, progress.after
        allowed = None if uncapped else progress.allowed - progress.counts.succeeded
        counts = Counts()
        try:
            if archive is not None:
                work = _archive_chunk(context, rule, cutoff, after, rows=rows, allowed=allowed, archive=archive)
            elif is_simple and (allowed is None or allowed >= rows):
                work = partial(delete_range, rule=rule, cutoff=cutoff, after=after, rows=rows)
            else:
                work = partial(
                    delete_with_dependents, rule=rule, cutoff=cutoff, after=after, rows=rows, allowed=allowed
                )
            began_ms = context.clock.now_ms()
            deleted = context.database.transact(work)
            throttle.adapt(context.clock.now_ms() - began_ms)
        except IntegrityError as error:
            # Isolate the row that other rows refer to, so that only this one is kept.
            if not throttle.shrink_batch():
                continue
            deleted, counts = _skip_row(context, rule, after, error), Counts(total=1, failed=1)
            throttle.adapt(0)
        except RowsChangedError as error:
            throttle.pause(str(error))
            continue
        except OperationalError as error:
            if error_code(error) not in {DEADLOCK, LOCK_WAIT_TIMEOUT}:
                raise
            throttle.pause(str(error.orig))
            continue
        logger.debug("chunk deleted", extra={"rule": rule.name, "rows": rows, "deleted": deleted.rows})
        counts += Counts(total=deleted.rows, succeeded=deleted.rows)
        progress = replace(progress, after=deleted.last, counts=progress.counts + counts)
        if deleted.last is None:
            break
        yield progress
    yield progress.finish()


def _archive_chunk(
    context: Context, rule: Rule, cutoff: Cutoff, after: Key | None, *, rows: int, allowed: int | None, archive: Archive
) -> Callable[[Connection], Deleted]:
    """Archive the next chunk's due rows, and return the transaction that deletes them."""
    reading = partial(read_archivable, rule=rule, cutoff=cutoff, after=after, rows=rows, allowed=allowed)
    keys, archivable = context.database.transact(reading)
    if archivable:
        archive.put(row for rows_of_key in archivable.values() for row in rows_of_key)
    return partial(delete_archived, rule=rule, cutoff=cutoff, keys=keys, archived=archivable)


def _skip_row(context: Context, rule: Rule, after: Key | None, error: IntegrityError) -> Deleted:
    key = context.database.transact(partial(next_range, table=rule.table, after=after, rows=1)).last
    logger.error("row cannot be deleted", extra={"id": "/".join(map(str, key or ())), "error": str(error.orig)})
    return Deleted(rows=0, last=key)


def _cutoff(context: Context, rule: Rule, at: datetime) -> Cutoff:
    return context.database.transact(partial(cutoff_for, column=rule.timestamp, before_ms=to_ms(at - rule.keep)))


def _check_limits(rule: Rule, found: _RowCounts) -> None:
    if found.due > found.allowed:
        raise PermanentError(
            f"{found.due} of {found.table_rows} rows are due and the rule allows {found.allowed}, so none is deleted; "
            f'if that is intended, invoke the task with "uncapped": ["{rule.name}"]'
        )


def _count_rows(context: Context, rule: Rule, cutoff: Cutoff) -> _RowCounts:
    """Count a rule's rows, and log the ids of those with an invalid timestamp. Raises OutOfTimeError."""
    due, invalid, keys = (_count_in_sql if cutoff.in_sql else _count_values)(context, rule, cutoff)
    if invalid:
        ids = ["/".join(map(str, key)) for key in keys]
        logger.error("timestamps are invalid", extra={"invalid": invalid, "ids": ids})
    table_rows = context.database.transact(lambda connection: _count(connection, rule.table))
    is_small = table_rows <= SMALL_TABLE
    allowed = rule.max_rows if is_small else min(rule.max_rows, int(rule.max_share * table_rows))
    return _RowCounts(due=due, invalid=invalid, table_rows=table_rows, allowed=allowed)


def _count_in_sql(context: Context, rule: Rule, cutoff: Cutoff) -> tuple[int, int, list[Key]]:
    def work(connection: Connection) -> tuple[int, int, list[Key]]:
        due = _count(connection, rule.table, rule.where, cutoff.due)
        invalid = _count(connection, rule.table, rule.where, cutoff.invalid)
        logged = select(*rule.key).where(rule.where, cutoff.invalid).order_by(*rule.key).limit(MAX_LOGGED_IDS)
        return due, invalid, [tuple(row) for row in connection.execute(logged)] if invalid else []

    return context.database.transact(work)


def _count_values(context: Context, rule: Rule, cutoff: Cutoff) -> tuple[int, int, list[Key]]:
    due = invalid = 0
    keys: list[Key] = []
    for row in _read_values(context, rule, cutoff):
        try:
            due += cutoff.is_due(row[-1])
        except ValueError:
            invalid += 1
            if len(keys) < MAX_LOGGED_IDS:
                keys.append(tuple(row[:-1]))
    return due, invalid, keys


def _read_values(context: Context, rule: Rule, cutoff: Cutoff) -> Iterator[Row[Any]]:
    def work(connection: Connection, after: Key | None) -> tuple[Key | None, Sequence[Row[Any]]]:
        keys = next_range(connection, rule.table, after, rows=COUNT_CHUNK)
        query = select(*rule.key, cutoff.value).where(in_range(rule.table, keys), rule.where, cutoff.due)
        return keys.last, connection.execute(by_primary_key(query, rule.table)).all()

    after: Key | None = None
    while True:
        if context.is_out_of_time():
            raise OutOfTimeError(f"counting the rows of {rule.name} takes too long; the next invocation counts again")
        after, rows = context.database.transact(partial(work, after=after))
        yield from rows
        if after is None:
            return


def _count(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(table).where(*conditions)
    return connection.execute(query).scalar_one()
