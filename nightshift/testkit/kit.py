"""The test-kit: enqueue, drain, redeliver, kill, move the clock, and look at what became of each job."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import select

from chalicelib.core.clock import from_ms
from chalicelib.core.config import Environment
from chalicelib.core.context import Context
from chalicelib.core.errors import TransientError
from chalicelib.queue import dispatch, outbox, worker
from chalicelib.queue.handler import Handler, find_handler
from chalicelib.queue.job import Job
from chalicelib.queue.worker import BatchFailedError, StuckError
from chalicelib.runs import execution
from chalicelib.schema import jobs
from nightshift.local.environment import BUCKET, SENDER
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.database import migrate
from nightshift.testkit.memory import MemoryLambda, MemoryS3, MemorySes, MemorySqs
from nightshift.testkit.permitted import PermittedS3

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WORK, PRIORITY, DEAD = (f"https://sqs.example/{name}" for name in ("work", "priority", "dead-letter"))

# The functions whose policies hold for what comes off a queue.
WORKERS = {WORK: "work", PRIORITY: "work_priority"}


class Killed(BaseException):
    """Ends an invocation as `kill -9` does: nothing after it runs that a real kill would not let run."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Lambda's context object on a frozen clock."""

    clock: FrozenClock
    deadline_ms: int
    aws_request_id: str
    function_name: str = "kit"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda would end the process."""
        return self.deadline_ms - self.clock.now_ms()


class Kit:
    """A deployment in this process, on the database of the URL; with SQLite's own, a file that a test makes."""

    def __init__(self, database_url: str, *, clock: FrozenClock | None = None, **environment: str) -> None:
        self.clock = clock or FrozenClock(NOON)
        self.sqs = MemorySqs(self.clock, redrive={WORK: DEAD, PRIORITY: DEAD})
        self.ses = MemorySes()
        self.s3 = MemoryS3()
        self.awslambda = MemoryLambda(self.clock)
        self.environment = _environment(database_url) | environment
        # Handlers of the test's own, beside those of chalicelib/handlers.
        self.handlers: dict[str, Handler] = {}
        self._killed_at: Literal["begin", "end"] | None = None
        # By the connection that its jobs use: one of its own would be left idle, and dead after the server restarts.
        migrate(self.context().database.engine)

    def context(
        self,
        *,
        seconds: float = 300,
        request_id: str | None = None,
        function_name: str = "kit",
        permitted: str | None = None,
    ) -> Context:
        """Return the context of a new invocation that has so many seconds.

        A function name with a hyphen, as deployed functions have, lets it call the Lambda of the kit. In the bucket it
        may do what the policy of `permitted` allows, or anything without one.
        """
        invocation = Invocation(
            clock=self.clock,
            deadline_ms=self.clock.now_ms() + round(seconds * 1000),
            aws_request_id=request_id or str(uuid.uuid4()),
            function_name=function_name,
        )
        s3 = PermittedS3(self.s3, function=permitted) if permitted else self.s3
        clients = {"sqs": self.sqs, "sesv2": self.ses, "s3": s3, "lambda": self.awslambda}
        return Context(
            invocation, environment=Environment(self.environment), clock=self.clock, client=clients.__getitem__
        )

    def enqueue(self, type_: str, data: Mapping[str, Any], **options: Any) -> str:
        """Enqueue a job in a transaction of its own, have it sent, and return its id."""
        return outbox.enqueue(self.context(), type_, data, **options)

    def send(self, body: Mapping[str, Any] | str, *, queue: str = WORK) -> str:
        """Put a message on a queue as another service does, and return SQS's id of it."""
        text = body if isinstance(body, str) else json.dumps(body)
        return str(self.sqs.send_message(QueueUrl=queue, MessageBody=text)["MessageId"])

    def receive(self, *, queue: str = WORK, limit: int = 10) -> list[dict[str, Any]]:
        """Take the next messages that are visible off a queue."""
        messages: list[dict[str, Any]] = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=limit).get(
            "Messages", []
        )
        return messages

    def work(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        queue: str = WORK,
        seconds: float = 300,
    ) -> dict[str, int] | None:
        """Give messages to the worker as Lambda's trigger does; None when the invocation failed or was killed.

        The trigger deletes the batch when the invocation succeeds, and keeps what is left of it when it fails.
        """
        name = "priority" if queue == PRIORITY else "work"
        try:
            context = self.context(seconds=seconds, permitted=WORKERS[queue])
            answer = worker.work(event(messages), context, queue=name, find=self._find)
        except (BatchFailedError, StuckError, TransientError, Killed):
            return None
        for message in messages:
            self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return answer

    def fire(self, task: str, **payload: Any) -> dict[str, Any]:
        """Fire a task at this moment as EventBridge does, or as a person with a payload, and return the summary."""
        event = payload or scheduled_event(from_ms(self.clock.now_ms()))
        return execution.execute(task, event=event, context=self.context())

    def drain(self, *, queue: str = WORK) -> None:
        """Work until no message of the queue is visible."""
        while messages := self.receive(queue=queue):
            self.work(messages, queue=queue)

    def dispatch(self) -> dict[str, Any]:
        """Run dispatch once."""
        return dispatch.dispatch(self.context())

    def settle(self, *, minutes: int = 600) -> None:
        """Let the time pass, dispatching and draining whenever something falls due, until no job waits or it is up."""
        until_ms = self.clock.now_ms() + 60_000 * minutes
        while True:
            self.dispatch()
            self.drain()
            self.drain(queue=PRIORITY)
            waiting = [job.dispatch_at for job in self.jobs() if job.dispatch_at is not None]
            waiting += [held.visible_ms for url in (WORK, PRIORITY) for held in self.sqs.messages(url) if waiting]
            if not waiting or self.clock.now_ms() >= until_ms:
                return
            # Dispatch comes once a minute, and sends what falls due before its next time.
            self.clock.advance(max(60.0, (min(waiting) - self.clock.now_ms()) / 1000))

    def redeliver(self, job_id: str, *, queue: str = WORK) -> None:
        """Have a message come that asks for this job once more."""
        job = self.job(job_id)
        self.send({"type": job.type, "data": job.data, "id": job_id}, queue=queue)

    @contextmanager
    def killed_at(self, moment: Literal["begin", "end"]) -> Iterator[None]:
        """Have each handler's process killed just before its work begins, or just after it has ended."""
        self._killed_at = moment
        try:
            yield
        finally:
            self._killed_at = None

    def jobs(self) -> list[Any]:
        """Return the rows of all jobs."""
        query = select(jobs).order_by(jobs.c.created_at, jobs.c.id)
        return self.context().database.autocommit(lambda connection: list(connection.execute(query)))

    def job(self, job_id: str) -> Any:
        """Return the row of a job."""
        query = select(jobs).where(jobs.c.id == job_id)
        return self.context().database.autocommit(lambda connection: connection.execute(query).one())

    def _find(self, context: Context, type_: str) -> Handler:
        handler = self.handlers.get(type_) or find_handler(context, type_)
        return replace(handler, perform=_dying(handler.perform, self._killed_at)) if self._killed_at else handler


def _dying(perform: Callable[[Context, Job[Any]], Any], moment: str) -> Callable[[Context, Job[Any]], Any]:
    def call(context: Context, job: Job[Any]) -> Any:
        if moment == "end":
            perform(context, job)
        raise Killed

    return call


def event(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return messages as the event of Lambda's trigger."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message["Attributes"],
                "messageAttributes": {
                    name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
                    for name, value in message["MessageAttributes"].items()
                },
            }
            for message in messages
        ]
    }


def _environment(database_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "WORK_QUEUE_URL": WORK,
        "PRIORITY_QUEUE_URL": PRIORITY,
        "DEAD_LETTER_QUEUE_URL": DEAD,
        "BUCKET": BUCKET,
        "MAIL_FROM": SENDER,
        "MAIL_RATE": "1000",
        "SITE_NAME": "Slow Harbour",
        "SITE_URL": "https://slow-harbour.example",
        "UNSUBSCRIBE_URL": "https://slow-harbour.example/unsubscribe",
        "UNSUBSCRIBE_SECRETS": "not a secret: for tests of handlers only",
    }
