"""The watch: every five minutes, make sure that each due fire runs or is recorded as missed, and that each run ends.

Then it stores the status page, which stays at most five minutes old even when nothing else runs.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from chalicelib.core.attempt import attempt, report_or_raise
from chalicelib.core.context import Context
from chalicelib.core.errors import TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.part import Part
from chalicelib.core.telemetry import bound, logger
from chalicelib.operate.operations import operations_of
from chalicelib.operate.status import page
from chalicelib.runs import catch_up, stale_runs
from chalicelib.runs.task import find_task
from chalicelib.schedule.schedule import Schedule


def watch(context: Context, schedules: Mapping[str, Schedule], parts: Collection[Part]) -> dict[str, Any]:
    """Check all fires, stale runs, and what each part has checked; return the summary.

    Counts are runs and fires: succeeded are rescued or caught up, skipped were held back by a pause, failed are
    missed or given up. Raises RunFailedError, so that Lambda's alarms see it; the next watch checks the same again.
    """
    with bound(request_id=context.request_id):
        ended = attempt(lambda: _watch(context, schedules, parts), clock=context.clock, last=False)
        try:
            return report_or_raise("watch", ended)
        finally:
            _store_page(context, schedules, parts)


def _watch(context: Context, schedules: Mapping[str, Schedule], parts: Collection[Part]) -> Counts:
    # A list, not a dict: a task may be called "runs" or "backups".
    checks: list[tuple[str, Callable[[], Any]]] = [
        ("runs", partial(stale_runs.rescue_stale_runs, context)),
        ("schedules", partial(catch_up.record_schedules, context, schedules)),
        *((name, partial(_check_fires, context, name, schedule)) for name, schedule in schedules.items()),
        *(
            (name, partial(part_check, context))
            for operations in operations_of(parts)
            for name, part_check in operations.checks.items()
        ),
    ]
    counts, broken = Counts(), []
    for name, check in checks:
        ended = attempt(check, clock=context.clock, last=False)
        counts += ended.counts
        if ended.error is not None:
            # One failed check does not stop the others.
            logger.error(f"{name} not checked", exc_info=ended.error)
            broken.append(f"{name} ({ended.error_message})")
    if broken:
        raise TransientError(f"it could not check {', '.join(broken)}")
    return counts


def _check_fires(context: Context, name: str, schedule: Schedule) -> Counts:
    task = find_task(name)
    counts = catch_up.reconcile(context, task, schedule)
    return counts if schedule.every is None else counts + catch_up.check_interval(context, task, schedule)


def _store_page(context: Context, schedules: Mapping[str, Schedule], parts: Collection[Part]) -> None:
    ended = attempt(lambda: page.store(context, schedules, parts), clock=context.clock, last=False)
    if ended.error is not None:
        # Not fatal: opening the page stores it again, or shows why that fails.
        logger.error("status page not stored", exc_info=ended.error)
