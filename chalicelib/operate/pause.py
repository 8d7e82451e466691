"""Pausing and resuming the jobs of a type, or all of them."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from chalicelib.core import pauses
from chalicelib.core.context import Context
from chalicelib.queue.handler import find_handler


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job type, or `*` for all, and why it is paused."""

    type: str
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job type, or `*` for all."""

    type: str


def pause(context: Context, request: Pause) -> dict[str, Any]:
    """Pause the jobs of a type, across deployments. Jobs in progress complete."""
    if request.type != pauses.ALL_JOBS:
        find_handler(request.type)
    now_ms = context.clock.now_ms()
    context.database.transact(
        lambda connection: pauses.pause(connection, "job", request.type, reason=request.reason, now_ms=now_ms)
    )
    return {"paused": request.type}


def resume(context: Context, request: Resume) -> dict[str, Any]:
    """Resume the jobs of a type, and return the pauses that remain: a pause of all jobs is another one.

    Waiting jobs are sent within a minute.
    """

    def work(connection: Connection) -> tuple[bool, dict[str, str]]:
        return pauses.resume(connection, "job", request.type), pauses.reasons(connection, "job")

    resumed, remaining = context.database.transact(work)
    if not resumed and request.type != pauses.ALL_JOBS:
        # Checked last: a type without a handler may still be paused.
        find_handler(request.type)
    return {"resumed": request.type if resumed else None, "paused": remaining}
