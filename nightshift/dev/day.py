"""The local day: what is due fires by the clock, and the worker gets what comes on its queues, until it is ended."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, Protocol

from chalicelib.core.clock import from_ms
from nightshift.dev.timetable import Due, Timetable
from nightshift.local.aws import LocalAws
from nightshift.local.clock import LocalClock
from nightshift.local.environment import PRIORITY_QUEUE, QUEUE
from nightshift.local.function import InvocationError
from nightshift.local.invocation import sqs_event

QUEUES = {"work": QUEUE, "work_priority": PRIORITY_QUEUE}
# How long nothing is looked at while nothing is due, and while something is in work, in seconds of the machine's.
IDLE_SECONDS, BUSY_SECONDS = 1.0, 0.05


class Invocable(Protocol):
    """What is called when it is due, as a Function is."""

    async def invoke(self, event: object, *, request_id: str | None = None) -> Any:
        """Return the answer to an event. Raises InvocationError."""

    def hurry(self) -> None:
        """Leave what is in work no time."""

    def kill(self) -> None:
        """End what is in work at once."""

    async def close(self) -> None:
        """End when what is in work has ended."""


class Day:
    """One stretch of time. While something is in work it goes as the machine's clock does; else `speed` times as fast.

    `functions` are those of the timetable and of the queues; `tell` is given what to say of each.
    """

    def __init__(
        self,
        *,
        functions: Mapping[str, Invocable],
        timetable: Timetable,
        aws: LocalAws,
        clock: LocalClock,
        speed: float,
        tell: Callable[[str, str], None],
    ) -> None:
        self._functions = functions
        self._timetable = timetable
        self._aws = aws
        self._clock = clock
        self._speed = speed
        self._tell = tell
        self._ended = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._delivering: set[str] = set()

    async def live(self, *, until: datetime | None) -> None:
        """Let it pass, up to a moment or until it is ended, and then wait for what is in work.

        What is due at that moment is not begun: it belongs to what comes after.
        """
        while not self._ended.is_set():
            now = self._now()
            if until is not None and now >= until:
                break
            for due in self._timetable.take(until=now):
                self._begin(self._fire(due))
            for name, queue in QUEUES.items():
                if name not in self._delivering and self._aws.has_visible(queue):
                    self._delivering.add(name)
                    self._begin(self._deliver(name, queue))
            await self._pass_time(until)
        if self._work:
            await asyncio.wait(self._work)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is begun."""
        return self._ended.is_set()

    def end(self) -> None:
        """Begin nothing more, and leave what is in work no time."""
        self._ended.set()
        for function in self._functions.values():
            function.hurry()

    def kill(self) -> None:
        """Kill what is in work."""
        for function in self._functions.values():
            function.kill()

    async def close(self) -> None:
        """End the functions' processes."""
        for function in self._functions.values():
            await function.close()

    async def _fire(self, due: Due) -> None:
        try:
            await self._functions[due.function].invoke(due.event, request_id=due.request_id)
        except InvocationError as error:
            again = self._timetable.put_again(due, now=self._now())
            self._tell(due.function, f"{error}; {'it is tried again' if again else 'it is not tried again'}")

    async def _deliver(self, name: str, queue: str) -> None:
        # As Lambda's trigger: a batch is deleted whole when the worker returns, and stays whole when it raises.
        sqs, url = self._aws.client("sqs"), f"{self._aws.endpoint}/queue/{queue}"
        answer = await asyncio.to_thread(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=10)
        messages = answer.get("Messages", [])
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        try:
            if messages:
                await self._functions[name].invoke(sqs_event(messages))
                await asyncio.to_thread(sqs.delete_message_batch, QueueUrl=url, Entries=entries)
        except InvocationError as error:
            self._tell(name, str(error))
        finally:
            self._delivering.discard(name)

    async def _pass_time(self, until: datetime | None) -> None:
        if self._work:
            await self._wait(BUSY_SECONDS)
            return
        moments = [moment for moment in (self._timetable.next_at, until) if moment is not None]
        left = (min(moments) - self._now()).total_seconds() if moments else IDLE_SECONDS
        passed = max(0.0, min(left, IDLE_SECONDS * self._speed))
        await self._wait(passed / self._speed)
        self._clock.put_forward(1000 * passed * (1 - 1 / self._speed))

    async def _wait(self, seconds: float) -> None:
        waiting = asyncio.create_task(self._ended.wait())
        await asyncio.wait({waiting, *self._work}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _now(self) -> datetime:
        return from_ms(self._clock.now_ms())
