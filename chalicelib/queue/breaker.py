"""The breakers: while what performs jobs is unavailable, they wait, and one at a time is tried.

A breaker has a row from the first failure until the next answer; it opens at the third failure in a row.
"""

from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, case, delete, select, update

from chalicelib.core.database import insert_missing
from chalicelib.schema import breakers

OPENS_AFTER = 3
OPEN_MS = 30_000
# If the job that was sent alone has not ended by then, because its process was killed, another is sent.
PROBE_MS = 120_000
# So long jobs wait without being counted. Later they are dead by their policy, as if somebody had answered.
EXCUSED_MS = 86_400_000
_REASON_LENGTH = 500

_NAMED = breakers.c.name == bindparam("of")
_FAIL = (
    update(breakers)
    .where(_NAMED)
    .ordered_values(
        # First, since in MySQL later assignments see the values of earlier ones.
        (breakers.c.open_until, case((breakers.c.failures + 1 >= OPENS_AFTER, bindparam("until_ms")), else_=0)),
        (breakers.c.failures, breakers.c.failures + 1),
        (breakers.c.probe_until, 0),
        (breakers.c.reason, bindparam("why")),
    )
)
_TAKE_PROBE = (
    update(breakers)
    .where(_NAMED, breakers.c.open_until <= bindparam("at_ms"), breakers.c.probe_until <= bindparam("at_ms"))
    .values(probe_until=bindparam("until_ms"))
)


class Breaker(Struct, frozen=True, kw_only=True):
    """What was unavailable the last time, how often in a row and since when."""

    name: str
    failures: int
    failing_since: int
    open_until: int
    probe_until: int
    reason: str

    @property
    def is_open(self) -> bool:
        """Whether at most one job at a time is tried."""
        return self.failures >= OPENS_AFTER

    def admits(self, now_ms: int) -> bool:
        """Return whether one job may be tried now."""
        return max(self.open_until, self.probe_until) <= now_ms

    def excuses(self, now_ms: int) -> bool:
        """Return whether a failed attempt is not the job's fault."""
        return now_ms < self.failing_since + EXCUSED_MS


def read(connection: Connection) -> dict[str, Breaker]:
    """Return the breakers of all that was unavailable the last time, by name."""
    return {row.name: Breaker(**row._mapping) for row in connection.execute(select(breakers))}


def take_probe(connection: Connection, name: str, *, now_ms: int) -> bool:
    """Return whether this worker is the one that may try a job of an open breaker now."""
    wanted = {"of": name, "at_ms": now_ms, "until_ms": now_ms + PROBE_MS}
    return connection.execute(_TAKE_PROBE, wanted).rowcount == 1


def fail(connection: Connection, name: str, *, now_ms: int, reason: str) -> Breaker:
    """Count a failure, and return the breaker as it is then."""
    first: dict[str, Any] = {"failures": 0, "failing_since": now_ms, "open_until": 0, "probe_until": 0, "reason": ""}
    connection.execute(insert_missing(breakers, connection.dialect).values(name=name, **first))
    why = reason[:_REASON_LENGTH]
    connection.execute(_FAIL, {"of": name, "until_ms": now_ms + OPEN_MS, "why": why})
    row = connection.execute(select(breakers).where(_NAMED), {"of": name}).one_or_none()
    # Another worker had an answer in between.
    return Breaker(**row._mapping) if row else Breaker(name=name, **{**first, "failures": 1, "reason": why})


def close(connection: Connection, name: str) -> None:
    """Forget the failures: somebody answered."""
    connection.execute(delete(breakers).where(_NAMED), {"of": name})
