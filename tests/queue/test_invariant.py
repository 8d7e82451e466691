"""The queue's invariant, whatever happens: nothing is lost, nothing ends twice, and no effect comes twice.

Hypothesis makes up stories: jobs of every origin, and processes that are killed, lose the database, or are refused by
SQS, SES and S3 at any of their steps, with other processes in between. INVARIANT_STORIES=5000 has it tell so many for
each database, and others each time; without it they are few, or several times as many with SWEEP=1, and always the
same.
"""

import math
import multiprocessing
import os
import random
import sqlite3
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Literal, cast

import msgspec
import pymysql
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Engine, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from chalicelib.core import telemetry
from chalicelib.core.clock import from_ms
from chalicelib.core.context import Context
from chalicelib.core.database import insert_missing
from chalicelib.core.errors import NightshiftError, PermanentError, TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.queue import claim, outbox, sqs, worker
from chalicelib.queue import job as job_module
from chalicelib.queue.claim import EARLY_MS
from chalicelib.queue.dispatch import LOOKAHEAD_MS
from chalicelib.queue.handler import Handler, Rate
from chalicelib.queue.job import OVER, TAKEN, WAITING, Job, Status
from chalicelib.queue.message import INVALID
from chalicelib.queue.payloads import is_pointer
from chalicelib.queue.services import payloads as payloads_of
from chalicelib.schema import emails, external_data, jobs, pauses, rate_slots
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import DEAD, NOON, PRIORITY, WORK, Killed, Kit
from nightshift.testkit.memory import VISIBILITY_SECONDS, Held, MemoryS3, MemorySes, MemorySqs
from tests.queue.samples import execute, fail, handle, insert_job, pause, statuses
from tests.servers import on_a_server, on_each_server
from tests.sweep import IS_SWEEP, stories

STORIES = int(os.environ.get("INVARIANT_STORIES", "0"))
FEW_STORIES = {"sqlite": 8, "mysql": 3, "mariadb": 3}
STEPS = 40
# What is long in a story.
LIMIT = 1000
QUEUES = {"work": WORK, "priority": PRIORITY}
REFUSABLE = ("SendMessage", "SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
CALLS = (
    "send_message",
    "send_message_batch",
    "delete_message",
    "delete_message_batch",
    "change_message_visibility_batch",
    "send_email",
    "put_object",
    "get_object",
)
OF_DATABASE = ("lost", "deadlock", "denied", "away")
OF_AWS = ("refused", "unanswered")
OF_OTHERS = ("worker", "copies", "dispatch", "cancel", "redrive", "edit")
# Words in a job's data or error that end its process, or are refused, each time.
UNREADABLE, UNCLAIMABLE, UNRECORDABLE = "unreadable", "unclaimable", "unrecordable"
KINDS = ["killed", "slow", "late", "uncertain", "partly", *OF_DATABASE, *OF_AWS, *OF_OTHERS]


@dataclass(kw_only=True)
class Fault:
    """What happens to a process at the n-th place where it can, and at how many places from there on."""

    kind: str
    at: int
    times: int
    seconds: int


@dataclass(kw_only=True)
class Process:
    """An invocation."""

    faults: list[Fault]
    deadline_ms: int
    is_worker: bool
    # By what it was kept from recording what it did.
    disturbed_by: set[str] = field(default_factory=set)
    # Its machine stood still, and it goes on where Lambda would have ended it.
    is_late: bool = False


class Weather:
    """Has faults happen to one process at a time, at its statements, commits and calls to AWS."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FrozenClock(NOON)
        self.steps = 0
        self.process: Process | None = None
        # Until then the database lets nobody in.
        self.away_until_ms = 0
        # What is refused each time has kept something from being recorded.
        self.has_poisoned = False
        # By kind of fault: what others do in between.
        self.others: dict[str, Callable[[], None]] = {}
        self._engine = engine
        dialect = engine.dialect
        for name in ("do_execute", "do_executemany"):
            monkeypatch.setattr(dialect, name, self._in_weather(getattr(dialect, name)))
        monkeypatch.setattr(dialect, "do_commit", self._commit_in_weather(dialect.do_commit))

    @contextmanager
    def over(self, process: Process | None) -> Iterator[None]:
        """Let the faults of this process happen to what runs within; none without one."""
        before, self.process = self.process, process
        try:
            yield
        finally:
            self.process = before

    def step(self, place: Literal["statement", "commit", "call"], what: str = "") -> str:
        """Let happen what is due, and return which fault the caller has to bring about itself."""
        self.steps += 1
        process = self.process
        if process is None:
            return ""
        if place != "call" and self.clock.now_ms() < self.away_until_ms:
            process.disturbed_by.add("away")
            return "away"
        for fault in process.faults:
            if fault.times and self._can_happen(fault.kind, place, what):
                fault.at -= 1
                if fault.at <= 0:
                    fault.times -= 1
                    if self._happen(fault, process):
                        return fault.kind
        if self.clock.now_ms() > process.deadline_ms and not process.is_late:
            process.disturbed_by.add("killed")
            raise Killed
        return ""

    def _can_happen(self, kind: str, place: str, what: str) -> bool:
        if kind in OF_DATABASE:
            return place in {"statement", "commit"}
        if kind == "uncertain":
            return place == "commit"
        if kind in OF_AWS:
            return place == "call"
        if kind == "partly":
            return what == "send_message_batch"
        # SQLite has one writer at a time, and another one would wait for this very thread.
        pool: Any = self._engine.pool
        is_between = what.startswith("BEGIN") or pool.checkedout() == 0
        return kind not in OF_OTHERS or is_between or self._engine.dialect.name != "sqlite"

    def _happen(self, fault: Fault, process: Process) -> bool:
        if fault.kind in {*OF_AWS, "partly"}:
            return True
        if fault.kind in OF_OTHERS:
            with self.over(None):
                self.others[fault.kind]()
            return False
        if fault.kind == "slow":
            self.clock.advance(fault.seconds)
            return False
        process.disturbed_by.add(fault.kind)
        if fault.kind == "away":
            self.away_until_ms = self.clock.now_ms() + 1000 * fault.seconds
        if fault.kind == "killed":
            raise Killed
        if fault.kind == "late":
            process.is_late = True
            self.clock.advance(fault.seconds)
            return False
        return True

    def _in_weather(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        def call(cursor: Any, statement: str, *arguments: Any) -> Any:
            with self._broken_off(cursor.connection):
                if kind := self.step("statement", statement):
                    raise self._error(kind)
                self._refuse_poison(statement, str(arguments))
            return execute(cursor, statement, *arguments)

        return call

    def _refuse_poison(self, statement: str, values: str) -> None:
        is_claim = (
            statement.startswith("INSERT INTO jobs")
            and UNCLAIMABLE in values
            and self.process
            and self.process.is_worker
        )
        if is_claim or (statement.startswith("UPDATE jobs") and UNRECORDABLE in values):
            self.has_poisoned = True
            raise self._error("denied")

    def _commit_in_weather(self, commit: Callable[[Any], None]) -> Callable[[Any], None]:
        def call(connection: Any) -> None:
            with self._broken_off(connection):
                kind = self.step("commit")
                if kind in {"", "uncertain"}:
                    commit(connection)
                if kind:
                    raise self._error(kind)

        return call

    @contextmanager
    def _broken_off(self, connection: Any) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # A server notices in its own time that a client is gone, and its locks would be there for a while.
            connection.rollback()
            raise

    def _error(self, kind: str) -> Exception:
        if self._engine.dialect.name != "sqlite":
            return pymysql.err.OperationalError({"deadlock": 1213, "denied": 1142, "away": 2003}.get(kind, 2013), kind)
        error = sqlite3.OperationalError(kind)
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY if kind == "denied" else sqlite3.SQLITE_BUSY
        return error


class InWeather:
    """A client of AWS whose calls fail, before they are made or behind."""

    def __init__(self, client: Any, weather: Weather) -> None:
        self._client = client
        self._weather = weather

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if name not in CALLS:
            return attribute

        def call(**arguments: Any) -> Any:
            kind = self._weather.step("call", name)
            if kind == "refused":
                raise refusal(503, "ServiceUnavailable", "later")
            if kind == "partly":
                first, *others = arguments["Entries"]
                attribute(**arguments | {"Entries": others})
                return {"Failed": [{"Id": first["Id"], "Code": "InternalError", "SenderFault": False}]}
            answer = attribute(**arguments)
            if name == "get_object" and UNREADABLE.encode() in answer["Body"].getvalue():
                self._weather.has_poisoned = True
                raise Killed
            if kind == "unanswered":
                raise ReadTimeoutError(endpoint_url="https://aws.example")
            return answer

        return call


def refusal(status: int, code: str, message: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "AnyOperation")


SES_ANSWERS: dict[str, Exception] = {
    "slower": refusal(429, "TooManyRequestsException", "slower"),
    "refused": refusal(400, "MessageRejected", "not to them"),
    "suspended": refusal(403, "AccountSuspendedException", "suspended"),
    "failed": refusal(500, "InternalFailure", "perhaps"),
}


class Ses(MemorySes):
    """SES, which has taken a mail even where it answers that it failed."""

    def send_email(self, **call: Any) -> dict[str, Any]:
        if self.answers and self.answers[0] is SES_ANSWERS["failed"]:
            self.sent.append(call)
        return super().send_email(**call)


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How attempts go: each takes so many seconds, and the first `fails` end with an error."""

    fails: int = 0
    error: str = "transient"
    seconds: int = 0
    text: str = ""


ERRORS: dict[str, Exception] = {
    "transient": TransientError("not now"),
    "permanent": PermanentError("never"),
    "crash": RuntimeError("a bug"),
    UNRECORDABLE: RuntimeError(UNRECORDABLE),
}
MOST_ATTEMPTS = 3

Effect = Callable[[Context, Job[Payload]], object]


@dataclass
class Performance:
    """One time that a handler did its work."""

    job_id: str
    process: Process | None
    has_succeeded: bool = False

    @property
    def is_recorded(self) -> bool:
        """Whether its process was there to record that it succeeded."""
        return self.has_succeeded and not (self.process and self.process.disturbed_by)


@dataclass(kw_only=True)
class Wanted:
    """A job that somebody asks for, in some way."""

    type: str
    payload: dict[str, Any]
    key: str | None
    unique_for: int | None
    begins_in: int | None
    lives_for: int | None
    queue: Any
    id: str | None
    body: str | None

    @property
    def unique(self) -> dict[str, Any]:
        """Its key and how long that is held, where it has one."""
        named = {"idempotency_key": self.key, "unique_for": self.unique_for if self.key else None}
        return {name: value for name, value in named.items() if value}

    def moments(self, now_ms: int) -> tuple[Any, Any]:
        """Return when it is due and when it expires, where it says so."""
        begins_ms = now_ms + 1000 * (self.begins_in or 0)
        return (
            None if self.begins_in is None else from_ms(begins_ms),
            None if self.lives_for is None else from_ms(begins_ms + 1000 * self.lives_for),
        )


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([usual] * 4 * len(others) + list(others))


TYPES = ["row", "send_email", "quick", "outside", "once", "paced", "chain"]
payloads = st.fixed_dictionaries(
    {},
    optional={
        "fails": st.integers(1, 4),
        "error": st.sampled_from(sorted(ERRORS)),
        "seconds": st.sampled_from([5, 55, 250]),
        "text": st.sampled_from(["x" * 900, "x" * 2000, UNREADABLE * 100, UNCLAIMABLE]),
    },
)
# Of the types and kinds of its story: few, so that what takes several of the same comes about.
wanted = st.runner().flatmap(
    lambda story: st.builds(
        Wanted,
        type=st.sampled_from(story.types),
        payload=st.just({}) | payloads,
        key=mostly(None, "k1", "k2"),
        unique_for=mostly(None, 3600),
        begins_in=mostly(None, -60, 30, 600, 7200),
        lives_for=mostly(None, 1, 20, 1000),
        queue=mostly("work", "priority"),
        id=mostly(None, "a", "A", "b"),
        body=mostly(None, "{", '{"type": "row", "data": {"fails": "often"}}', '{"type": "no", "data": {}}'),
    )
)
faults = st.runner().flatmap(
    lambda story: st.lists(
        st.builds(
            Fault,
            kind=st.sampled_from(story.kinds),
            at=st.integers(1, 5) | st.integers(1, 25),
            times=st.integers(1, 5),
            seconds=st.sampled_from([1, 30, 280, 400, 3000]),
        ),
        min_size=1,
        max_size=3,
    )
)
whichever = st.integers(0, 20)
queues = mostly("work", "priority")
limits = st.sampled_from([10, 10, 3, 1])


class Story(RuleBasedStateMachine):
    """A deployment, and what happens to it."""

    def __init__(self, kit: Kit, weather: Weather, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.kit, self.weather = kit, weather
        ids = random.Random(1)
        # The same story has the same ids, and so the same order of rows, each time that it is told.
        monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=ids.getrandbits(128), version=4))
        self.clock = kit.clock = weather.clock = FrozenClock(NOON)
        self.sqs = MemorySqs(kit.clock, redrive={WORK: DEAD, PRIORITY: DEAD})
        self.ses = Ses()
        kit.sqs = cast(MemorySqs, InWeather(self.sqs, weather))
        kit.ses = cast(MemorySes, InWeather(self.ses, weather))
        self.s3 = MemoryS3()
        kit.s3 = cast(MemoryS3, InWeather(self.s3, weather))
        kit.handlers = {handler.type: handler for handler in self._handlers()}
        weather.others = {
            "worker": self._work_all,
            "copies": self._work_copies,
            "dispatch": self._dispatch,
            "cancel": partial(self._cancel, 0),
            "redrive": self._redrive,
            "edit": partial(self._edit, 0),
        }
        weather.away_until_ms, weather.has_poisoned = 0, False
        for table in (jobs, emails, external_data, pauses, rate_slots):
            self._execute(delete(table))
        self.types: list[str] = []
        self.kinds: list[str] = []
        self.accepted: set[str] = set()
        self.sent: list[tuple[str, str, str | None]] = []
        self.mails = 0
        self.over: dict[str, Any] = {}
        self.reopened: Counter[str] = Counter()
        # Their messages, and copies of them, may have them tried anew at any time.
        self.redriven: set[str] = set()
        self.performances: defaultdict[str, list[Performance]] = defaultdict(list)
        self.performing: dict[str, int] = {}
        self.violations: list[str] = []
        self.delivered: list[tuple[str, Held]] = []
        self.kept: list[tuple[str, list[dict[str, Any]]]] = []
        self.in_work: list[tuple[str, dict[str, Any]]] = []
        self.is_disturbed = False

    @initialize(
        types=st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3, unique=True),
    )
    def begin(self, types: list[str], kinds: list[str]) -> None:
        self.types, self.kinds = types, kinds

    def _handlers(self) -> Iterator[Handler]:
        def handler(type_: str, effect: Effect, **policy: Any) -> Handler:
            usual: dict[str, Any] = {
                "max_attempts": MOST_ATTEMPTS,
                "backoff_seconds": (40, 400),
                "timeout_seconds": 60,
            }
            return Handler(type=type_, payload=Payload, perform=partial(self._perform, effect), **usual | policy)

        yield handler("row", self._add_row)
        yield handler("quick", lambda context, job: None)
        yield handler("outside", lambda context, job: context.store.put(job.id, b"", content_type="text/plain"))
        yield handler("once", self._add_row, max_attempts=1)
        yield handler("paced", self._add_row, rate=Rate(count=1, seconds=100), backoff_seconds=(50_000,))
        yield handler("chain", self._enqueue_next)

    def _perform(self, effect: Effect, context: Context, job: Job[Payload]) -> Counts:
        process = self.weather.process
        performance = Performance(job.id, process)
        self.performances[job.id].append(performance)
        if not (process and process.is_late):
            self._check_may_begin(job, by=context.request_id)
        self.performing[job.id] = self.clock.now_ms() + context.remaining_ms()
        try:
            if job.payload.seconds:
                self.clock.advance(job.payload.seconds)
                self.weather.step("call")
            if len(self.performances[job.id]) <= job.payload.fails:
                raise ERRORS[job.payload.error]
            effect(context, job)
        finally:
            self.performing.pop(job.id, None)
        performance.has_succeeded = True
        return Counts(total=1, succeeded=1)

    def _check_may_begin(self, job: Job[Payload], *, by: str) -> None:
        with self.weather.over(None):
            row, context = self.kit.job(job.id), self.kit.context()
            paused = context.database.transact(claim.paused_types)
        wrong = {
            "is another's": row.status not in TAKEN or row.claimed_by != by,
            "is performed with other data": msgspec.json.decode(row.data, type=Payload) != job.payload,
            "is performed twice at a time": self.performing.get(job.id, 0) > self.clock.now_ms(),
            "had expired": row.expires_at is not None and row.expires_at <= row.started_at,
            "is not due": max(row.due_at, row.slot_at or 0) > row.started_at + EARLY_MS,
            "is paused": row.type in paused,
        }
        # An assertion here would pass for an error of the handler's.
        self.violations += [f"{row} {what}" for what, is_so in wrong.items() if is_so]

    def _add_row(self, context: Context, job: Job[Payload]) -> None:
        row = {"id": job.id, "external_id": job.id, "data": "{}", "synced_at": 0}
        context.database.transact(
            lambda connection: connection.execute(insert_missing(external_data, connection.dialect).values(row))
        )

    def _enqueue_next(self, context: Context, job: Job[Payload]) -> None:
        new: Job[Any] = Job(type="row", payload={}, idempotency_key=f"after {job.id}")
        with outbox.transaction(context) as connection:
            outbox.enqueue_many(connection, [new], clock=context.clock)

    @rule(
        new=st.lists(wanted, min_size=1, max_size=8),
        ending=mostly("sent", "committed", "rolled back"),
        faults=st.just([]) | faults,
    )
    def enqueue(self, new: list[Wanted], ending: str, faults: list[Fault]) -> None:
        before = self._ids()
        context, ids = self.kit.context(), list[str]()
        if ending == "sent":
            with (
                self._process(faults),
                outbox.transaction(context) as connection,
            ):
                ids = outbox.enqueue_many(connection, [self._new(each) for each in new], clock=self.clock)
        elif ending == "committed":
            with context.database.begin() as connection:
                ids = outbox.enqueue_many(connection, [self._new(each) for each in new], clock=self.clock)
        else:
            with (
                suppress(ZeroDivisionError),
                outbox.transaction(context) as connection,
            ):
                outbox.enqueue_many(connection, [self._new(each) for each in new], clock=self.clock)
                raise ZeroDivisionError
        after = self._ids()
        if ending == "rolled back":
            assert after == before
        elif ending == "committed" or not faults:
            assert set(ids) <= after
        self.accepted |= after

    def _ids(self) -> set[str]:
        # The row of what is being read is there for the time of the reading.
        return {row.id for row in self.kit.jobs() if row.type != INVALID}

    def _new(self, wanted: Wanted) -> Job[Any]:
        run_at, expires_at = wanted.moments(self.clock.now_ms())
        return Job(
            type=wanted.type,
            payload=self._data(wanted),
            run_at=run_at,
            expires_at=expires_at,
            queue=wanted.queue,
            **wanted.unique,
        )

    def _data(self, wanted: Wanted) -> dict[str, Any]:
        if wanted.type != "send_email":
            return wanted.payload
        self.mails += 1
        text = wanted.payload.get("text", "Hello")
        return {"to": "ann@example.org", "subject": f"mail {self.mails}", "text": text}

    @rule(new=st.lists(wanted, min_size=1, max_size=6))
    def send(self, new: list[Wanted]) -> None:
        for each in new:
            # Who sends an id again means the same job, and so the same key.
            key, id_ = (None, None) if each.body else (None if each.id else each.key, each.id)
            not_before, expires_at = each.moments(self.clock.now_ms())
            body = {
                "type": each.type,
                "data": self._data(each),
                "id": id_,
                "not_before": not_before and not_before.isoformat(),
                "expires_at": expires_at and expires_at.isoformat(),
                **(each.unique if key else {}),
            }
            text = each.body or msgspec.json.encode(body).decode()
            if len(text) > LIMIT:
                text = payloads_of(self.kit.context()).store(text)
            message_id = self._put(text, queue=each.queue)
            self.sent.append((id_ or message_id, each.type, key))

    def _put(self, body: str, *, queue: str) -> str:
        held = Held(body=body, attributes={}, visible_ms=0)
        self.sqs.messages(QUEUES[queue]).append(held)
        return held.message_id

    @rule(wanted=wanted, type_=mostly(None, "no", "No Type"))
    def insert_as_of_old(self, wanted: Wanted, type_: str | None) -> None:
        id_ = str(uuid.uuid4())
        data = wanted.body or msgspec.json.encode(self._data(wanted)).decode()
        columns = {"id": id_, "type": type_ or wanted.type, "data": data, "status": "pending"}
        self._execute(insert(jobs).values(columns | {"created_at": self.clock.now_ms()}))
        self.accepted.add(id_)

    @rule(faults=st.just([]) | faults)
    def dispatch(self, faults: list[Fault]) -> None:
        with self._process(faults):
            self.kit.dispatch()

    @rule(queue=queues, limit=limits)
    def work(self, queue: str, limit: int) -> None:
        self._work(queue, limit, 300, [])

    @rule(queue=queues, limit=limits, seconds=st.sampled_from([300, 300, 300, 80, 15, 9]), faults=faults)
    def work_in_bad_weather(self, queue: str, limit: int, seconds: int, faults: list[Fault]) -> None:
        self._work(queue, limit, seconds, faults)

    @rule(queue=queues, limit=limits, faults=faults)
    def work_and_keep_the_messages(self, queue: str, limit: int, faults: list[Fault]) -> None:
        self.kept.append(self._work(queue, limit, 300, faults))

    def _work(self, queue: str, limit: int, seconds: int, faults: list[Fault]) -> tuple[str, list[dict[str, Any]]]:
        now_ms = self.clock.now_ms()
        if not any(held.visible_ms <= now_ms for held in self.sqs.messages(QUEUES[queue])):
            queue = "work" if queue == "priority" else "priority"
        messages = self._receive(queue, limit)
        self._invoke(queue, messages, seconds, faults)
        return queue, messages

    def _invoke(self, queue: str, messages: list[dict[str, Any]], seconds: int, faults: list[Fault]) -> None:
        if messages:
            self.in_work = [(queue, message) for message in messages]
            with self._process(faults, seconds=seconds, is_worker=True):
                self.kit.work(messages, queue=QUEUES[queue], seconds=seconds)

    @rule(which=whichever, faults=st.just([]) | faults)
    def work_late(self, which: int, faults: list[Fault]) -> None:
        if self.kept:
            queue, messages = self.kept.pop(which % len(self.kept))
            self._invoke(queue, messages, 300, faults)

    @rule(
        what=st.sampled_from(["lapses", "comes again", "is reordered", "is asked again"]),
        queue=st.sampled_from(sorted(QUEUES)),
        which=whichever,
    )
    def a_message(self, what: str, queue: str, which: int) -> None:
        messages = self.sqs.messages(QUEUES[queue])
        if what == "lapses":
            self.kept.append((queue, self._receive(queue, 1 + which)))
        elif what == "is reordered":
            messages[:] = [*messages[which:][::-1], *messages[:which]]
        elif what == "comes again" and self.delivered:
            queue, held = self.delivered[which % len(self.delivered)]
            self.sqs.messages(QUEUES[queue]).append(replace(held, visible_ms=0, receives=0))
        elif what == "is asked again" and (rows := self.kit.jobs()):
            body = {"type": "row", "data": {}, "id": rows[which % len(rows)].id}
            self._put(msgspec.json.encode(body).decode(), queue=queue)

    @rule(seconds=st.sampled_from([1, 30, 60, 300, 1800, 3600, 6 * 3600]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(
        refused=st.sets(st.sampled_from(REFUSABLE)),
        answers=st.lists(st.sampled_from(sorted(SES_ANSWERS)), max_size=3),
    )
    def trouble(self, refused: set[str], answers: list[str]) -> None:
        self.sqs.refuse, self.ses.answers = refused, [SES_ANSWERS[answer] for answer in answers]

    @rule(what=st.sampled_from(["cancel", "edit", "reopen", "redrive", "pause", "resume"]), which=whichever)
    def operator(self, what: str, which: int) -> None:
        match what:
            case "cancel":
                self._cancel(which)
            case "edit":
                self._edit(which)
            case "reopen":
                self._reopen(which)
            case "redrive":
                self._redrive()
            case "pause":
                values = {"kind": "job", "name": TYPES[which % len(TYPES)], "reason": "?", "paused_at": 0}
                self._execute(delete(pauses))
                self._execute(insert(pauses).values(values))
            case "resume":
                self._execute(delete(pauses))

    def _cancel(self, which: int) -> None:
        if rows := [row for row in self.kit.jobs() if row.status in WAITING]:
            waits = (jobs.c.id == rows[which % len(rows)].id, jobs.c.status.in_(WAITING))
            over = {"status": Status.CANCELLED.value, "ended_at": self.clock.now_ms(), "dispatch_at": None}
            with suppress(SQLAlchemyError):
                self._execute(update(jobs).where(*waits).values(over))

    def _edit(self, which: int) -> None:
        kinds = set(TYPES) - {"send_email"}
        if rows := [row for row in self.kit.jobs() if row.status in WAITING and row.type in kinds]:
            waits = (jobs.c.id == rows[which % len(rows)].id, jobs.c.status.in_(WAITING))
            data = msgspec.json.encode({"text": f"edited at step {self.weather.steps}"}).decode()
            with suppress(SQLAlchemyError):
                self._execute(update(jobs).where(*waits).values(data=data))

    def _reopen(self, which: int) -> None:
        if rows := [row for row in self.kit.jobs() if row.status == Status.DEAD]:
            # No operator is so quick that it is the same moment still.
            self.clock.advance(1)
            id_, now_ms = rows[which % len(rows)].id, self.clock.now_ms()
            self.kit.context().database.transact(lambda connection: claim.reopen(connection, [id_], dispatch_ms=now_ms))
            letters = self.sqs.messages(DEAD)
            letters[:] = [letter for letter in letters if read_attributes(letter).get("job_id") != id_]
            self.reopened[id_] += 1
            self.over.pop(id_, None)

    def _redrive(self) -> None:
        """Have SQS's own mover move the dead letters back."""
        letters = self.sqs.messages(DEAD)
        for letter in letters:
            moved = move_back(letter, now_ms=self.clock.now_ms())
            self.sqs.messages(WORK).append(moved)
            if job_id := read_attributes(letter).get("job_id"):
                self.redriven.add(job_id)
                if self.over.get(job_id, [""])[0] == Status.DEAD:
                    del self.over[job_id]
            else:
                # SQS had given it up before any worker could, so it is whatever its new id makes it.
                self.sent = [
                    (moved.message_id if id_ == letter.message_id else id_, type_, key) for id_, type_, key in self.sent
                ]
        letters.clear()

    @contextmanager
    def _process(self, faults: Sequence[Fault], *, seconds: float = 300, is_worker: bool = False) -> Iterator[None]:
        deadline_ms = self.clock.now_ms() + round(1000 * seconds)
        own = [replace(fault) for fault in faults]
        process = Process(faults=own, deadline_ms=deadline_ms, is_worker=is_worker)
        try:
            with self.weather.over(process):
                yield
        except (Killed, SQLAlchemyError):
            assert process.disturbed_by
        except (NightshiftError, ClientError, BotoCoreError):
            assert faults or process.disturbed_by or self.sqs.refuse or self.ses.answers
        self.is_disturbed |= bool(process.disturbed_by)

    def _work_all(self) -> None:
        for queue, url in QUEUES.items():
            if messages := self._receive(queue, 10):
                with suppress(NightshiftError, SQLAlchemyError, ClientError):
                    self.kit.work(messages, queue=url)

    def _work_copies(self) -> None:
        """Have another worker get what this process is at."""
        for queue, message in self.in_work:
            held = Held(body=message["Body"], attributes=message["MessageAttributes"], visible_ms=0)
            held.message_id, held.sent_ms = message["MessageId"], int(message["Attributes"]["SentTimestamp"])
            self.sqs.messages(QUEUES[queue]).insert(0, held)
        self._work_all()

    def _dispatch(self) -> None:
        with suppress(NightshiftError):
            self.kit.dispatch()

    def _receive(self, queue: str, limit: int) -> list[dict[str, Any]]:
        messages = self.kit.receive(queue=QUEUES[queue], limit=limit)
        ids = {message["MessageId"] for message in messages}
        self.delivered += [(queue, held) for held in self.sqs.messages(QUEUES[queue]) if held.message_id in ids]
        return messages

    def _execute(self, statement: Any) -> None:
        with self.weather.over(None):
            self.kit.context().database.transact(lambda connection: connection.execute(statement))

    @invariant()
    def what_is_over_stays_so(self) -> None:
        assert not self.violations
        rows = {row.id: (row.status, row.ended_at, row.completed_at) for row in self.kit.jobs()}
        assert self.over.items() <= rows.items()
        for id_, row in rows.items():
            if row[0] in OVER and not (row[0] == Status.DEAD and id_ in self.redriven):
                self.over[id_] = row

    def teardown(self) -> None:
        self._settle()
        self.what_is_over_stays_so()
        rows = {row.id: row for row in self.kit.jobs()}
        self._check_ends(rows)
        self._check_keys(rows)
        self._check_effects(rows)

    def _settle(self) -> None:
        self.sqs.refuse, self.ses.answers, self.weather.away_until_ms = set(), [], 0
        self._execute(delete(pauses))
        for _ in range(300):
            self._dispatch()
            for url in QUEUES.values():
                self.kit.drain(queue=url)
            next_ms = [held.visible_ms for url in QUEUES.values() for held in self.sqs.messages(url)]
            next_ms += [row.dispatch_at - LOOKAHEAD_MS for row in self.kit.jobs() if row.status not in OVER]
            if not next_ms:
                return
            # Kit.settle goes minute by minute, and waits for no message.
            self.clock.advance(max(min(next_ms) - self.clock.now_ms(), 1000) / 1000)
        raise AssertionError("it never settles")

    def _check_ends(self, rows: dict[str, Any]) -> None:
        letters = self.sqs.messages(DEAD)
        assert self.accepted <= set(rows)
        for id_, type_, key in self.sent:
            assert (
                id_ in rows
                or (key and any((row.type, row.idempotency_key) == (type_, key) for row in rows.values()))
                # The database takes its id for another's, or SQS gave it up before a worker could.
                or any(read_attributes(letter).get("job_id") == id_ for letter in letters)
                or any(letter.message_id == id_ or f'"id":"{id_}"' in self._body_of(letter) for letter in letters)
            ), (id_, type_, key)
        for row in rows.values():
            assert row.status in OVER
            if row.status == Status.DEAD:
                reasons = [
                    read_attributes(letter)["reason"]
                    for letter in letters
                    if read_attributes(letter).get("job_id") == row.id
                ]
                assert any(row.last_error.endswith(reason) for reason in reasons), (row, reasons)
                is_disturbed = self.is_disturbed or self.weather.has_poisoned
                assert is_disturbed or "the process ended" not in row.last_error, row

    def _body_of(self, letter: Held) -> str:
        if not is_pointer(letter.body):
            return letter.body
        key = msgspec.json.decode(letter.body)[1]["s3Key"]
        return self.s3.objects[key].decode()

    def _check_keys(self, rows: dict[str, Any]) -> None:
        by_key = defaultdict(list)
        for row in sorted(rows.values(), key=lambda row: row.created_at):
            if row.idempotency_key:
                by_key[row.type, row.idempotency_key].append(row)
        for same in by_key.values():
            for row, later in pairwise(same):
                assert row.unique_until is not None, same
                assert row.unique_until <= later.created_at, same

    def _check_effects(self, rows: dict[str, Any]) -> None:
        mails = Counter(read_subject(mail) for mail in self.ses.sent)
        with engine_of(self.kit).connect() as connection:
            added = set(connection.execute(select(external_data.c.id)).scalars())
        keys = {row.idempotency_key for row in rows.values()}
        self._check_repetitions(rows)
        for row in rows.values():
            is_done, performances = row.status == Status.COMPLETED, self.performances[row.id]
            times = math.inf if row.id in self.redriven else 1 + self.reopened[row.id]
            assert is_done or not any(performance.is_recorded for performance in performances), row
            # One attempt that was claimed in company, and never ended, is not counted.
            assert len(performances) <= times * (1 if row.type == "once" else MOST_ATTEMPTS + 1), row
            if row.type == "send_email" and "subject" in row.data:
                sent = mails[msgspec.json.decode(row.data)["subject"]]
                assert is_done <= sent <= times, (row, sent)
            if is_done and row.type in {"row", "once", "paced"}:
                assert row.id in added, row
            if is_done and row.type == "chain":
                assert f"after {row.id}" in keys, row

    def _check_repetitions(self, rows: dict[str, Any]) -> None:
        """Check that a kill alone has at most one effect repeated of all that its process had."""
        repeated: Counter[int] = Counter()
        for performances in self.performances.values():
            for each, _ in pairwise(performances):
                has_effect = rows[each.job_id].type not in {"quick", "send_email"}
                if has_effect and each.has_succeeded and each.process and each.process.disturbed_by == {"killed"}:
                    repeated[id(each.process)] += 1
        assert all(number == 1 for number in repeated.values())


def move_back(letter: Held, *, now_ms: int) -> Held:
    return replace(letter, sent_ms=now_ms, visible_ms=0, receives=0, message_id=str(uuid.uuid4()))


def read_attributes(letter: Held) -> dict[str, str]:
    return {name: value["StringValue"] for name, value in letter.attributes.items()}


def read_subject(mail: dict[str, Any]) -> str:
    lines: list[str] = mail["Content"]["Raw"]["Data"].decode().splitlines()
    return next(line.removeprefix("Subject: ") for line in lines if line.startswith("Subject: "))


def engine_of(kit: Kit) -> Engine:
    return kit.context().database.engine


@pytest.fixture(params=["sqlite", "mysql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    own: str = request.getfixturevalue(f"{request.param}_url")
    # Who waits for a lock that another process holds, in the same thread, would wait for ever.
    return own if request.param == "sqlite" else f"{own}?init_command=SET+SESSION+innodb_lock_wait_timeout=0"


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    level = logger.log_level
    logger.setLevel("CRITICAL")
    for module in (telemetry, worker):
        monkeypatch.setattr(module, "measure", lambda *_: None)
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("quiet")
def test_each_job_ends_once_and_has_its_effect_at_most_once(
    url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = Kit(url, JOBS_RETENTION_DAYS="3650")
    engine = engine_of(kit)
    weather = Weather(engine, monkeypatch)
    # What a handler takes is counted in steps, not by how busy this machine is; and short bodies go to S3.
    monkeypatch.setattr("chalicelib.queue.perform.time", SimpleNamespace(perf_counter=lambda: weather.steps))
    for module in (sqs, job_module):
        monkeypatch.setattr(module, "LIMIT", LIMIT)
    monkeypatch.setattr(job_module, "SHORT_BYTES", LIMIT)
    run_state_machine_as_test(
        cast(Any, lambda: Story(kit, weather, monkeypatch)),
        settings=settings(
            max_examples=STORIES or stories(FEW_STORIES[request.node.callspec.params["url"]]),
            derandomize=not STORIES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.usefixtures("quiet")
def test_kill_at_each_statement_loses_no_job_and_costs_no_neighbour_an_attempt(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = Kit(url)
    weather = Weather(engine_of(kit), monkeypatch)
    kit.clock = weather.clock
    kit.sqs = cast(MemorySqs, InWeather(MemorySqs(kit.clock, redrive={WORK: DEAD}), weather))
    kit.s3 = cast(MemoryS3, InWeather(MemoryS3(), weather))
    monkeypatch.setattr(job_module, "LIMIT", LIMIT)
    monkeypatch.setattr(job_module, "SHORT_BYTES", LIMIT)
    long = {"text": "x" * 2 * LIMIT}

    def perform(job: Job[Any]) -> None:
        weather.step("call")
        if job.payload.text == "fails":
            raise PermanentError("no")

    begun = handle(kit, perform)
    for at in range(1, 100, 1 if IS_SWEEP else 4):
        for table in (jobs, external_data):
            execute(kit, delete(table))
        for queue in (WORK, DEAD):
            kit.sqs.messages(queue).clear()
        begun.clear()
        good = [kit.enqueue("note", {"text": 1}), kit.enqueue("note", long), kit.send({"type": "note", "data": {}})]
        for id_ in (None, "own"):
            message = {"type": "note", "data": long} | ({"id": id_} if id_ else {})
            sent = kit.send(payloads_of(kit.context()).store(msgspec.json.encode(message).decode()))
            good.append(id_ or sent)
        bad = [kit.send({"type": "note", "data": {"text": "fails"}}), kit.send("{")]
        fault = Fault(kind="killed", at=at, times=1, seconds=0)
        process = Process(faults=[fault], deadline_ms=kit.clock.now_ms() + 300_000, is_worker=True)
        with weather.over(process), suppress(Killed):
            kit.work(kit.receive())
        kit.settle()
        kit.clock.advance(VISIBILITY_SECONDS)
        kit.settle()
        assert statuses(kit) == dict.fromkeys(good, "completed") | dict.fromkeys(bad, "dead"), at
        assert {row.attempts for row in kit.jobs() if row.id in good} <= {1, 2}, at
        # One of them was at work when the process ended, and at most one more is done again.
        assert len(begun) <= len(good) + 1 + 2, at
        if fault.times:
            return
    raise AssertionError("the batch has more steps than that")


def rival(url: str, ids: Sequence[str], barrier: Any) -> None:
    """Work through messages that ask for these jobs, each batch with all others at once, and note what was done."""
    kit = Kit(url)
    begun = handle(kit, type_="count")
    for id_ in ids:
        kit.send({"type": "count", "data": {}, "id": id_})
    while messages := kit.receive():
        barrier.wait(60)
        kit.work(messages)
    for job in begun:
        row = {"id": str(uuid.uuid4()), "external_id": str(uuid.uuid4()), "data": job.id, "synced_at": 0}
        execute(kit, insert(external_data), row)


@on_a_server
def test_four_workers_with_copies_of_the_same_500_messages_do_each_job_once(database_url: str) -> None:
    kit = Kit(database_url)
    # The first half is recorded, and of it they find the rows; of the others they insert them.
    ids = [insert_job(kit, id=str(uuid.uuid4()), type="count") for _ in range(250)]
    ids += [str(uuid.uuid4()) for _ in range(250)]
    forking = multiprocessing.get_context("forkserver")
    barrier = forking.Barrier(4)
    rivals = [forking.Process(target=rival, args=(database_url, ids, barrier)) for _ in range(4)]
    for each in rivals:
        each.start()
    for each in rivals:
        each.join(120)
    assert [each.exitcode for each in rivals] == [0, 0, 0, 0]
    # What all four had to leave, since they were at it together, comes once more.
    rival(database_url, ids, forking.Barrier(1))
    assert statuses(kit) == dict.fromkeys(ids, "completed")
    with engine_of(kit).connect() as connection:
        done = connection.execute(select(external_data.c.data)).scalars().all()
    assert sorted(done) == sorted(ids)


@pytest.mark.skipif(not IS_SWEEP, reason="it inserts many rows; the bench has more of them")
@on_each_server
def test_hundred_thousand_paused_jobs_keep_no_other_job_waiting(kit: Kit) -> None:
    begun, held = handle(kit), handle(kit, type_="held")
    row = {"type": "held", "data": "{}", "status": "pending", "created_at": 0}
    for start in range(0, 100_000, 1000):
        execute(kit, insert(jobs), [{**row, "id": str(n)} for n in range(start, start + 1000)])
    pause(kit, "held")
    for n in range(30):
        insert_job(kit, data=msgspec.json.encode({"text": n}).decode(), id=f"note-{n}")
    kit.dispatch()
    kit.drain()
    assert (len(begun), held, kit.sqs.messages(WORK)) == (30, [], [])


def test_unread_body_whose_message_expired_is_given_up(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(**_: Any) -> None:
        raise Killed

    handle(kit)
    job_id = kit.send(payloads_of(kit.context()).store('{"type": "note", "data": {}}'))
    with monkeypatch.context() as patch:
        patch.setattr(kit.s3, "get_object", die)
        kit.work(kit.receive())
    kit.sqs.messages(WORK).clear()
    kit.clock.advance(13 * 86_400)
    kit.dispatch()
    assert statuses(kit) == {job_id: "processing"}
    kit.clock.advance(2 * 86_400)
    kit.dispatch()
    assert (statuses(kit), letters_of(kit)) == ({job_id: "dead"}, [job_id])


def move_all_back(kit: Kit) -> None:
    """Move all dead letters back as SQS's own mover does."""
    letters = kit.sqs.messages(DEAD)
    kit.sqs.messages(WORK).extend(move_back(letter, now_ms=kit.clock.now_ms()) for letter in letters)
    letters.clear()


def letters_of(kit: Kit) -> list[str | None]:
    return [read_attributes(letter).get("job_id") for letter in kit.sqs.messages(DEAD)]


def test_redriven_message_reopens_job_despite_copy_in_same_batch(kit: Kit) -> None:
    begun = fail(kit, PermanentError("no"))
    job_id = kit.enqueue("note", {})
    kit.drain()
    kit.redeliver(job_id)
    move_all_back(kit)
    kit.drain()
    assert len(begun) == 2
    assert letters_of(kit) == [job_id]


def test_message_redriven_before_job_is_recorded_as_dead_reopens_it(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, send = fail(kit, PermanentError("no")), kit.sqs.send_message
    job_id = kit.enqueue("note", {})

    def send_and_move(**call: Any) -> dict[str, Any]:
        answer = send(**call)
        move_all_back(kit)
        kit.clock.advance(1)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(kit.sqs, "send_message", send_and_move)
        kit.work(kit.receive())
    assert (kit.job(job_id).status, letters_of(kit)) == ("dead", [])
    kit.drain()
    assert len(begun) == 2
    assert letters_of(kit) == [job_id]


def test_redriven_unreadable_message_is_the_same_job(kit: Kit) -> None:
    job_id = kit.send("{")
    kit.drain()
    move_all_back(kit)
    kit.drain()
    assert statuses(kit) == {job_id: "dead"}
    assert letters_of(kit) == [job_id]


@pytest.mark.parametrize("id_", ["", "\x01"])
def test_row_whose_id_sqs_refuses_does_not_block_other_jobs(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, id_: str
) -> None:
    send = kit.sqs.send_message

    def send_strictly(**call: Any) -> dict[str, Any]:
        values = [attribute["StringValue"] for attribute in call["MessageAttributes"].values()]
        if not all(value.isprintable() and value for value in values):
            raise refusal(400, "InvalidParameterValue", "an attribute")
        return send(**call)

    monkeypatch.setattr(kit.sqs, "send_message", send_strictly)
    insert_job(kit, id=id_)
    other = insert_job(kit, id="other")
    kit.dispatch()
    assert statuses(kit) == {id_: "dead", other: "pending"}
    assert len(kit.sqs.messages(WORK)) == 1
