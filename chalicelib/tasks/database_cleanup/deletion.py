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
    Chunk,
    Deleted,
    Key,
    RowsChangedError,
    by_primary_key,
    in_range,
    next_range,
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


def count_due(context: Context, rule: Rule, *, at: datetime, uncapped: bool) -> Counts:
    """Count the rows that are due at a moment, as skipped. Raises PermanentError where `delete_due` would."""
    progress, refusal = _count_rows(context, rule, _cutoff(context, rule, at))
    if refusal and not uncapped:
        raise PermanentError(refusal)
    due = (progress.expected or 0) - progress.counts.failed
    return progress.counts + Counts(total=due, skipped=due)


def delete_due(
    context: Context, rule: Rule, *, at: datetime, start: Progress, archive: Archive | None, uncapped: bool
) -> Iterator[Progress]:
    """Delete the rows that are due at a moment; yield the progress after the count, after each chunk, and at the end.

    Raises PermanentError when more rows are due than the rule allows, TransientError when the archive or the database
    refuses for now, and OutOfTimeError when a pause would exceed the deadline.
    """
    cutoff, progress = _cutoff(context, rule, at), start
    if progress.expected is None:
        progress, refusal = _count_rows(context, rule, cutoff)
        yield progress
        if refusal and not uncapped:
            raise PermanentError(refusal)
    throttle = Throttle(context, ServerLoad(context.database), max_rows=rule.chunk)
    is_simple = cutoff.in_sql and not rule.dependents
    while True:
        throttle.wait()
        rows, after = throttle.rows, progress.after
        allowed = None if uncapped else progress.allowed - progress.counts.succeeded
        chunk = Chunk(rule=rule, cutoff=cutoff, after=after, rows=rows, allowed=allowed)
        counts = Counts()
        try:
            if archive is not None:
                work = _archive(context, chunk, archive)
            elif is_simple and (allowed is None or allowed >= rows):
                work = chunk.delete
            else:
                work = chunk.delete_with_dependents
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


def _archive(context: Context, chunk: Chunk, archive: Archive) -> Callable[[Connection], Deleted]:
    """Archive a chunk's due rows, and return the transaction that deletes them."""
    keys, archivable = context.database.transact(chunk.read)
    if archivable:
        archive.put(row for rows in archivable.values() for row in rows)
    return partial(chunk.delete_archived, keys=keys, archived=archivable)


def _skip_row(context: Context, rule: Rule, after: Key | None, error: IntegrityError) -> Deleted:
    key = context.database.transact(partial(next_range, table=rule.table, after=after, rows=1)).last
    logger.error("row cannot be deleted", extra={"id": "/".join(map(str, key or ())), "error": str(error.orig)})
    return Deleted(rows=0, last=key)


def _cutoff(context: Context, rule: Rule, at: datetime) -> Cutoff:
    return context.database.transact(partial(cutoff_for, column=rule.timestamp, before_ms=to_ms(at - rule.keep)))


def _count_rows(context: Context, rule: Rule, cutoff: Cutoff) -> tuple[Progress, str | None]:
    """Return the progress at the start, and why the rule may not delete so many rows.

    Logs the ids of rows with an invalid timestamp. Raises OutOfTimeError.
    """
    due, invalid, keys = (_count_in_sql if cutoff.in_sql else _count_values)(context, rule, cutoff)
    if invalid:
        ids = ["/".join(map(str, key)) for key in keys]
        logger.error("timestamps are invalid", extra={"invalid": invalid, "ids": ids})
    table_rows = context.database.transact(lambda connection: _count(connection, rule.table))
    is_small = table_rows <= SMALL_TABLE
    allowed = rule.max_rows if is_small else min(rule.max_rows, int(rule.max_share * table_rows))
    refusal = (
        f"{due} of {table_rows} rows are due and the rule allows {allowed}, so none is deleted; "
        f'if that is intended, invoke the task with "uncapped": ["{rule.name}"]'
    )
    counts = Counts(total=invalid, failed=invalid)
    return Progress(expected=due + invalid, allowed=allowed, counts=counts), refusal if due > allowed else None


def _count_in_sql(context: Context, rule: Rule, cutoff: Cutoff) -> tuple[int, int, list[Key]]:
    def work(connection: Connection) -> tuple[int, int, list[Key]]:
        due = _count(connection, rule.table, rule.where, cutoff.due)
        invalid = _count(connection, rule.table, rule.where, cutoff.invalid)
        logged = select(*rule.key).where(rule.where, cutoff.invalid).order_by(*rule.key).limit(MAX_LOGGED_IDS)
        return due, invalid, [tuple(row) for row in connection.execute(logged)] if invalid else []

    return context.database.transact(work)


def _count_values(context: Context, rule: Rule, cutoff: Cutoff) -> tuple[int, int, list[Key]]:
    def work(connection: Connection, after: Key | None) -> tuple[Key | None, Sequence[Row[Any]]]:
        keys = next_range(connection, rule.table, after, rows=COUNT_CHUNK)
        query = select(*rule.key, cutoff.value).where(in_range(rule.table, keys), rule.where, cutoff.due)
        return keys.last, connection.execute(by_primary_key(query, rule.table)).all()

    due = invalid = 0
    logged: list[Key] = []
    after: Key | None = None
    while True:
        if context.is_out_of_time():
            raise OutOfTimeError(f"counting the rows of {rule.name} takes too long; the next invocation counts again")
        after, rows = context.database.transact(partial(work, after=after))
        for row in rows:
            try:
                due += cutoff.is_due(row[-1])
            except ValueError:
                invalid += 1
                if len(logged) < MAX_LOGGED_IDS:
                    logged.append(tuple(row[:-1]))
        if after is None:
            return due, invalid, logged


def _count(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(table).where(*conditions)
    return connection.execute(query).scalar_one()
