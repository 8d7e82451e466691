"""A process with the largest bodies that are allowed, ten at a time; it prints the most memory that it took, in MiB.

python -m tests.queue.largest DATABASE_URL WHAT SHAPE
"""

import json
import sys
from collections.abc import Callable
from io import BytesIO
from typing import Any

from sqlalchemy import delete, select

from bench.memory import peak_mib
from chalicelib.core.context import Context
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.queue import outbox
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import Job
from chalicelib.queue.payloads import CLASSES, MAX_BYTES
from chalicelib.schema import jobs
from nightshift.local.environment import BUCKET
from nightshift.testkit.kit import Kit
from nightshift.testkit.memory import MemoryS3
from tests.queue.samples import Note, execute, insert_job

COUNT = 10
# What takes the place of a value, and how often it fits.
SHAPES = {"text": "x", "lists": "[],", "objects": '{"":0},', "escaped": "\\u0000"}


def body_of(shape: str, *, room: int = 0) -> str:
    """Return a message that is as long as one may be, less some room for other keys."""
    before, after = ('"', '"') if shape in {"text", "escaped"} else ("[", "0]")
    start, end = f'{{"type": "note", "data": {{"text": {before}', f"{after}}}}}"
    part = SHAPES[shape]
    return start + part * ((MAX_BYTES - room - len(start) - len(end)) // len(part)) + end


def data_of(shape: str) -> str:
    """Return the data of such a message, so long that an id has room beside it."""
    body = body_of(shape, room=1000)
    return body[body.index('{"text"') : -1]


class Shaped(MemoryS3):
    """A bucket that makes its objects when they are read."""

    def __init__(self, shape: str) -> None:
        super().__init__()
        self._shape = shape

    def get_object(self, **_call: Any) -> dict[str, Any]:
        """Return a body as long as one may be."""
        content = body_of(self._shape).encode()
        return {"Body": BytesIO(content), "ContentLength": len(content)}


def handler_of(error: Exception | None) -> Handler:
    """Return a handler that keeps nothing of its jobs, though the frames of its error do."""

    def perform(_context: Context, _job: Job[Note]) -> Counts:
        if error is not None:
            raise error
        return Counts(total=1, succeeded=1)

    return Handler(
        type="note", payload=Note, perform=perform, max_attempts=1, backoff_seconds=(60,), timeout_seconds=None
    )


def work_pointers(kit: Kit, shape: str) -> None:
    kit.s3 = Shaped(shape)
    for n in range(COUNT):
        kit.send(json.dumps([CLASSES[0], {"s3BucketName": BUCKET, "s3Key": f"payloads/{n}"}]))
    kit.work(kit.receive())


def work_rows(kit: Kit, shape: str) -> None:
    insert_rows(kit, shape)
    kit.dispatch()
    kit.work(kit.receive())


def work_failing_rows(kit: Kit, shape: str) -> None:
    kit.handlers["note"] = handler_of(ValueError("no"))
    work_rows(kit, shape)


def dispatch(kit: Kit, shape: str) -> None:
    insert_rows(kit, shape)
    kit.dispatch()


def enqueue(kit: Kit, shape: str) -> None:
    # The producer itself holds its data, and here it is one and the same.
    data = json.loads(data_of(shape))
    new = [Job(type="note", payload=data) for _ in range(COUNT)]
    kit.context().database.transact(lambda connection: outbox.enqueue_many(connection, new, clock=kit.clock))


def insert_rows(kit: Kit, shape: str) -> None:
    """Insert rows as another service does, one by one."""
    for n in range(COUNT):
        insert_job(kit, id=str(n), data=data_of(shape))


WHAT: dict[str, tuple[Callable[[Kit, str], None], set[str]]] = {
    "pointers": (work_pointers, {"completed"}),
    "rows": (work_rows, {"completed"}),
    "failing rows": (work_failing_rows, {"dead"}),
    "dispatch": (dispatch, {"pending"}),
    "enqueue": (enqueue, {"pending"}),
}


def main(url: str, what: str, shape: str) -> None:
    """Do it, check that it was done, and print the peak."""
    logger.setLevel("CRITICAL")
    kit = Kit(url)
    execute(kit, delete(jobs))
    kit.handlers["note"] = handler_of(None)
    act, expected = WHAT[what]
    act(kit, shape)
    query = select(jobs.c.status)
    found = kit.context().database.autocommit(lambda connection: connection.execute(query).scalars().all())
    assert (len(found), set(found)) == (COUNT, expected), found
    print(json.dumps({"peak": peak_mib()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
