"""An operator's desk: a deployment in this process, and jobs that end as a test wants them to."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from app import PARTS
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError, PermanentError
from chalicelib.core.outcome import Counts
from chalicelib.operate import operate
from chalicelib.queue.handler import Handler, known_types
from chalicelib.queue.job import Job
from chalicelib.schema import jobs
from nightshift.testkit.kit import DEAD, Kit
from nightshift.testkit.memory import VISIBILITY_SECONDS


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to greet."""

    name: str


class Sum(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to add."""

    numbers: list[int]


@dataclass(kw_only=True)
class Desk:
    """Jobs of the types greet, wave and add; each attempt is noted in `done`, and ends with `error` if there is one."""

    kit: Kit
    done: list[Job[Any]] = field(default_factory=list)
    error: Exception | None = None

    def __post_init__(self) -> None:
        for type_, payload in (("greet", Greeting), ("wave", Greeting), ("add", Sum)):
            self.kit.handlers[type_] = Handler(
                type=type_,
                payload=payload,
                perform=self.perform,
                max_attempts=2,
                backoff_seconds=(60,),
                timeout_seconds=None,
            )

    def perform(self, context: Context, job: Job[Any]) -> Counts:
        """Note the attempt, and end as the test wants it."""
        self.done.append(job)
        if self.error is not None:
            raise self.error
        return Counts(total=1, succeeded=1)

    def ask(self, command: str, *, seconds: float = 300, **request: Any) -> dict[str, Any]:
        """Ask for one thing, with the request and the answer through JSON as on Lambda."""
        asked = json.loads(json.dumps({"command": f"jobs.{command}", **request}))
        answer: dict[str, Any] = json.loads(json.dumps(operate(asked, self.kit.context(seconds=seconds), {}, PARTS)))
        return answer

    def refusal(self, command: str, **request: Any) -> str:
        """Return the sentence that a request is refused with; it has changed nothing."""
        before = self.state()
        with pytest.raises(InvalidRequestError) as refused:
            self.ask(command, **request)
        assert self.state() == before
        return str(refused.value)

    def state(self) -> list[Any]:
        """Return every row, and every message with when it can be seen."""
        queues = {url: [(held.body, held.visible_ms) for held in held_] for url, held_ in self.kit.sqs.queues.items()}
        return [self.kit.jobs(), {url: messages for url, messages in queues.items() if messages}]

    def give_up(
        self, type_: str = "greet", data: Mapping[str, Any] | None = None, *, error: str = "it broke", **options: Any
    ) -> str:
        """Have a job given up for this reason, and return its id."""
        job_id = self.kit.enqueue(type_, data or {"name": "Ann"}, **options)
        before, self.error = self.error, PermanentError(error)
        self.kit.drain()
        self.error = before
        self.done.clear()
        assert self.kit.job(job_id).status == "dead"
        return job_id

    def insert(self, **row: Any) -> str:
        """Write a row as somebody else would, and return its id."""
        values = {
            "id": "theirs",
            "type": "greet",
            "data": '{"name": "Ann"}',
            "created_at": self.kit.clock.now_ms(),
        } | row
        self.kit.context().database.transact(lambda connection: connection.execute(insert(jobs).values(**values)))
        return str(values["id"])

    def bury_unexplained(self, body: Mapping[str, Any] | str) -> str:
        """Put a message on the dead-letter queue as SQS itself does, with no reason; return SQS's id of it."""
        return self.kit.send(body, queue=DEAD)

    def have_sqs_give_up(self, body: Mapping[str, Any] | str) -> str:
        """Have SQS move a message to the dead-letter queue after ten deliveries; return SQS's id of it."""
        message_id = self.kit.send(body)
        while not any(held.message_id == message_id for held in self.kit.sqs.messages(DEAD)):
            self.kit.receive()
            self.kit.clock.advance(VISIBILITY_SECONDS)
        return message_id

    def names(self) -> list[str]:
        """Return whom the attempts were to greet."""
        return [job.payload.name for job in self.done]

    def letters(self) -> list[str | None]:
        """Return of each dead letter that can be seen now the job that it is said to be of."""
        now_ms = self.kit.clock.now_ms()
        visible = [held for held in self.kit.sqs.messages(DEAD) if held.visible_ms <= now_ms]
        return [held.attributes.get("job_id", {}).get("StringValue") for held in visible]

    def statuses(self) -> dict[str, str]:
        """Return the status of each job."""
        return {row.id: row.status for row in self.kit.jobs()}


@pytest.fixture
def desk(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk(kit=Kit(database_url))
    types = sorted([*known_types(), *desk.kit.handlers])
    monkeypatch.setattr("chalicelib.queue.handler.known_types", lambda: types)
    for type_, handler in desk.kit.handlers.items():
        module = ModuleType(type_)
        setattr(module, type_, handler)
        monkeypatch.setitem(sys.modules, f"chalicelib.handlers.{type_}", module)
    return desk
