"""Pausing and resuming the jobs of a type."""

from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection, delete, update

from chalicelib import handlers
from chalicelib.context import Context
from chalicelib.database import insert_missing
from chalicelib.schema import pauses


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

    def work(connection: Connection) -> None:
        values = {"reason": asked.reason, "paused_at": context.clock.now_ms()}
        new = insert_missing(pauses, connection.dialect)
        connection.execute(new.values(kind="job", name=asked.type, **values))
        connection.execute(update(pauses).where(pauses.c.kind == "job", pauses.c.name == asked.type).values(**values))

    context.database.transact(work)
    return {"paused": asked.type}


def resume(context: Context, asked: Resume) -> dict[str, Any]:
    """Let the jobs of a type begin again; those that waited are sent within a minute."""
    paused = (pauses.c.kind == "job", pauses.c.name == asked.type)
    resumed = context.database.autocommit(lambda connection: connection.execute(delete(pauses).where(*paused)).rowcount)
    return {"resumed": asked.type if resumed else None}
