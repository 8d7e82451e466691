"""The outbox: enqueue jobs in your own transaction, so that a job exists only if the transaction commits."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DBAPIError

from chalicelib.core.clock import Clock, SystemClock
from chalicelib.core.context import Context
from chalicelib.core.database import Database, insert_missing
from chalicelib.core.error_text import sentence_of
from chalicelib.core.errors import InvalidRequestError, TransientError
from chalicelib.core.telemetry import logger
from chalicelib.queue.dispatch import send_due
from chalicelib.queue.job import Job, QueueName, new_row, to_message
from chalicelib.queue.services import queues
from chalicelib.queue.sqs import Queues, by_size
from chalicelib.schema import jobs

# Where a transaction that sends on its commit keeps the ids of what was enqueued in it, and its clock.
ENQUEUED = "nightshift_enqueued"
CLOCK = "nightshift_clock"
CHUNK = 1000
# About what PyMySQL puts into one statement.
CHUNK_CHARACTERS = 1_000_000
# As in pymysql.constants, which a deployment on SQLite does not import.
SERVER_STATUS_IN_TRANS = 1


def enqueue(
    where: Context | Connection,
    type_: str,
    data: Mapping[str, Any],
    *,
    run_at: datetime | None = None,
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
    unique_for: int | None = None,
    tags: Sequence[str] = (),
    queue: QueueName = "work",
) -> str:
    """Enqueue a job and return its id, or that of the job that has the same key.

    With a connection, the job is stored in its transaction. With a context, it is stored in one of its own, and sent.
    Raises InvalidRequestError for a job that a worker could not read, and for a connection without a transaction.
    """
    job = Job(
        type=type_,
        payload=data,
        run_at=run_at,
        expires_at=expires_at,
        idempotency_key=idempotency_key,
        unique_for=unique_for,
        tags=tuple(tags),
        queue=queue,
    )
    if isinstance(where, Connection):
        return enqueue_many(where, [job])[0]
    with transaction(where) as connection:
        return enqueue_many(connection, [job])[0]


def enqueue_many(connection: Connection, new: Collection[Job[Any]], *, clock: Clock | None = None) -> list[str]:
    """Enqueue jobs in the connection's transaction, and return their ids in order, as `enqueue` does."""
    _check_transaction(connection)
    now_ms = (clock or connection.info.get(CLOCK) or SystemClock()).now_ms()
    # All are checked before any is inserted, while the caller can still correct them.
    messages = [to_message(job) for job in new]
    # Rows are made chunk by chunk, since those of all jobs may not fit into memory together.
    rows = (
        new_row(message, id_=job.id, queue=job.queue, now_ms=now_ms) for job, message in zip(new, messages, strict=True)
    )
    enqueued: list[str] = []
    for chunk in by_size(rows, size_of=lambda row: len(row["data"]), most=CHUNK, longest=CHUNK_CHARACTERS):
        if plain := [row for row in chunk if row["unique_key"] is None]:
            connection.execute(insert(jobs), plain)
        ids = _insert_unique(connection, [row for row in chunk if row["unique_key"] is not None], now_ms=now_ms)
        enqueued += [ids.get(row["unique_key"], row["id"]) for row in chunk]
    if ENQUEUED in connection.info:
        connection.info[ENQUEUED] += enqueued
    return enqueued


def _check_transaction(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        commits_at_once = driver.isolation_level is None and not driver.in_transaction
    else:
        # PyMySQL keeps the server's last status; another driver says only whether it commits each statement.
        is_open = getattr(driver, "server_status", 0) & SERVER_STATUS_IN_TRANS
        commits_at_once = driver.get_autocommit() and not is_open
    if commits_at_once:
        raise InvalidRequestError(
            "the connection commits each statement by itself, so the job would outlive a rollback: enqueue within"
            " outbox.transaction(...), context.database.begin(), or the begin() of an engine without autocommit"
        )


def _insert_unique(connection: Connection, rows: Collection[dict[str, Any]], *, now_ms: int) -> dict[str, str]:
    """Insert the rows whose key is free, and return by key the id of the job that has it now."""
    if not rows:
        return {}
    # In order, so that two transactions with the same keys cannot deadlock.
    ordered = sorted(rows, key=lambda row: str(row["unique_key"]))
    # It locks: an application's transaction may read from a snapshot in which the holder does not exist yet.
    holding = (
        select(jobs.c.id, jobs.c.unique_key, jobs.c.unique_until)
        .where(jobs.c.unique_key.in_([row["unique_key"] for row in ordered]))
        .with_for_update()
    )
    while True:
        connection.execute(insert_missing(jobs, connection.dialect), ordered)
        holders = connection.execute(holding).all()
        over = [each.id for each in holders if each.unique_until is not None and each.unique_until <= now_ms]
        if not over:
            return {holder.unique_key: holder.id for holder in holders}
        connection.execute(update(jobs).where(jobs.c.id.in_(over)).values(unique_key=None))


@contextmanager
def transaction(context: Context) -> Iterator[Connection]:
    """Begin a transaction whose jobs are sent as soon as it has committed.

    If SQS cannot be reached, dispatch sends them within a minute or two: they are in the database.
    """
    with context.database.begin() as connection:
        enqueued: list[str] = []
        # `info` belongs to the pooled connection, which other transactions use next.
        info = connection.info
        info[ENQUEUED], info[CLOCK] = enqueued, context.clock
        try:
            yield connection
        finally:
            del info[ENQUEUED], info[CLOCK]
    send_now(context.database, queues(context), enqueued, clock=context.clock)


def send_now(database: Database, to: Queues, ids: Sequence[str], *, clock: Clock) -> None:
    """Send those of the jobs that are due within the next 90 seconds; dispatch sends the others."""
    try:
        for start in range(0, len(ids), 10):
            send_due(database, to, clock=clock, only=ids[start : start + 10])
    except (TransientError, DBAPIError) as error:
        logger.warning("jobs wait for dispatch", extra={"reason": sentence_of(error), "jobs": len(ids)})
