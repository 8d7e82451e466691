"""The watch: sees to it that every fire that is due runs or is missed for a reason, and every run that began ends.

Then it stores the page of the status, which so tells of the last five minutes even while nothing else does.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from chalicelib import tasks
from chalicelib.backup import catalogue as ages
from chalicelib.core.attempt import attempt
from chalicelib.core.context import Context
from chalicelib.core.errors import RunFailedError, TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.redaction import redact
from chalicelib.core.telemetry import bound, logger, report
from chalicelib.operate.status import stored
from chalicelib.runs import catch_up, schedule_history, stale_runs
from chalicelib.schedule.schedule import Schedule


def watch(context: Context, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Look after all fires, runs that nobody goes on with, the backups' age and RDS's snapshots; return the summary.

    Counts are runs and fires: succeeded are taken up or made up for, skipped were held back by a pause, failed are
    missed or given up. Raises RunFailedError, so that Lambda's alarms see it; the next time looks at the same again.
    """
    with bound(request_id=context.request_id):
        ended = attempt(lambda: _watch(context, planned), clock=context.clock, last=False)
        summary = report("run", "watch", ended)
        _store_page(context, planned)
    if ended.outcome.is_failure:
        raise RunFailedError(redact(f"watch failed: {ended.error_message}"), outcome=ended.outcome) from ended.error
    return summary


def _watch(context: Context, planned: Mapping[str, Schedule]) -> Counts:
    # No mapping, in which a task of the name would take the place of the runs or the backups.
    looks: list[tuple[str, Callable[[], Any]]] = [
        ("runs", partial(stale_runs.take_up, context)),
        ("schedules", partial(schedule_history.record, context, planned)),
        *((name, partial(_look_after, context, name, schedule)) for name, schedule in planned.items()),
        ("backups", partial(ages.tell_ages, context.database, context.clock)),
        # Last: RDS may take its time.
        ("snapshots", partial(_look_after_snapshots, context)),
    ]
    counts, broken = Counts(), []
    for name, look in looks:
        ended = attempt(look, clock=context.clock, last=False)
        counts += ended.counts
        if ended.error is not None:
            # The others are looked after all the same.
            logger.error(f"{name} not looked after", exc_info=ended.error)
            broken.append(f"{name} ({ended.error_message})")
    if broken:
        raise TransientError(f"it could not look after {', '.join(broken)}")
    return counts


def _look_after(context: Context, name: str, schedule: Schedule) -> Counts:
    task = tasks.find(name)
    settled = catch_up.settle(context, task, schedule)
    return settled if schedule.every is None else settled + catch_up.listen(context, task, schedule)


def _look_after_snapshots(context: Context) -> None:
    if context.settings.backup_rds is not None:
        # Few deployments have any, and what looks after them takes its time to import.
        from chalicelib.backup.rds import snapshots

        snapshots.look_after(context)


def _store_page(context: Context, planned: Mapping[str, Schedule]) -> None:
    ended = attempt(lambda: stored.store(context, planned), clock=context.clock, last=False)
    if ended.error is not None:
        # No fire is missed for it, and whoever opens the page has it stored anew, or is told why not.
        logger.error("status page not stored", exc_info=ended.error)
