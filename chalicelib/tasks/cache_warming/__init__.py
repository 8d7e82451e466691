"""Warms the cache: what the application shows most, computed before anybody waits for it."""

from datetime import timedelta

from chalicelib.core.clock import from_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import Skipped
from chalicelib.core.outcome import Counts
from chalicelib.runs.claims import Run
from chalicelib.tasks import Task
from chalicelib.tasks.cache_warming import warming


def perform(context: Context, run: Run) -> Counts:
    """Compute every value and swap all of them in; counts are values."""
    if context.cache is None:
        raise Skipped("there is no Redis: set REDIS_URL")
    at = run.scheduled_for
    if not run.dry_run:
        warming.claim(context.cache, at=at, run_id=str(run.id))
    computed_at = from_ms(context.clock.now_ms())
    values = context.database.transact(lambda connection: warming.compute(connection, at=at))
    if run.dry_run:
        return Counts(total=len(values), skipped=len(values))
    warming.swap_in(context.cache, values, at=at, computed_at=computed_at, run_id=str(run.id))
    return Counts(total=len(values), succeeded=len(values))


TASK = Task(
    name="cache_warming",
    perform=perform,
    max_failed_share=0.0,
    max_attempts=3,
    overlap="skip",
    catch_up="skip",
    grace=timedelta(minutes=15),
)
