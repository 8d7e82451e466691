"""The local day: fires when they are due, batches as they come, and an end that loses nothing."""

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.clock import from_ms, to_ms
from chalicelib.schedule.schedule import Schedule
from nightshift.dev.runtime import QUEUES, Runtime
from nightshift.dev.scheduler import Scheduler
from nightshift.local.aws import LocalAws
from nightshift.local.environment import PRIORITY_QUEUE, QUEUE
from nightshift.local.function import Function, InvocationError
from nightshift.local.invocation import LocalClock

# What each function is called with it notes in a file, with the time on its clock.
APP = """
import json, os
from pathlib import Path

def note(function, event, context, **more):
    call = {"function": function, "event": event, "request_id": context.aws_request_id, "at": context.clock.now_ms()}
    with Path("notes").open("a") as file:
        print(json.dumps({**call, **more}), file=file)

def quick(event, context):
    note("quick", event, context)
    print("a line of quick")
    return "done"

def failing(event, context):
    note("failing", event, context)
    raise ValueError("it broke")

def slow(event, context):
    note("slow", event, context)
    context.hurry.wait(60)
    note("slow", event, context, left=context.get_remaining_time_in_millis())

def hanging(event, context):
    while True:
        pass

def deaf(event, context):
    note("deaf", event, context)
    while True:
        pass

def dying(event, context):
    note("dying", event, context)
    os._exit(3)

def work(event, context):
    note("work", event, context)
    if any(record["body"] == "bad" for record in event["Records"]):
        raise ValueError("a job failed")

work_priority = work
"""
START = datetime(2026, 3, 29, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A project of a few functions, an emulator, and what was logged."""

    project: Path
    aws: LocalAws
    log: list[tuple[str, str]] = field(default_factory=list)

    def function(self, name: str, clock: LocalClock) -> Function:
        """Return one of the functions."""
        return Function(name, project=self.project, clock=clock, log=lambda line: self.log.append((name, line)))

    def notes(self, function: str | None = None) -> list[dict[str, Any]]:
        """Return what the functions noted, in order."""
        path = self.project / "notes"
        notes = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [note for note in notes if function in (None, note["function"])]

    def live(
        self,
        schedules: Mapping[str, str],
        *,
        hours: float = 1,
        speed: float = 20_000,
        meanwhile: Callable[[Runtime, dict[str, Function]], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        """Live some hours from START on, with these schedules."""
        clock = LocalClock(ahead_ms=0)
        clock.set(to_ms(START))
        planned = {name: Schedule(text) for name, text in schedules.items()}

        async def live() -> None:
            functions = {name: self.function(name, clock) for name in (*schedules, *QUEUES)}
            runtime = Runtime(
                functions=functions,
                scheduler=Scheduler(planned, start=START),
                aws=self.aws,
                clock=clock,
                speed=speed,
                log=lambda function, line: self.log.append((function, line)),
            )
            other: asyncio.Task[None] | None = asyncio.create_task(meanwhile(runtime, functions)) if meanwhile else None
            await runtime.run(until=START + timedelta(hours=hours))
            await runtime.close()
            if other is not None:
                await other

        asyncio.run(live())


@pytest.fixture
def stage(tmp_path: Path, aws: LocalAws) -> Stage:
    (tmp_path / "app.py").write_text(APP)
    return Stage(project=tmp_path, aws=aws)


def test_functions_that_start_together_leave_ctrl_c_working(stage: Stage) -> None:
    clock = LocalClock(ahead_ms=0)

    async def start_both() -> None:
        # Each start waits for its process while the other begins.
        functions = [stage.function("quick", clock) for _ in range(4)]
        await asyncio.gather(*(function.invoke({}) for function in functions))
        for function in functions:
            await function.close()

    asyncio.run(start_both())
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what another process does."""
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.01)


def test_a_night_whose_clocks_change_fires_each_schedule_when_it_is_due(stage: Stage) -> None:
    stage.live({"quick": "30 2 * * * Europe/Berlin", "failing": "@hourly"}, hours=3.5)
    (note,) = stage.notes("quick")
    assert note["event"]["time"] == "2026-03-29T01:00:00Z"
    assert note["event"]["detail-type"] == "Scheduled Event"
    assert from_ms(note["at"]) - datetime(2026, 3, 29, 1, tzinfo=UTC) < timedelta(minutes=1)
    first_tries = {note["event"]["time"] for note in stage.notes("failing")}
    assert first_tries == {f"2026-03-29T0{hour}:00:00Z" for hour in (0, 1, 2, 3)}


def test_what_is_due_at_the_start_belongs_to_it_and_what_is_due_at_the_end_to_what_comes_after(stage: Stage) -> None:
    stage.live({"quick": "@hourly"}, hours=2)
    assert [note["event"]["time"] for note in stage.notes()] == ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"]


@pytest.mark.parametrize("text", ["0 1 * * *", "30 2 * * * Europe/Berlin", "0 3 * * * Europe/Berlin", "* * * * *"])
def test_a_start_at_which_clocks_go_forward_is_due_as_any_other(text: str) -> None:
    start = datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert Scheduler({"quick": Schedule(text)}, start=start).next_at == start


def test_an_interval_begins_to_count_with_the_day(stage: Stage) -> None:
    stage.live({"quick": "every 20 minutes"}, hours=1.1)
    moments = [datetime.fromisoformat(note["event"]["time"]) for note in stage.notes()]
    assert [round((moment - START) / timedelta(minutes=1)) for moment in moments] == [20, 40, 60]


def test_what_a_function_prints_is_logged(stage: Stage) -> None:
    stage.live({"quick": "5 0 * * *"})
    assert stage.log == [("quick", "a line of quick")]


def test_a_fire_that_fails_is_tried_twice_again_under_the_same_request(stage: Stage) -> None:
    stage.live({"failing": "5 0 * * *"})
    notes = stage.notes()
    assert len({note["request_id"] for note in notes}) == 1
    assert [round((note["at"] - notes[0]["at"]) / 60_000) for note in notes] == [0, 1, 3]
    assert [line for _, line in stage.log] == [
        "ValueError: it broke; will be retried",
        "ValueError: it broke; will be retried",
        "ValueError: it broke; no more retries",
    ]


def test_a_process_that_dies_is_a_failed_invocation_and_the_next_has_another(stage: Stage) -> None:
    stage.live({"dying": "5 0 * * *"})
    assert len(stage.notes()) == 3
    assert stage.log[0] == ("dying", "dying: its process ended with code 3; will be retried")


def test_messages_come_in_batches_and_are_gone_when_the_worker_has_returned(stage: Stage) -> None:
    sqs = stage.aws.client("sqs")
    for number in range(12):
        sqs.send_message(QueueUrl=f"{stage.aws.endpoint}/queue/{QUEUE}", MessageBody=str(number))
    sqs.send_message(QueueUrl=f"{stage.aws.endpoint}/queue/{PRIORITY_QUEUE}", MessageBody="at once")
    stage.live({})
    batches = [[record["body"] for record in note["event"]["Records"]] for note in stage.notes()]
    assert sorted(body for batch in batches for body in batch) == sorted([*map(str, range(12)), "at once"])
    assert max(map(len, batches)) == 10
    assert stage.aws.messages(QUEUE) == stage.aws.messages(PRIORITY_QUEUE) == []


def test_a_batch_stays_when_the_worker_fails(stage: Stage) -> None:
    sqs = stage.aws.client("sqs")
    sqs.send_message(QueueUrl=f"{stage.aws.endpoint}/queue/{QUEUE}", MessageBody="bad")
    stage.live({}, hours=0.1)
    assert [message.body for message in stage.aws.messages(QUEUE)] == ["bad"]
    assert stage.log == [("work", "ValueError: a job failed")]


def test_the_end_leaves_what_is_in_work_no_time_and_begins_nothing_more(stage: Stage) -> None:
    async def end(runtime: Runtime, _: object) -> None:
        await until(lambda: stage.notes("slow"))
        runtime.stop()

    stage.live({"slow": "5 0 * * *", "quick": "30 0 * * *"}, hours=9, speed=1000, meanwhile=end)
    began, handed_on = stage.notes()
    assert (began["function"], handed_on["left"]) == ("slow", 0)


def test_an_end_that_comes_before_a_process_is_ready_is_not_lost(stage: Stage) -> None:
    async def end(runtime: Runtime, functions: dict[str, Function]) -> None:
        await until(lambda: functions["slow"].is_busy)
        runtime.stop()

    stage.live({"slow": "5 0 * * *"}, hours=9, meanwhile=end)
    assert stage.notes()[-1]["left"] == 0


def test_what_is_killed_fails(stage: Stage) -> None:
    async def kill(runtime: Runtime, _: object) -> None:
        await until(lambda: stage.notes("deaf"))
        runtime.stop()
        runtime.kill()

    stage.live({"deaf": "5 0 * * *"}, meanwhile=kill)
    assert ("deaf", "deaf: its process was ended by signal 9; will be retried") in stage.log


def test_an_invocation_that_outlives_its_time_is_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightshift.local.function.GRACE_SECONDS", 1)
    clock = LocalClock(ahead_ms=0)

    async def invoke() -> Any:
        hanging, quick = stage.function("hanging", clock), stage.function("quick", clock)
        with pytest.raises(InvocationError, match="hanging: its process was ended by signal 9"):
            await hanging.invoke({}, timeout_ms=100)
        assert await quick.invoke({}) == "done"
        for function in (hanging, quick):
            await function.close()

    asyncio.run(invoke())


def test_invocations_of_one_function_take_turns_in_one_process(stage: Stage) -> None:
    async def invoke() -> None:
        quick = stage.function("quick", LocalClock(ahead_ms=0))
        with suppress(InvocationError):
            await asyncio.gather(*(quick.invoke({"number": number}) for number in range(5)))
        await quick.close()

    asyncio.run(invoke())
    assert [note["event"]["number"] for note in stage.notes()] == [0, 1, 2, 3, 4]
