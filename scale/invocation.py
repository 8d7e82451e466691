"""One invocation of the worker, and the messages that it was given."""

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Waiting:
    """Messages that arrived together, each of so many units, and how often they have been received."""

    arrived: float
    messages: int
    units: int
    receives: int = 0
    is_begun: bool = False


@dataclass(slots=True, kw_only=True)
class Invocation:
    """What it has yet to do, what it has done, and until when it begins anything; times in seconds."""

    began: float
    until: float
    taken: deque[Waiting]
    units: int = 0

    def wanted(self, *, most: int | None) -> int:
        """Return the units to do next: `most` of one message, or those of all messages; 0 when nothing is left."""
        if most is None:
            return sum(each.messages * each.units for each in self.taken)
        return min(most, self.taken[0].units) if self.taken else 0

    def do(self, units: int) -> None:
        """Do units in the order of the messages."""
        self.units += units
        while units:
            first = self.taken[0]
            done = min(first.messages, units // first.units)
            units -= done * first.units
            first.messages -= done
            if first.messages and units:
                first.messages -= 1
                self.taken.appendleft(Waiting(first.arrived, 1, first.units - units, first.receives, is_begun=True))
                units = 0
                if not first.messages:
                    del self.taken[1]
            elif not first.messages:
                self.taken.popleft()


@dataclass(frozen=True, kw_only=True)
class Ended:
    """When an invocation began and ended, in seconds, and the units that it did."""

    began: float
    ended: float
    units: int
