"""The status of the deployment, as JSON and as a page in the bucket with a link to it."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from chalicelib.core.clock import iso
from chalicelib.core.context import Context
from chalicelib.core.part import Part
from chalicelib.operate.operations import Nothing
from chalicelib.operate.status import page, status
from chalicelib.schedule.schedule import Schedule

# Whoever has the link may read the page: long enough to open it, and little more.
LINK_SECONDS = 900


def show(
    context: Context, _request: Nothing, schedules: Mapping[str, Schedule], parts: Collection[Part]
) -> dict[str, Any]:
    """Return the status, and whether all is well. Each section of a part is a key of its own."""
    found = status.read(context, schedules, parts)
    told: dict[str, Any] = _tell(asdict(found))
    sections = told.pop("sections")
    return {"is_well": found.is_well, **told, **sections}


def store_page(
    context: Context, _request: Nothing, schedules: Mapping[str, Schedule], parts: Collection[Part]
) -> dict[str, Any]:
    """Store the page of the status as it is now, and return a link that opens it for a quarter of an hour."""
    found = page.store(context, schedules, parts)
    link = context.store.link(page.KEY, seconds=LINK_SECONDS)
    return {"is_well": found.is_well, "headline": found.headline, "link": link, "seconds": LINK_SECONDS}


def _tell(value: Any) -> Any:
    match value:
        case dict():
            return {key: _tell(item) for key, item in value.items()}
        case list() | tuple():
            return [_tell(item) for item in value]
        case datetime():
            return iso(value)
        case date():
            return value.isoformat()
        case _:
            return value
