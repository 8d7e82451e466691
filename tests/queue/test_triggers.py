"""Both kinds of trigger: one that ignores what a function answers, and one that is told of single messages.

A plain `chalice deploy` makes the first: it deletes the whole batch when the function returns, and nothing when it
raises. The other deletes what is not among `batchItemFailures`, and nothing when the function raises.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from chalicelib.core.context import Context
from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.queue import worker
from chalicelib.queue.handler import Handler, find_handler
from chalicelib.queue.job import OVER, Job
from chalicelib.queue.services import payloads
from chalicelib.queue.worker import BatchFailedError
from nightshift.local.invocation import sqs_event
from nightshift.testkit.kit import DEAD, WORK, Killed, Kit
from nightshift.testkit.memory import VISIBILITY_SECONDS
from tests.queue.samples import Note, handle, insert_job, left, pause, resume
from tests.sweep import some

Trigger = Callable[[Kit, Sequence[Mapping[str, Any]]], None]

# What becomes of a job in the end, whatever happens on the way.
ENDS = {
    "good": "completed",
    "fails once": "completed",
    "fails": "dead",
    "hopeless": "dead",
    "kills once": "completed",
    "unreadable": "dead",
    "unheard of": "dead",
    "waits": "completed",
    "expired": "expired",
    "paused": "completed",
    "held": "completed",
    "in s3": "completed",
    "done": "completed",
}


def invoke(kit: Kit, messages: Sequence[Mapping[str, Any]]) -> Any:
    event = sqs_event([dict(message) for message in messages])

    def find(context: Context, type_: str) -> Handler:
        return kit.handlers.get(type_) or find_handler(context, type_)

    return worker.work(event, kit.context(), queue="work", find=find)


def delete(kit: Kit, messages: Sequence[Mapping[str, Any]]) -> None:
    for message in messages:
        kit.sqs.delete_message(QueueUrl=WORK, ReceiptHandle=message["ReceiptHandle"])


def plain(kit: Kit, messages: Sequence[Mapping[str, Any]]) -> None:
    """The trigger that ignores the answer."""
    try:
        invoke(kit, messages)
    except (BatchFailedError, TransientError, Killed):
        return
    delete(kit, messages)


def reporting(kit: Kit, messages: Sequence[Mapping[str, Any]]) -> None:
    """The trigger that honours the answer: without a list, or with an empty one, the batch was a success."""
    try:
        answer = invoke(kit, messages)
    except (BatchFailedError, TransientError, Killed):
        return
    failed = {item["itemIdentifier"] for item in answer.get("batchItemFailures") or ()}
    delete(kit, [message for message in messages if message["MessageId"] not in failed])


TRIGGERS: dict[str, Trigger] = {"plain": plain, "reporting": reporting}


def send(kit: Kit, kind: str, job_id: str) -> str:
    """Put a message of this kind on the queue, and return the id of its job."""
    body: dict[str, Any] = {"type": "note", "data": {"text": kind}, "id": job_id}
    match kind:
        case "unreadable":
            return kit.send("no JSON")
        case "unheard of" | "paused":
            body |= {"type": kind.replace(" ", "_"), "data": {}}
        case "waits":
            body["not_before"] = "2026-03-02T12:20:00Z"
        case "expired":
            body["expires_at"] = "2026-03-02T12:00:00Z"
        case "held":
            lease = kit.clock.now_ms() + 60_000
            insert_job(kit, id=job_id, status="processing", attempts=1, lease_until=lease, dispatch_at=lease)
        case "done":
            insert_job(kit, id=job_id, status="completed", attempts=1, dispatch_at=None)
        case "in s3":
            kit.send(payloads(kit.context()).store(f'{{"type":"note","data":{{}},"id":"{job_id}"}}'))
            return job_id
    kit.send(body)
    return job_id


def perform(job: Job[Note]) -> None:
    match job.payload.text:
        case "fails once" if job.attempt == 1:
            raise ValueError("no")
        case "fails":
            raise ValueError("no")
        case "hopeless":
            raise PermanentError("never")


def settled_by(kit: Kit, trigger: Trigger) -> None:
    """Let the time pass until nothing waits, under this trigger."""
    for _ in range(100):
        kit.dispatch()
        while messages := kit.receive():
            trigger(kit, messages)
        if not left(kit) and all(job.status in OVER for job in kit.jobs()):
            return
        kit.clock.advance(60)
    raise AssertionError("something waits still")


@pytest.mark.parametrize("seed", some(2, of=4))
@pytest.mark.parametrize("trigger", TRIGGERS)
def test_of_any_mix_of_outcomes_no_message_is_lost(
    kit: Kit, trigger: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    killed = False

    def act(job: Job[Note]) -> None:
        nonlocal killed
        if job.payload.text == "kills once" and not killed:
            killed = True
            raise Killed
        perform(job)

    begun = handle(kit, act)
    handle(kit, type_="paused")
    pause(kit, "paused")
    kinds = [rng.choice(list(ENDS)) for _ in range(30)]
    expected = {send(kit, kind, f"{n} {kind}".replace(" ", "-")): kind for n, kind in enumerate(kinds)}
    # A bad quarter of an hour: S3 is away, and SQS refuses now this and now that.
    with monkeypatch.context() as patch:
        patch.setattr(kit.s3, "get_object", away)
        for _ in range(10):
            kit.sqs.refuse = set(rng.sample(OPERATIONS, rng.randrange(3)))
            if messages := kit.receive(limit=rng.randrange(1, 11)):
                TRIGGERS[trigger](kit, messages)
            kit.clock.advance(90)
        kit.sqs.refuse = set()
    resume(kit, "paused")
    settled_by(kit, TRIGGERS[trigger])
    ends = {job.id: job.status for job in kit.jobs()}
    assert ends == {job_id: ENDS[kind] for job_id, kind in expected.items()}
    # Of what is dead each has its letter, and nothing else has.
    letters = Counter(held.attributes["job_id"]["StringValue"] for held in kit.sqs.messages(DEAD))
    assert set(letters) == {job_id for job_id, end in ends.items() if end == "dead"}
    # None was tried more often than it may, beside what the one kill repeated.
    assert max(Counter(job.id for job in begun).values()) <= 3 + 1


OPERATIONS = ["DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessageBatch", "SendMessage"]


def away(**_: Any) -> dict[str, Any]:
    raise EndpointConnectionError(endpoint_url="https://s3.example")


@pytest.mark.parametrize("trigger", TRIGGERS)
@pytest.mark.parametrize("failing", [set(), {0}, {4, 9}, set(range(10))], ids=["none", "one", "two", "all"])
def test_just_what_failed_stays_on_the_queue(kit: Kit, trigger: str, failing: set[int]) -> None:
    def fail_some(job: Job[Note]) -> None:
        if job.payload.text in failing:
            raise ValueError("no")

    handle(kit, fail_some, backoff_seconds=(VISIBILITY_SECONDS,))
    for n in range(10):
        kit.send({"type": "note", "data": {"text": n}})
    TRIGGERS[trigger](kit, kit.receive())
    assert sorted(held.body for held in kit.sqs.messages(WORK)) == [
        f'{{"type": "note", "data": {{"text": {n}}}}}' for n in sorted(failing)
    ]
