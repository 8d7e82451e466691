"""The weather of a soak: which storms blow when, by a seed."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Literal

# Refused before it did anything; lost on the way there; done, but its answer lost; too much asked for.
Trouble = Literal["refused", "lost", "answer lost", "throttled"]
KINDS: tuple[Trouble, ...] = ("refused", "lost", "answer lost", "throttled")
SERVICES = ("sqs", "ses", "s3", "upstream")
# On a calm day so many calls of a thousand are in trouble; in a storm every other.
CALM, STORM = 5 / 1000, 5 / 10
DAYS_BETWEEN_STORMS, LONGEST_STORM = 2, timedelta(hours=8)


@dataclass(frozen=True, kw_only=True)
class Storm:
    """A service in trouble from one moment to another."""

    service: str
    start: datetime
    end: datetime
    kind: Trouble


class Weather:
    """The storms of a time, and the troubles that came of it, counted by service and kind."""

    def __init__(self, *, start: datetime, days: int, seed: int) -> None:
        self._rng = Random(f"weather {seed}")  # noqa: S311 (no secret)
        self.storms = list(self._storms(start, days))
        self.troubles: Counter[tuple[str, str]] = Counter()
        self.is_calm = False

    def trouble(self, service: str, now: datetime) -> Trouble | None:
        """Return what becomes of a call to a service now, None where it goes well."""
        if self.is_calm:
            return None
        storm = next((each for each in self.storms if each.service == service and each.start <= now < each.end), None)
        if self._rng.random() >= (STORM if storm else CALM):
            return None
        kind = storm.kind if storm else self._rng.choice(KINDS)
        self.troubles[service, kind] += 1
        return kind

    def _storms(self, start: datetime, days: int) -> "list[Storm]":
        found = []
        for service in SERVICES:
            for _ in range(days // DAYS_BETWEEN_STORMS):
                begin = start + timedelta(days=days) * self._rng.random()
                length = LONGEST_STORM * self._rng.random()
                kind = self._rng.choice(KINDS)
                found.append(Storm(service=service, start=begin, end=begin + length, kind=kind))
        return found
