"""The functions' logs as CloudWatch keeps them: events in order of time, each once, also those that come late."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from chalicelib.core.clock import from_ms

# An event may arrive behind later ones: by seconds as a rule, and by minutes where Lambda froze the function meanwhile.
NEAR_MS, FAR_MS = 60_000, 30 * 60_000
FAR_EVERY = 15
# CloudWatch takes five such calls a second from all of an account.
PAUSE_SECONDS = 2.0
PASSING = frozenset({"ThrottlingException", "ServiceUnavailableException", "InternalFailure", "InternalServerError"})


@dataclass(frozen=True, kw_only=True)
class Event:
    """What a function logged at one moment; the times are epoch milliseconds."""

    id: str
    function: str
    at_ms: int
    arrived_ms: int
    text: str

    @property
    def at(self) -> datetime:
        """When it was logged."""
        return from_ms(self.at_ms)


class Source(Protocol):
    """Where events come from, in order of time."""

    def read(self) -> Iterator[Event]:
        """Yield those that no earlier call has yielded."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of one function of a stage."""

    logs: Any
    function: str
    group: str

    def read(self, since_ms: int, *, having: str | None = None) -> Iterator[Event]:
        """Yield the events from a moment on, in order of time, of those that have a text in them where it is given.

        Raises ValueError where there is no such log, and what botocore raises.
        """
        # The deprecated `interleaved` is what CloudWatch does by now, and what emulators still ask for.
        request = {"logGroupName": self.group, "startTime": since_ms, "interleaved": True}
        if having is not None:
            request["filterPattern"] = f'"{having}"'
        alike = Counter[str]()
        try:
            for page in self.logs.get_paginator("filter_log_events").paginate(**request):
                for found in page["events"]:
                    yield self._event(found, id=found.get("eventId") or _id(found, alike))
        except self.logs.exceptions.ResourceNotFoundException:
            raise NoLogError(f"{self.function} has not run yet: there is no log {self.group}") from None

    def _event(self, found: dict[str, Any], *, id: str) -> Event:
        return Event(
            id=id,
            function=self.function,
            at_ms=found["timestamp"],
            arrived_ms=found["ingestionTime"],
            text=found["message"],
        )


def _id(found: dict[str, Any], alike: Counter[str]) -> str:
    # Emulators give none. Those that say the same at the same moment are found together or not at all, whatever is
    # looked for, so that their number tells them apart in every reading.
    told = f"{found['logStreamName']} {found['timestamp']} {found['message']}"
    alike[told] += 1
    return f"{told} {alike[told]}"


class NoLogError(ValueError):
    """There is no such log."""


class Tail:
    """The log of one function from a moment on, of which each reading yields what is new."""

    def __init__(self, log: Log, *, since_ms: int) -> None:
        self._log = log
        self._since_ms = since_ms
        self._arrived_ms = 0
        self._readings = 0
        # By id, when each was logged.
        self._seen: dict[str, int] = {}

    def read(self) -> Iterator[Event]:
        """Yield the events that no earlier reading has yielded. One that arrives half an hour late is missed."""
        # By CloudWatch's own clock: this machine's may be wrong.
        overlap_ms = NEAR_MS if self._readings % FAR_EVERY else FAR_MS
        arrived_ms = self._arrived_ms
        for event in self._log.read(max(self._since_ms, arrived_ms - overlap_ms)):
            arrived_ms = max(arrived_ms, event.arrived_ms)
            if event.id not in self._seen:
                self._seen[event.id] = event.at_ms
                yield event
        # Only now: a reading that broke off has not seen all that had arrived.
        self._arrived_ms = arrived_ms
        self._readings += 1
        self._seen = {id_: at_ms for id_, at_ms in self._seen.items() if at_ms >= arrived_ms - FAR_MS}


def follow(source: Source, *, tell: Callable[[str], None], sleep: Callable[[float], None]) -> Iterator[Event]:
    """Yield what is new for ever, and tell why nothing comes while CloudWatch does not answer."""
    while True:
        began = time.monotonic()
        try:
            yield from source.read()
        except (BotoCoreError, ClientError) as error:
            if not _passes(error):
                raise
            tell(f"CloudWatch does not answer, and is asked again: {error}")
        # As long as it took, so that a long log is not read all the time.
        sleep(max(PAUSE_SECONDS, time.monotonic() - began))


def _passes(error: Exception) -> bool:
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] in PASSING
    return isinstance(error, (ConnectionError, HTTPClientError))
