"""Records who was active on the day before, for the monthly reports; it comes before the cleanup of sessions."""

from datetime import timedelta

from chalicelib.core.context import Context
from chalicelib.core.outcome import Counts
from chalicelib.runs.claims import Run
from chalicelib.schedule.schedule import window_before
from chalicelib.tasks import Task
from chalicelib.tasks.monthly_report import activity


def perform(context: Context, run: Run) -> Counts:
    """Record the day; counts are users."""
    day = window_before(run.scheduled_for, context.settings.digest_zone)
    if run.dry_run:
        active = activity.count(context.database, context.clock, day)
        return Counts(total=active, skipped=active)
    recorded = activity.record(context.database, context.clock, day)
    return Counts(total=recorded, succeeded=recorded)


TASK = Task(
    name="record_activity",
    perform=perform,
    max_failed_share=0.0,
    max_attempts=3,
    overlap="queue",
    catch_up="all",
    grace=timedelta(minutes=15),
    catch_up_limit=31,
)
