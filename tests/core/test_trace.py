"""Traces: one id finds all that came of a run, through fan-out, hand-over and worker."""

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.context import Context
from chalicelib.core.errors import RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import carried, trace_of, traceparent
from chalicelib.queue import outbox
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import Job
from chalicelib.queue.message import Message, decode, encode
from chalicelib.queue.services import queues
from chalicelib.runs import execution
from chalicelib.runs.claims import Run
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.kit import Kit
from tests.runs.plan import DONE, MINUTE, Plan, fail, run_out_of_time, utc
from tests.world import MORNING, World

Log = Callable[[], list[dict[str, Any]]]

# As W3C's recommendation shows one.
THEIRS = "0af7651916cd43dd8448eb211c80319c"
BROUGHT = f"00-{THEIRS}-b7ad6b7169203331-01"
UUID = "5f1cb7a2-0000-4000-8000-00000000abcd"
NOUGHTS = ("0" * 32, str(uuid.UUID(int=0)), f"a{31 * '0'}")
XRAY = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled={}"


def test_the_trace_of_a_uuid_is_the_uuid_and_the_step_its_second_half() -> None:
    assert str(trace_of(UUID)) == "00-5f1cb7a200004000800000000000abcd-800000000000abcd-01"


@given(id_=st.text(min_size=1) | st.uuids().map(str) | st.sampled_from(NOUGHTS))
def test_any_id_has_a_trace_that_w3c_allows_and_always_the_same(id_: str) -> None:
    trace = trace_of(id_)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", str(trace))
    assert trace.id.strip("0")
    assert trace.step.strip("0")
    assert trace_of(id_) == trace


def test_different_ids_have_different_traces() -> None:
    assert len({trace_of(id_).id for id_ in (UUID, "a", "b", *NOUGHTS[:2], "A" * 32)}) == 6


@pytest.mark.parametrize("flags", ["00", "01"])
def test_a_trace_that_is_brought_goes_on_with_a_step_of_its_own_and_its_flags(flags: str) -> None:
    trace = trace_of(UUID, traceparent=f"{BROUGHT[:-2]}{flags}")
    assert str(trace) == f"00-{THEIRS}-800000000000abcd-{flags}"


@pytest.mark.parametrize(
    "brought",
    [
        "",
        "not a trace",
        BROUGHT.upper(),
        BROUGHT.replace("0af", "xyz"),
        BROUGHT.replace(THEIRS, 32 * "0"),
        f"ff{BROUGHT[2:]}",
        BROUGHT[:-1],
        f" {BROUGHT}",
        "²" * 55,
    ],
)
def test_what_is_no_trace_begins_one(brought: str) -> None:
    assert trace_of(UUID, traceparent=brought) == trace_of(UUID)


def test_a_later_version_may_say_more() -> None:
    assert trace_of(UUID, traceparent=f"cc{BROUGHT[2:]}-what-ever").id == THEIRS


def test_a_message_carries_the_trace_in_which_it_is_made_and_none_elsewhere() -> None:
    trace = trace_of(UUID, traceparent=BROUGHT)
    with carried(trace):
        assert Message(type="a", data={}).traceparent == str(trace)
        assert Job(type="a", payload={}).traceparent == str(trace)
        with pytest.raises(ValueError, match="no"), carried(trace_of("other")):
            raise ValueError("no")
        assert traceparent() == str(trace)
    assert Message(type="a", data={}).traceparent is None
    assert Job(type="a", payload={}).traceparent is None


def test_a_message_that_is_read_has_its_own_trace_or_none_wherever_it_is_read() -> None:
    with carried(trace_of(UUID)):
        assert decode('{"type": "a", "data": {}}').traceparent is None
        assert decode(encode(Message(type="a", data={}, traceparent=BROUGHT))).traceparent == BROUGHT


def story(log: Log, trace_id: str) -> list[tuple[str, str]]:
    """Return of each line of a trace what it says, and of which task or type."""
    lines = [line for line in log() if trace_id in (line.get("trace_id"), *line.get("trace_ids", ()))]
    return [(line["message"], line.get("task") or line["type"]) for line in lines]


def test_one_trace_finds_a_digest_from_its_run_to_each_job(world: World, log: Log) -> None:
    world.add_users(101)
    world.add_posts("Hello")
    trace_id = world.fire()["run_id"].replace("-", "")
    # Each message says whose it is.
    messages = world.receive()
    assert {json.loads(each["Body"])["traceparent"] for each in messages} == {f"00-{trace_id}-{trace_id[16:]}-01"}
    world.work(messages)
    assert story(log, trace_id) == [
        ("run started", "daily_digest"),
        ("run succeeded", "daily_digest"),
        ("job succeeded", "send_digest"),
        ("job succeeded", "send_digest"),
    ]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    return Plan(f"sqlite:///{tmp_path / 'test.db'}", monkeypatch, "0 8 * * *")


def test_what_a_task_enqueues_in_a_transaction_carries_its_trace_and_so_does_what_comes_of_that(
    plan: Plan, log: Log
) -> None:
    def perform(context: Context, _run: Run) -> Counts:
        with outbox.transaction(context) as connection:
            outbox.enqueue(connection, "generate_report", {"to": "jane.doe@mail.example.org", "period": "2026-02"})
        return DONE

    plan.perform = perform
    trace_id = plan.fire(utc("03 08:00"))["run_id"].replace("-", "")
    plan.settle()
    jobs = {job.type: job for job in plan.kit.jobs()}
    assert {type_: json.loads(job.envelope)["traceparent"] for type_, job in jobs.items()} == {
        "generate_report": f"00-{trace_id}-{trace_id[16:]}-01",
        "send_email": f"00-{trace_id}-{trace_of(jobs['generate_report'].id).step}-01",
    }
    assert story(log, trace_id) == [
        ("run started", "nightly"),
        ("run succeeded", "nightly"),
        ("job succeeded", "generate_report"),
        ("job succeeded", "send_email"),
    ]


def test_continued_run_and_its_job_share_one_trace(plan: Plan, log: Log) -> None:
    plan.meanwhile(run_out_of_time)
    trace_id = plan.fire(utc("03 08:00"))["run_id"].replace("-", "")
    plan.settle()
    assert story(log, trace_id) == [
        ("run started", "nightly"),
        ("run continues", "nightly"),
        ("run started", "nightly"),
        ("run succeeded", "nightly"),
        ("job succeeded", "continue_run"),
    ]


def test_a_run_that_is_taken_up_keeps_its_trace(plan: Plan, log: Log) -> None:
    plan.meanwhile(fail)
    with pytest.raises(RunFailedError):
        plan.fire(utc("03 08:00"))
    (row,) = plan.rows()
    plan.watch(utc("03 08:00") + 20 * MINUTE)
    plan.settle()
    assert story(log, row.id.replace("-", "")) == [
        ("run started", "nightly"),
        ("run failed", "nightly"),
        ("run rescued", "nightly"),
        ("run started", "nightly"),
        ("run succeeded", "nightly"),
        ("job succeeded", "continue_run"),
    ]


def test_a_dry_run_is_a_trace_by_its_request(plan: Plan) -> None:
    context = plan.kit.context(request_id=UUID)
    assert execution.execute("nightly", event={"dry_run": True}, context=context)["trace_id"] == UUID.replace("-", "")


class Nothing(msgspec.Struct):
    """What a job that does nothing needs."""


def test_jobs_that_are_done_together_name_each_of_their_traces_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    # However slow the machine is.
    monkeypatch.setattr("chalicelib.queue.worker.ALONE_AFTER_SECONDS", 60)
    kit = Kit(f"sqlite:///{tmp_path / 'test.db'}")
    kit.handlers["noop"] = Handler(
        type="noop",
        payload=Nothing,
        perform=lambda _context, _job: DONE,
        max_attempts=3,
        backoff_seconds=(60,),
        timeout_seconds=None,
    )
    for extra in ({"id": "a", "traceparent": BROUGHT}, {"id": "b", "traceparent": BROUGHT}, {"id": UUID}):
        kit.send({"type": "noop", "data": {}, **extra})
    kit.drain()
    (line,) = [line for line in log() if line.get("message") == "jobs succeeded"]
    assert line["job_ids"] == ["a", "b", UUID]
    assert line["trace_ids"] == [THEIRS, UUID.replace("-", "")]


@pytest.mark.parametrize(("sampled", "is_sent"), [("1", True), ("0", False)])
def test_a_message_names_x_rays_trace_where_x_ray_records_this_invocation(
    world: World, monkeypatch: pytest.MonkeyPatch, sampled: str, is_sent: bool
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", XRAY.format(sampled))
    context = world.context()
    sent: list[dict[str, Any]] = []
    # As botocore is about to send it; the emulator keeps none of it.
    events, call = context.client("sqs").meta.events, "provide-client-params.sqs.SendMessageBatch"
    events.register(call, note := lambda params, **_: sent.extend(params["Entries"]))
    queues(context).work.send([Message(type="a", data={}) for _ in range(2)])
    events.unregister(call, note)
    header = {"AWSTraceHeader": {"DataType": "String", "StringValue": XRAY.format(sampled)}}
    assert [entry.get("MessageSystemAttributes") for entry in sent] == 2 * [header if is_sent else None]


def test_each_line_names_x_rays_trace_too(world: World, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", XRAY.format("1"))
    world.invoke(scheduled_event(MORNING))
    lines = [line for line in log() if "message" in line]
    assert {line["xray_trace_id"] for line in lines} == {"1-5759e988-bd862e3fe1be46a994272793"}
