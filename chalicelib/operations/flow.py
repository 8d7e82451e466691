"""Pausing and resuming the jobs of a type."""

from typing import Annotated, Any

import msgspec

from chalicelib import handlers, pauses
from chalicelib.context import Context


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type of jobs, and why it is paused."""

    type: str
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type of jobs."""

    type: str


def pause(context: Context, asked: Pause) -> dict[str, Any]:
    """Let no job of a type begin until it is resumed; those that are being performed end. Deploying changes nothing."""
    handlers.find(asked.type)

    now_ms = context.clock.now_ms()
    context.database.transact(
        lambda connection: pauses.pause(connection, "job", asked.type, reason=asked.reason, now_ms=now_ms)
    )
    return {"paused": asked.type}


def resume(context: Context, asked: Resume) -> dict[str, Any]:
    """Let the jobs of a type begin again; those that waited are sent within a minute."""
    resumed = context.database.autocommit(lambda connection: pauses.resume(connection, "job", asked.type))
    return {"resumed": asked.type if resumed else None}
