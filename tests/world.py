"""A deployment on this machine, with the verbs that tests are told in."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from chalicelib.application import posts, users
from chalicelib.core.clock import to_ms
from chalicelib.core.config import Environment
from chalicelib.core.context import Context, client
from chalicelib.queue import worker
from chalicelib.queue.worker import BatchFailedError
from chalicelib.runs import execution
from chalicelib.schema import deliveries
from chalicelib.schema import runs as runs_table
from nightshift.local.aws import LocalAws
from nightshift.local.invocation import scheduled_event, sqs_event
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Invocation

MORNING = datetime(2016, 8, 4, 8, 0, tzinfo=UTC)
YESTERDAY = "2016-08-03"
MINUTES = 60


@dataclass(kw_only=True)
class World:
    """The deployment: change `settings` or the clock, then fire and drain."""

    aws: LocalAws
    environment: Mapping[str, str]
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(MORNING))

    def __post_init__(self) -> None:
        self.sqs = self.aws.client("sqs")

    def configure(self, **settings: object) -> None:
        """Change settings, as an environment variable would."""
        self.environment = {**self.environment, **{name.upper(): str(value) for name, value in settings.items()}}

    def context(self, *, request_id: str | None = None, seconds: float = 300, function_name: str = "world") -> Context:
        """Return the context of a new invocation, or of Lambda's repetition of the one with this id.

        A function name with a hyphen, as deployed functions have, lets it call Lambda.
        """
        lambda_context = Invocation(
            clock=self.clock,
            deadline_ms=self.clock.now_ms() + round(seconds * 1000),
            aws_request_id=request_id or str(uuid.uuid4()),
            function_name=function_name,
        )
        return Context(lambda_context, environment=Environment(self.environment), clock=self.clock, client=client)

    def fire(
        self, moment: datetime = MORNING, *, request_id: str | None = None, seconds: float = 300
    ) -> dict[str, Any]:
        """Fire the digest as EventBridge does."""
        return self.invoke(scheduled_event(moment), request_id=request_id, seconds=seconds)

    def invoke(self, event: object, *, request_id: str | None = None, seconds: float = 300) -> dict[str, Any]:
        """Invoke the digest with any event."""
        return execution.execute(
            "daily_digest", event=event, context=self.context(request_id=request_id, seconds=seconds)
        )

    def receive(self) -> list[dict[str, Any]]:
        """Take the messages that are visible off the queue, without deleting them."""
        messages: list[dict[str, Any]] = []
        while batch := self.sqs.receive_message(
            QueueUrl=self.environment["WORK_QUEUE_URL"], MaxNumberOfMessages=10, WaitTimeSeconds=0
        ).get("Messages"):
            messages += batch
        return messages

    def work(self, messages: list[dict[str, Any]], *, seconds: float = 300) -> dict[str, int]:
        """Give messages to the worker as its trigger does, deleting the batch when it returns."""
        answer = worker.work(sqs_event(messages), self.context(seconds=seconds), queue="work")
        for message in messages:
            self.sqs.delete_message(QueueUrl=self.environment["WORK_QUEUE_URL"], ReceiptHandle=message["ReceiptHandle"])
        return answer

    def drain(self) -> int:
        """Work until no message is visible, and return how many batches failed."""
        failed = 0
        while messages := self.receive():
            for start in range(0, len(messages), 10):
                try:
                    self.work(messages[start : start + 10])
                except BatchFailedError:
                    failed += 1
        return failed

    def messages_left(self) -> int:
        """Return the number of messages on the work queue, visible or not."""
        return self._count(self.environment["WORK_QUEUE_URL"])

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return the messages on the dead-letter queue."""
        answer = self.sqs.receive_message(
            QueueUrl=self.environment["DEAD_LETTER_QUEUE_URL"], MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _count(self, url: str) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def add_users(self, count: int, *, prefix: str = "user", **values: Any) -> list[str]:
        """Add readers who want the digest, unless `values` says otherwise; return their ids in order."""
        ids = [str(uuid.uuid5(uuid.NAMESPACE_OID, f"{prefix}{n}")) for n in range(count)]
        rows = [
            {
                "id": id_,
                "name": f"Reader {n}",
                "email": f"{prefix}{n}@example.com",
                "is_verified": True,
                "is_admin": False,
                "email_digest": True,
                "created_at": 0,
                "updated_at": 0,
                **values,
            }
            for n, id_ in enumerate(ids)
        ]
        self.execute(insert(users), rows)
        return sorted(ids)

    def add_posts(self, *titles: str, at: datetime = MORNING - timedelta(days=1), **values: Any) -> None:
        """Add posts, a second apart from `at` on."""
        self.execute(
            insert(posts),
            [
                {
                    "id": str(uuid.uuid4()),
                    "title": title,
                    "points": 0,
                    "comments": 0,
                    "views": 0,
                    "created_at": to_ms(at) + 1000 * n,
                    **values,
                }
                for n, title in enumerate(titles)
            ],
        )

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Execute one statement in a transaction of its own and return its rows, if it has any."""

        def work(connection: Any) -> Any:
            result = connection.execute(statement, parameters)
            return result.all() if result.returns_rows else None

        return self.context().database.transact(work)

    def ledger(self) -> dict[str, str]:
        """Return the status of each delivery by user id."""
        return {row.user_id: row.status for row in self.execute(select(deliveries))}

    def run(self) -> Any:
        """Return the only row of the run history."""
        (row,) = self.execute(select(runs_table))
        return row

    def recipients(self) -> list[str]:
        """Return the recipients of the mails that were accepted, in order."""
        return [mail.recipient for mail in self.aws.sent()]
