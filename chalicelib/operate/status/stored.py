"""The page of the status in the deployment's own bucket, where a link opens it."""

from collections.abc import Mapping

from chalicelib.core.context import Context
from chalicelib.operate.status import page, status
from chalicelib.operate.status.status import Status
from chalicelib.schedule.schedule import Schedule

KEY = "status/index.html"


def store(context: Context, planned: Mapping[str, Schedule]) -> Status:
    """Store the page of the status as it is now, and return that. Raises TransientError, and what the database does."""
    found = status.read(context, planned)
    context.store.put(KEY, page.html(found).encode(), content_type="text/html; charset=utf-8")
    return found
