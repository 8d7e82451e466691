"""The logs of functions in CloudWatch: events by time, each once, including those that arrive late."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

from chalicelib.core.clock import from_ms

# Events may arrive out of order: usually by seconds, and by minutes if Lambda froze the function in between.
NEAR_MS, FAR_MS = 60_000, 30 * 60_000
FAR_EVERY = 15
# CloudWatch accepts five such calls a second from an account.
PAUSE_SECONDS = 2.0
TRANSIENT_ERRORS = frozenset(
    {"ThrottlingException", "ServiceUnavailableException", "InternalFailure", "InternalServerError"}
)


@dataclass(frozen=True, kw_only=True)
class Event:
    """A log event; the times are epoch milliseconds."""

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
    """A source of events by time."""

    def read(self) -> Iterator[Event]:
        """Yield the events that no earlier call has yielded."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """The log of one function of a stage."""

    logs: Any
    function: str
    group: str

    def read(self, since_ms: int, *, having: str | None = None) -> Iterator[Event]:
        """Yield the events since a time, optionally only those that contain a text.

        Raises NoLogError if the log does not exist, and what botocore raises.
        """
        # `interleaved` is deprecated: CloudWatch always does it, but emulators still need it.
        request = {"logGroupName": self.group, "startTime": since_ms, "interleaved": True}
        if having is not None:
            request["filterPattern"] = f'"{having}"'
        alike = Counter[str]()
        try:
            for page in self.logs.get_paginator("filter_log_events").paginate(**request):
                for found in page["events"]:
                    yield self._event(found, id=found.get("eventId") or _id(found, alike))
        except self.logs.exceptions.ResourceNotFoundException:
            raise NoLogError(f"{self.function} has not run yet: the log group {self.group} does not exist") from None

    def _event(self, found: dict[str, Any], *, id: str) -> Event:
        return Event(
            id=id,
            function=self.function,
            at_ms=found["timestamp"],
            arrived_ms=found["ingestionTime"],
            text=found["message"],
        )


def _id(found: dict[str, Any], alike: Counter[str]) -> str:
    # Emulators give no id. Equal events of one moment match the same filters, so their number identifies each.
    text = f"{found['logStreamName']} {found['timestamp']} {found['message']}"
    alike[text] += 1
    return f"{text} {alike[text]}"


class NoLogError(ValueError):
    """The function has no log."""


class Tail:
    """The log of one function since a time. Each call of `read` yields what is new."""

    def __init__(self, log: Log, *, since_ms: int) -> None:
        self._log = log
        self._since_ms = since_ms
        self._arrived_ms = 0
        self._readings = 0
        # When each was logged, by id.
        self._seen: dict[str, int] = {}

    def read(self) -> Iterator[Event]:
        """Yield the events that no earlier call has yielded. One that arrives half an hour late is missed."""
        # By CloudWatch's clock: this machine's may be wrong.
        overlap_ms = NEAR_MS if self._readings % FAR_EVERY else FAR_MS
        arrived_ms = self._arrived_ms
        for event in self._log.read(max(self._since_ms, arrived_ms - overlap_ms)):
            arrived_ms = max(arrived_ms, event.arrived_ms)
            if event.id not in self._seen:
                self._seen[event.id] = event.at_ms
                yield event
        # Not before: an interrupted call has not seen every event.
        self._arrived_ms = arrived_ms
        self._readings += 1
        self._seen = {id_: at_ms for id_, at_ms in self._seen.items() if at_ms >= arrived_ms - FAR_MS}


def follow(source: Source, *, report: Callable[[str], None], sleep: Callable[[float], None]) -> Iterator[Event]:
    """Yield new events forever, and report when CloudWatch is unreachable."""
    while True:
        began = time.monotonic()
        try:
            yield from source.read()
        except (BotoCoreError, ClientError) as error:
            if not _is_transient(error):
                raise
            report(f"CloudWatch is unreachable, trying again: {error}")
        # As long as the call took, so that a long log is not read all the time.
        sleep(max(PAUSE_SECONDS, time.monotonic() - began))


def _is_transient(error: Exception) -> bool:
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] in TRANSIENT_ERRORS
    return isinstance(error, (ConnectionError, HTTPClientError))
