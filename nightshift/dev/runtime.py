"""The local runtime: calls functions when they are due, and the worker when its queues have messages."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import Any, Protocol

from chalicelib.core.clock import from_ms
from nightshift.dev.scheduler import DueCall, Scheduler
from nightshift.local.aws import LocalAws
from nightshift.local.environment import PRIORITY_QUEUE, QUEUE
from nightshift.local.function import InvocationError
from nightshift.local.invocation import LocalClock, sqs_event

# By worker.
QUEUES = {"work": QUEUE, "work_priority": PRIORITY_QUEUE}
# The longest waits while nothing is in progress, and while something is, in seconds of the system clock.
IDLE_SECONDS, BUSY_SECONDS = 1.0, 0.05


class Invocable(Protocol):
    """The methods of a Function that the runtime calls."""

    async def invoke(self, event: object, *, request_id: str | None = None) -> Any:
        """Return the answer to an event. Raises InvocationError."""

    def hurry(self) -> None:
        """Leave no time to the current invocation."""

    def kill(self) -> None:
        """Kill the current invocation."""

    async def close(self) -> None:
        """End after the current invocation."""


class Runtime:
    """Runs the functions of the scheduler and of the queues.

    While nothing is in progress, time passes `speed` times as fast as on the system clock.
    """

    def __init__(
        self,
        *,
        functions: Mapping[str, Invocable],
        scheduler: Scheduler,
        aws: LocalAws,
        clock: LocalClock,
        speed: float,
        log: Callable[[str, str], None],
    ) -> None:
        self._functions = functions
        self._scheduler = scheduler
        self._aws = aws
        self._clock = clock
        self._speed = speed
        self._log = log
        self._stopped = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._delivering: set[str] = set()

    async def run(self, *, until: datetime | None) -> None:
        """Run until a time, exclusive, or until `stop`; then wait for what is in progress."""
        while not self._stopped.is_set():
            now = self._now()
            if until is not None and now >= until:
                break
            for call in self._scheduler.take(until=now):
                self._begin(self._fire(call))
            for name, queue in QUEUES.items():
                if name not in self._delivering and self._aws.has_visible(queue):
                    self._delivering.add(name)
                    self._begin(self._deliver(name, queue))
            await self._pass_time(until)
        if self._work:
            await asyncio.wait(self._work)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing new begins."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Begin nothing new, and leave no time to what is in progress."""
        self._stopped.set()
        for function in self._functions.values():
            function.hurry()

    def kill(self) -> None:
        """Kill what is in progress."""
        for function in self._functions.values():
            function.kill()

    async def close(self) -> None:
        """End the processes of the functions."""
        for function in self._functions.values():
            await function.close()

    async def _fire(self, call: DueCall) -> None:
        try:
            await self._functions[call.function].invoke(call.event, request_id=call.request_id)
        except InvocationError as error:
            is_retried = self._scheduler.retry(call, now=self._now())
            self._log(call.function, f"{error}; {'will be retried' if is_retried else 'no more retries'}")

    async def _deliver(self, name: str, queue: str) -> None:
        # As Lambda's trigger does: a batch is deleted as a whole if the worker returns, and kept as a whole if not.
        sqs, url = self._aws.client("sqs"), f"{self._aws.endpoint}/queue/{queue}"
        answer = await asyncio.to_thread(sqs.receive_message, QueueUrl=url, MaxNumberOfMessages=10)
        messages = answer.get("Messages", [])
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        try:
            if messages:
                await self._functions[name].invoke(sqs_event(messages))
                await asyncio.to_thread(sqs.delete_message_batch, QueueUrl=url, Entries=entries)
        except InvocationError as error:
            self._log(name, str(error))
        finally:
            self._delivering.discard(name)

    async def _pass_time(self, until: datetime | None) -> None:
        if self._work:
            await self._wait(BUSY_SECONDS)
            return
        times = [time for time in (self._scheduler.next_at, until) if time is not None]
        remaining = (min(times) - self._now()).total_seconds() if times else IDLE_SECONDS
        passed = max(0.0, min(remaining, IDLE_SECONDS * self._speed))
        await self._wait(passed / self._speed)
        self._clock.advance(1000 * passed * (1 - 1 / self._speed))

    async def _wait(self, seconds: float) -> None:
        stopping = asyncio.create_task(self._stopped.wait())
        await asyncio.wait({stopping, *self._work}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _now(self) -> datetime:
        return from_ms(self._clock.now_ms())
