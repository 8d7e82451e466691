"""A function of app.py in its own process, as Lambda keeps it warm: one invocation at a time."""

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

from nightshift.local.function_process import EARLY_SIGNALS
from nightshift.local.invocation import TIMEOUT_MS, LocalClock

# The longest log line or answer, in bytes.
MAX_LINE = 16 * 1024 * 1024
# An invocation that respects its time limit may still need this to record its outcome.
GRACE_SECONDS = 5


class InvocationError(Exception):
    """An invocation failed, by an error or because its process ended."""


class Function:
    """One function. `log` receives each line that it prints."""

    def __init__(self, name: str, *, project: Path, clock: LocalClock, log: Callable[[str], None]) -> None:
        self.name = name
        self._project = project
        self._clock = clock
        self._log = log
        self._lock = asyncio.Lock()
        self._running: tuple[Process, asyncio.StreamReader, asyncio.Task[None]] | None = None
        self._hurries = False

    @property
    def is_busy(self) -> bool:
        """Whether an invocation is in progress."""
        return self._lock.locked()

    async def invoke(self, event: object, *, request_id: str | None = None, timeout_ms: int = TIMEOUT_MS) -> Any:
        """Return the answer to an event, after any earlier invocation. Raises InvocationError."""
        async with self._lock:
            process, answers, _ = self._running or await self._start()
            request = {
                "event": event,
                "request_id": request_id or str(uuid.uuid4()),
                "ahead_ms": self._clock.ahead_ms,
                "timeout_ms": timeout_ms,
            }
            line = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                assert process.stdin is not None  # noqa: S101 (it has a pipe)
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
        """Leave no time to the current invocation and to later ones."""
        self._hurries = True
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process, as a machine failure would."""
        self._send(signal.SIGKILL)

    async def close(self) -> None:
        """End the process after its current invocation."""
        async with self._lock:
            if self._running:
                await self._end(None)

    def _send(self, number: signal.Signals) -> None:
        if self._running and self._running[0].returncode is None:
            # Process.send_signal would reap a process that has just ended, and its exit code would be lost.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._running[0].pid, number)

    async def _start(self) -> tuple[Process, asyncio.StreamReader, asyncio.Task[None]]:
        receiving, sending = os.pipe()
        with _blocked(*EARLY_SIGNALS):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "nightshift.local.function_process", self.name, str(sending)),
                cwd=self._project,
                stdin=PIPE,
                stdout=PIPE,
                stderr=STDOUT,
                pass_fds=(sending,),
                limit=MAX_LINE,
            )
        os.close(sending)
        answers = asyncio.StreamReader(limit=MAX_LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(receiving, "rb")
        )
        self._running = process, answers, asyncio.create_task(self._read(process))
        if self._hurries:
            self._send(signal.SIGTERM)
        return self._running

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101 (it has a pipe)
        async for line in process.stdout:
            self._log(line.decode("utf-8", "replace").rstrip("\n"))

    async def _end(self, number: signal.Signals | None) -> str:
        assert self._running is not None  # noqa: S101 (only a started process is ended)
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
def _blocked(*numbers: signal.Signals) -> Iterator[None]:
    """Block signals, so that a process started in this block receives them only once it is ready."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        # Not the previous mask: if two functions start at once, the second found the signals blocked by the first.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
