"""A sweep: one rule carried out, chunk by chunk."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError, OperationalError

from chalicelib.core.clock import to_ms
from chalicelib.core.context import Context
from chalicelib.core.database import DEADLOCK, LOCK_WAIT_TIMEOUT, error_code
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.tasks.database_cleanup.archive import Archive
from chalicelib.tasks.database_cleanup.chunk import ChangedError, Step, delete_parcel, delete_rows, delete_stretch
from chalicelib.tasks.database_cleanup.moment import Lens, lens_for
from chalicelib.tasks.database_cleanup.pace import Pace
from chalicelib.tasks.database_cleanup.parcel import pack
from chalicelib.tasks.database_cleanup.pressure import Pressure
from chalicelib.tasks.database_cleanup.progress import Progress
from chalicelib.tasks.database_cleanup.rule import Rule
from chalicelib.tasks.database_cleanup.stretch import Key, next_stretch
from chalicelib.tasks.database_cleanup.survey import Survey, check, survey


def rehearse(context: Context, rule: Rule, *, at: datetime, uncapped: bool) -> Counts:
    """Return the counts of what is due at a moment, as skipped. Raises PermanentError where a sweep would."""
    found = survey(context, rule, _lens(context, rule, at))
    if not uncapped:
        check(rule, found)
    return Counts(total=found.due, skipped=found.due) + _unreadable(found)


def sweep(
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
