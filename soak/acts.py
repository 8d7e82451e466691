"""What happens in a soak beside the functions' own work: each is due like a function, and does its part."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from nightshift.local.function import Function
from nightshift.local.invocation import TIMEOUT_MS
from nightshift.local.servers import Server


class Act:
    """Calls something that may block, in a thread of its own, with each event; nothing of it can fail."""

    def __init__(self, work: Callable[[Any], None]) -> None:
        self._work = work

    async def invoke(self, event: object, *, request_id: str | None = None) -> Any:  # noqa: ARG002 (Lambda's)
        """Call it."""
        await asyncio.to_thread(self._work, event)

    def hurry(self) -> None:
        """Go on: it takes no time."""

    def kill(self) -> None:
        """Go on: nobody kills this."""

    async def close(self) -> None:
        """There is nothing to end."""


class Counted(Function):
    """A function that counts its invocations."""

    invocations = 0

    async def invoke(self, event: object, *, request_id: str | None = None, timeout_ms: int = TIMEOUT_MS) -> Any:
        """Count, and do as a function does."""
        self.invocations += 1
        return await super().invoke(event, request_id=request_id, timeout_ms=timeout_ms)


class Outages:
    """Kills a server, or starts it again, as the event says."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._is_up = True
        self.kills = 0

    def act(self, event: Mapping[str, str]) -> None:
        """Kill it where it runs, or start it where it does not: outages may overlap."""
        if event["act"] == "kill" and self._is_up:
            self.kills += 1
            self._is_up = False
            self._server.kill()
        elif event["act"] == "start" and not self._is_up:
            self._server.start()
            self._is_up = True


class Killer:
    """Kills the process of some function that is in work."""

    def __init__(self, functions: Mapping[str, Function], *, seed: int) -> None:
        self._functions = functions
        self._rng = Random(f"killer {seed}")  # noqa: S311 (no secret)
        self.kills: Counter[str] = Counter()

    def act(self, _: object) -> None:
        """Kill one, where one is in work."""
        busy = sorted(name for name, function in self._functions.items() if function.is_busy)
        if busy:
            name = self._rng.choice(busy)
            self.kills[name] += 1
            self._functions[name].kill()
