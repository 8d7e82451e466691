"""Nights of cleaning: rows of chosen ages, tables of a test's own, and the fire that cleans them."""

import gzip
import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, event, insert, select, text
from sqlalchemy.types import TypeEngine

from chalicelib.application import email_verification_tokens, password_reset_tokens, sessions
from chalicelib.core.clock import to_ms
from chalicelib.runs import execution
from chalicelib.tasks.database_cleanup import rules
from chalicelib.tasks.database_cleanup.rules import Rule
from nightshift.local.environment import BUCKET
from nightshift.local.invocation import scheduled_event
from tests.world import World

NIGHT = datetime(2016, 8, 4, 2, 0, tzinfo=UTC)


def clean(
    world: World, at: datetime = NIGHT, *, request_id: str | None = None, seconds: float = 300, **payload: Any
) -> dict[str, Any]:
    """Fire the cleanup as EventBridge does, or as a person with a payload, and return the summary."""
    asked = {"scheduled_for": at.isoformat(), **payload} if payload else scheduled_event(at)
    return execution.execute(
        "database_cleanup", event=asked, context=world.context(request_id=request_id, seconds=seconds)
    )


def ago(*, at: datetime = NIGHT, **age: float) -> int:
    """Return the moment so long before the fire, as epoch milliseconds."""
    return to_ms(at - timedelta(**age))


def add_sessions(world: World, count: int, *, days: float, user_id: str = "nobody", prefix: str = "s") -> list[str]:
    """Add sessions that have been idle for so many days, and return their ids in order."""
    ids = [f"{prefix}{n:05}" for n in range(count)]
    row = {"user_id": user_id, "user_agent": "Mozilla/5.0", "created_at": 1, "updated_at": ago(days=days)}
    world.execute(insert(sessions), [{"id": id_, **row} for id_ in ids])
    return ids


def add_reset_token(world: World, id_: str, *, expires_at: object, email: str = "ann@example.com") -> None:
    """Add a password-reset token."""
    values = {"id": id_, "email": email, "token": f"secret of {id_}", "created_at": 1, "expires_at": expires_at}
    world.execute(insert(password_reset_tokens).values(values))


def add_email_token(world: World, id_: str, *, expires_at: object, user_id: str = "nobody") -> None:
    """Add an e-mail-verification token."""
    values = {"id": id_, "user_id": user_id, "token": f"secret of {id_}", "created_at": 1, "expires_at": expires_at}
    world.execute(insert(email_verification_tokens).values(values))


def ids_in(world: World, table: Table) -> list[str]:
    """Return the primary keys that a table holds, in order."""
    key = tuple(table.primary_key)
    return ["/".join(map(str, row)) for row in world.execute(select(*key).order_by(*key))]


def use(monkeypatch: pytest.MonkeyPatch, *chosen: Rule) -> None:
    """Have these rules in place of those that are shipped."""
    monkeypatch.setattr(rules, "RULES", chosen)


@contextmanager
def things(world: World, type_: str, *, mapped: TypeEngine[Any] | None = None, extra: str = "") -> Iterator[Table]:
    """A table `things` whose column `moment` is of this type in the database, mapped as a column of another."""
    world.execute(text(f"CREATE TABLE things (id VARCHAR(36) PRIMARY KEY, moment {type_} {extra})"))
    try:
        yield Table(
            "things", MetaData(), Column("id", String(36), primary_key=True), Column("moment", mapped or String(64))
        )
    finally:
        world.execute(text("DROP TABLE things"))


def add_things(world: World, moments: Mapping[str, object]) -> None:
    """Add rows with these moments, written as they are."""
    is_server = world.context().database.engine.dialect.name != "sqlite"
    if is_server:
        # MySQL's own mode refuses a date that is zero, MariaDB's takes it.
        world.execute(text("SET SESSION sql_mode = ''"))
    for id_, moment in moments.items():
        world.execute(text("INSERT INTO things (id, moment) VALUES (:id, :moment)"), {"id": id_, "moment": moment})
    if is_server:
        world.execute(text("SET SESSION sql_mode = DEFAULT"))


@contextmanager
def after_statement(world: World, beginning: str, act: Callable[[], object]) -> Iterator[list[str]]:
    """Act after the first statement that begins so; give the list of those statements so far."""
    seen: list[str] = []

    def notice(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(beginning):
            seen.append(statement)
            if len(seen) == 1:
                act()

    engine = world.context().database.engine
    event.listen(engine, "after_cursor_execute", notice)
    try:
        yield seen
    finally:
        event.remove(engine, "after_cursor_execute", notice)


def archived(world: World, *, by: str = "") -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each object below archive/ by its key, those of one run only when its id is given."""
    s3 = world.aws.client("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="archive/").get("Contents", [])]
    bodies = {key: gzip.decompress(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys if by in key}
    return {key: [json.loads(line) for line in body.decode().splitlines()] for key, body in bodies.items()}


def lines_of(lines: Sequence[dict[str, Any]], level: str) -> list[dict[str, Any]]:
    """Return the lines of a log at this level."""
    return [line for line in lines if line.get("level") == level]


def new_id() -> str:
    """Return an id as applications make them."""
    return str(uuid.uuid4())
