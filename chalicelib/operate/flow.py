"""Pausing and resuming the jobs of a type, or all of them."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from chalicelib.core import pauses
from chalicelib.core.context import Context
from chalicelib.queue.handler import find_handler


class Pause(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type of jobs, or `*` for every one, and why it is paused."""

    type: str
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A type of jobs, or the pause of every one."""

    type: str


def pause(context: Context, asked: Pause) -> dict[str, Any]:
    """Let no job of a type begin until it is resumed; those that are being performed end. Deploying changes nothing."""
    if asked.type != pauses.ALL_JOBS:
        find_handler(asked.type)
    now_ms = context.clock.now_ms()
    context.database.transact(
        lambda connection: pauses.pause(connection, "job", asked.type, reason=asked.reason, now_ms=now_ms)
    )
    return {"paused": asked.type}


def resume(context: Context, asked: Resume) -> dict[str, Any]:
    """Let the jobs of a type begin again, and return which pauses remain: of all jobs, and of a type, are two.

    Those that waited are sent within a minute.
    """

    def work(connection: Connection) -> tuple[bool, dict[str, str]]:
        return pauses.resume(connection, "job", asked.type), pauses.reasons(connection, "job")

    resumed, remaining = context.database.transact(work)
    if not resumed and asked.type != pauses.ALL_JOBS:
        # After the fact: a type whose handler is gone may be paused still.
        find_handler(asked.type)
    return {"resumed": asked.type if resumed else None, "paused": remaining}
