"""What holds a worker up while it works: its own work, SES's rate, the database's."""

from dataclasses import dataclass

from scale.limiter import Limiter
from scale.setting import Setting
from scale.work import Work

# So that a sum of fractions that should be whole is not cut down to the number below.
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Taken:
    """When the work would be done if only the worker, only SES, or only the database took time."""

    alone: float
    by_mails: float
    by_commits: float

    @property
    def ends(self) -> float:
        """When it is done."""
        return max(self.alone, self.by_mails, self.by_commits)


class Limits:
    """Those that all workers of a kind of work share."""

    def __init__(self, work: Work, setting: Setting) -> None:
        self._work = work
        self._mails = Limiter(setting.mails_a_second)
        self._commits = Limiter(setting.commits_a_second)

    def fitting(self, now: float, *, until: float, most: int) -> int:
        """Return how many units a worker can do until then."""
        work = self._work
        units = min((until - now) / work.seconds, self._commits.within(now, until) / work.commits)
        if work.mails:
            units = min(units, self._mails.within(now, until) / work.mails)
        return max(0, min(most, int(units + TINY)))

    def take(self, now: float, units: int) -> Taken:
        """Let a worker begin units, in their turn."""
        return Taken(
            alone=now + units * self._work.seconds,
            by_mails=self._mails.take(now, units * self._work.mails),
            by_commits=self._commits.take(now, units * self._work.commits),
        )
