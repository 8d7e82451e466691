"""Renewing the lease of a run that no function's time limits, so that a killed process is soon out of the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from chalicelib.core.context import Context
from chalicelib.core.errors import AlreadyClaimed
from chalicelib.core.telemetry import logger
from chalicelib.runs import claims
from chalicelib.runs.claims import LONGEST_FUNCTION_MS, Run

EVERY_SECONDS = 30.0


@contextmanager
def renewed(context: Context, run: Run) -> Iterator[None]:
    """Renew the run's lease all the time within, where it is shorter than the time that there is."""
    if run.dry_run or context.remaining_ms() <= LONGEST_FUNCTION_MS:
        yield
        return
    stop = Event()
    thread = Thread(target=_renew, args=(context, run, stop), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _renew(context: Context, run: Run, stop: Event) -> None:
    from sqlalchemy.exc import DBAPIError

    while not stop.wait(EVERY_SECONDS):
        try:
            claims.renew(context, run)
        except AlreadyClaimed:
            # The run meets this itself when its end is recorded.
            return
        except DBAPIError:
            logger.warning("lease not renewed", exc_info=True)
