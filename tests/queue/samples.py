"""Handlers of the tests' own, and what tests look at in a kit."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, create_engine, delete, event, insert, select, text, update

from chalicelib.core.context import Context
from chalicelib.core.outcome import Counts
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import Job
from chalicelib.schema import jobs, pauses
from nightshift.testkit.kit import DEAD, WORK, Kit


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A payload that holds anything."""

    text: Any = None


def handle(
    kit: Kit, perform: Callable[[Job[Note]], object] | None = None, *, type_: str = "note", **policy: Any
) -> list[Job[Note]]:
    """Have jobs of a type performed so, and return the list of attempts that have begun."""
    begun: list[Job[Note]] = []

    def run(_context: Context, job: Job[Note]) -> Counts:
        begun.append(job)
        if perform is not None:
            perform(job)
        return Counts(total=1, succeeded=1)

    values: dict[str, Any] = {"max_attempts": 3, "backoff_seconds": (60, 300), "timeout_seconds": None, **policy}
    kit.handlers[type_] = Handler(type=type_, payload=Note, perform=run, **values)
    return begun


def fail(kit: Kit, error: BaseException, *, type_: str = "note", **policy: Any) -> list[Job[Note]]:
    """Have every job of a type fail so, and return the list of attempts that have begun."""

    def perform(_job: Job[Note]) -> None:
        raise error

    return handle(kit, perform, type_=type_, **policy)


def statuses(kit: Kit) -> dict[str, str]:
    """Return the status of each job by id."""
    return {job.id: job.status for job in kit.jobs()}


def dead_letters(kit: Kit) -> list[tuple[dict[str, Any] | str, str]]:
    """Return the body of each dead letter, read as JSON where it is some, and its reason."""
    return [(_read(held.body), held.attributes["reason"]["StringValue"]) for held in kit.sqs.messages(DEAD)]


def _read(body: str) -> dict[str, Any] | str:
    try:
        read: dict[str, Any] = json.loads(body)
    except ValueError:
        return body
    return read


def left(kit: Kit, *, queue: str = WORK) -> list[float]:
    """Return the seconds until each message that is left on a queue comes (again)."""
    return [(held.visible_ms - kit.clock.now_ms()) / 1000 for held in kit.sqs.messages(queue)]


def execute(kit: Kit, statement: Any, parameters: Any = None) -> None:
    """Execute one statement in a transaction of its own."""
    parsed = text(statement) if isinstance(statement, str) else statement
    kit.context().database.transact(lambda connection: connection.execute(parsed, parameters))


def insert_job(kit: Kit, **values: Any) -> str:
    """Insert a row as a producer does who knows the guide's columns only, and others by name; return its id."""
    row = {"type": "note", "data": "{}", "status": "pending", "created_at": kit.clock.now_ms(), **values}
    execute(kit, insert(jobs), row)
    return str(row["id"])


def change_job(kit: Kit, job_id: str, **values: Any) -> None:
    """Change a row as an operator does."""
    execute(kit, update(jobs).where(jobs.c.id == job_id).values(**values))


def pause(kit: Kit, type_: str = "note") -> None:
    execute(kit, insert(pauses).values(kind="job", name=type_, reason="r", paused_at=kit.clock.now_ms()))


def resume(kit: Kit, type_: str = "note") -> None:
    execute(kit, delete(pauses).where(pauses.c.name == type_))


@contextmanager
def rival(kit: Kit) -> Iterator[Connection]:
    """A second connection, as another process has."""
    engine = create_engine(kit.context().database.engine.url, isolation_level="READ COMMITTED")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def lock(connection: Connection, job_id: str) -> None:
    """Lock a job's row until the connection's transaction ends."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == job_id).with_for_update())


def until_waiting(connection: Connection) -> None:
    """Return when another transaction of the server waits for a lock."""
    status = text("SHOW ENGINE INNODB STATUS")
    # Not what it says further up, of the latest deadlock; and INNODB_TRX shows old news to whoever asks often.
    while "LOCK WAIT" not in connection.execute(status).one().Status.partition("\nTRANSACTIONS\n")[2]:
        pass


@contextmanager
def listening(kit: Kit, name: str, listener: Callable[..., None]) -> Iterator[None]:
    """Have the engine call a function at each event of this name."""
    engine = kit.context().database.engine
    event.listen(engine, name, listener)
    try:
        yield
    finally:
        event.remove(engine, name, listener)


def rows_read(kit: Kit) -> int:
    """Return how many index entries and rows the kit's own connection has read so far."""
    status = "SHOW SESSION STATUS LIKE 'Handler_read%%'"
    with kit.context().database.engine.connect() as connection:
        return sum(int(row[1]) for row in connection.exec_driver_sql(status))
