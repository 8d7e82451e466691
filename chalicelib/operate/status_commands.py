"""The status of the deployment, as JSON and as a page in the bucket with a link to it."""

from collections.abc import Collection, Mapping
from typing import Any

from chalicelib.core.context import Context
from chalicelib.core.part import Part
from chalicelib.operate.answers import to_json
from chalicelib.operate.operations import Nothing
from chalicelib.operate.status import page, status
from chalicelib.schedule.schedule import Schedule

# Anyone who has the link can read the page, so the link lasts just long enough to open it.
LINK_SECONDS = 900


def show(
    context: Context, _request: Nothing, schedules: Mapping[str, Schedule], parts: Collection[Part]
) -> dict[str, Any]:
    """Return the status, and whether all is well. Each section of a part is a key of its own."""
    found = status.read(context, schedules, parts)
    answer: dict[str, Any] = to_json(found)
    return {"is_well": found.is_well, **answer, **answer.pop("sections")}


def store_page(
    context: Context, _request: Nothing, schedules: Mapping[str, Schedule], parts: Collection[Part]
) -> dict[str, Any]:
    """Store the page of the status as it is now, and return a link that opens it for a quarter of an hour."""
    found = page.store(context, schedules, parts)
    link = context.store.link(page.KEY, seconds=LINK_SECONDS)
    return {"is_well": found.is_well, "headline": found.headline, "link": link, "seconds": LINK_SECONDS}
