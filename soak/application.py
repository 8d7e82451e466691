"""The application of the soak: it asks for jobs in each of the three ways, and asks again until it has an answer."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from chalicelib.core.config import QueueSettings
from chalicelib.core.context import Context, from_lambda
from chalicelib.core.errors import NightshiftError
from chalicelib.queue import outbox
from chalicelib.queue.job import Job
from nightshift.local.invocation import LocalClock, LocalContext

WAYS = ("outbox", "insert", "message")
MOST_AT_ONCE = 4
BAD_SHARE = 0.05


@dataclass(kw_only=True)
class Request:
    """A job that the application wants done once; `recipient` is its alone."""

    way: str
    recipient: str
    is_good: bool
    asked_ms: int
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    is_accepted: bool = False

    @property
    def type(self) -> str:
        """A type that somebody handles, or none."""
        return "send_email" if self.is_good else "resize_image"

    @property
    def data(self) -> dict[str, Any]:
        """What the job is handed."""
        content = {"paragraphs": ["Your export is ready."]}
        return {"to": self.recipient, "subject": "Your export", "template": "notice", "content": content}


class Application:
    """Asks for some jobs each time; `requests` are all of them."""

    def __init__(self, clock: LocalClock, *, seed: int) -> None:
        self._clock = clock
        self._rng = Random(f"application {seed}")  # noqa: S311 (no secret)
        self._waiting: list[Request] = []
        self.requests: list[Request] = []
        self.refusals = 0
        # Whether it asks for nothing new.
        self.is_content = False

    def ask(self, _: object) -> None:
        """Ask for new jobs, and again for those of which nobody knows whether they were taken."""
        new = [] if self.is_content else list(self._new())
        self.requests += new
        self._waiting += new
        context = from_lambda(LocalContext(function_name="application", clock=self._clock))
        for request in list(self._waiting):
            try:
                _WAYS[request.way](context, request)
            except (DBAPIError, BotoCoreError, ClientError, NightshiftError):
                self.refusals += 1
            else:
                request.is_accepted = True
                self._waiting.remove(request)

    def _new(self) -> Iterator[Request]:
        for _ in range(self._rng.randint(1, MOST_AT_ONCE)):
            is_good = self._rng.random() > BAD_SHARE
            yield Request(
                # What nobody handles the outbox would not take.
                way=self._rng.choice(WAYS if is_good else WAYS[1:]),
                recipient=f"request-{self._rng.getrandbits(64):016x}@example.com",
                is_good=is_good,
                asked_ms=self._clock.now_ms(),
            )


def _enqueue(context: Context, request: Request) -> None:
    with outbox.transaction(context) as connection:
        new = Job(type=request.type, payload=request.data, idempotency_key=request.recipient)
        outbox.enqueue_many(connection, [new], clock=context.clock)


def _insert(context: Context, request: Request) -> None:
    row = {"id": request.id, "type": request.type, "data": json.dumps(request.data), "now": request.asked_ms}
    statement = text("INSERT INTO jobs (id, type, data, created_at) VALUES (:id, :type, :data, :now)")
    try:
        context.database.autocommit(lambda connection: connection.execute(statement, row))
    except IntegrityError:
        # It was taken the last time, and only the answer was lost.
        return


def _send(context: Context, request: Request) -> None:
    body = {"type": request.type, "data": request.data, "idempotency_key": request.recipient}
    context.client("sqs").send_message(
        QueueUrl=context.settings(QueueSettings).work_queue_url, MessageBody=json.dumps(body)
    )


_WAYS = {"outbox": _enqueue, "insert": _insert, "message": _send}
