"""What is broken in a soak, and when: servers that die, processes that are killed, operators who pause."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from random import Random
from typing import Any

from chalicelib.schedule.schedule import Schedule
from nightshift.dev.scheduler import DueCall

# Every so many days on average. Each strikes while some task is at work, or so it would seem by its schedule.
DAYS_BETWEEN = {"database": 6, "redis": 6, "killer": 2}
# Seconds after a fire: most tasks are over by then.
LATEST = 0.6
# Functions wait for a database, and while they do the soak's clock goes as the machine's.
LONGEST_OUTAGE = {"database": timedelta(seconds=5), "redis": timedelta(minutes=20)}
DAYS_BETWEEN_PAUSES, LONGEST_PAUSE = 20, timedelta(days=2)


def chaos(planned: Mapping[str, Schedule], *, start: datetime, days: int, seed: int) -> Iterator[DueCall]:
    """Yield what strikes in so many days: outages of `database` and `redis`, the `killer`, the `operator`'s acts."""
    rng = Random(f"chaos {seed}")  # noqa: S311 (no secret)
    end = start + timedelta(days=days)
    for name, between in DAYS_BETWEEN.items():
        for _ in range(days // between):
            at = _while_at_work(planned, rng, rng.random() * (end - start) + start)
            yield DueCall(function=name, at=at, event=_event("kill"))
            if name != "killer":
                yield DueCall(function=name, at=at + rng.random() * LONGEST_OUTAGE[name], event=_event("start"))
    for n in range(days // DAYS_BETWEEN_PAUSES):
        at = start + timedelta(days=DAYS_BETWEEN_PAUSES) * (n + rng.random())
        kind, name = rng.choice([("task", task) for task in planned] + [("job", "send_email"), ("task", "*")])
        told = {"kind": kind, "name": name}
        yield DueCall(function="operator", at=at, event=_event("pause", **told))
        yield DueCall(function="operator", at=at + rng.random() * LONGEST_PAUSE, event=_event("resume", **told))


def _while_at_work(planned: Mapping[str, Schedule], rng: Random, after: datetime) -> datetime:
    schedule = rng.choice([each for each in planned.values() if each.every is None])
    (fire,) = schedule.next(after, count=1)
    return fire + timedelta(seconds=rng.uniform(0, LATEST))


def _event(act: str, **told: str) -> dict[str, Any]:
    return {"act": act, **told}
