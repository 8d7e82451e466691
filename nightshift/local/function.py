"""A function of app.py in a process of its own: started when it is first asked, one invocation at a time."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nightshift.local.clock import LocalClock
from nightshift.local.invocation import TIMEOUT_MS
from nightshift.local.process import HELD_BACK

# Of a line of a log, and of an answer.
LONGEST_LINE = 16 * 1024 * 1024
# What an invocation that keeps to its limit may still take, to be recorded.
GRACE_SECONDS = 5


class InvocationError(Exception):
    """An invocation that failed, by an error or with its process."""


class Function:
    """One function; `tell` is given each line that it prints."""

    def __init__(self, name: str, *, project: Path, clock: LocalClock, tell: Callable[[str], None]) -> None:
        self.name = name
        self._project = project
        self._clock = clock
        self._tell = tell
        self._turn = asyncio.Lock()
        self._running: tuple[Process, asyncio.StreamReader, asyncio.Task[None]] | None = None
        self._hurries = False

    @property
    def is_busy(self) -> bool:
        """Whether an invocation is in work."""
        return self._turn.locked()

    async def invoke(self, event: object, *, request_id: str | None = None, timeout_ms: int = TIMEOUT_MS) -> Any:
        """Return the answer to an event, after those that were asked before. Raises InvocationError."""
        async with self._turn:
            process, answers, _ = self._running or await self._start()
            request = {
                "event": event,
                "request_id": request_id or str(uuid.uuid4()),
                "ahead_ms": self._clock.ahead_ms,
                "timeout_ms": timeout_ms,
            }
            line = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                assert process.stdin is not None  # noqa: S101 (it was made with a pipe)
                process.stdin.write(json.dumps(request).encode() + b"\n")
                async with asyncio.timeout(timeout_ms / 1000 + GRACE_SECONDS):
                    line = await answers.readline()
            if not line:
                raise InvocationError(f"{self.name}: its process {await self._end(signal.SIGKILL)}")
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:
                raise InvocationError(answer["error"])
            return answer["answer"]

    def hurry(self) -> None:
        """Leave the invocation in work no time, nor any that is to come."""
        self._hurries = True
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once, as a machine that fails does."""
        self._send(signal.SIGKILL)

    async def close(self) -> None:
        """End the process when it has answered."""
        async with self._turn:
            if self._running:
                await self._end(None)

    def _send(self, number: signal.Signals) -> None:
        if self._running and self._running[0].returncode is None:
            # Its own send_signal would reap what has ended already, and nobody would learn how it did.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._running[0].pid, number)

    async def _start(self) -> tuple[Process, asyncio.StreamReader, asyncio.Task[None]]:
        receiving, sending = os.pipe()
        with _held_back(*HELD_BACK):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "nightshift.local.process", self.name, str(sending)),
                cwd=self._project,
                stdin=PIPE,
                stdout=PIPE,
                stderr=STDOUT,
                pass_fds=(sending,),
                limit=LONGEST_LINE,
            )
        os.close(sending)
        answers = asyncio.StreamReader(limit=LONGEST_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(receiving, "rb")
        )
        self._running = process, answers, asyncio.create_task(self._read(process))
        if self._hurries:
            self._send(signal.SIGTERM)
        return self._running

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101 (it was made with a pipe)
        async for line in process.stdout:
            self._tell(line.decode("utf-8", "replace").rstrip("\n"))

    async def _end(self, number: signal.Signals | None) -> str:
        assert self._running is not None  # noqa: S101 (only what was started is ended)
        process, _, reading = self._running
        if number is not None:
            self._send(number)
        elif process.stdin is not None:
            process.stdin.close()
        code = await process.wait()
        await reading
        self._running = None
        return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"


@contextlib.contextmanager
def _held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Have a process that is started within get these signals only when it is ready for them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        # Not what was there before: of two that start at once, the later one found the signals blocked by the other.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
