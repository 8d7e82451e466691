"""What a simulation counts, and what it tells in the end."""

from dataclasses import dataclass, field

from scale.limits import Taken

MINUTE = 60


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Messages are counted in what waits and moves, units in what becomes of them: a digest's message is many mails.

    `dead` were received too often and are dead letters, `expired` waited longer than SQS keeps them. `oldest` is the
    longest, in seconds, that a message had waited when it was received; `ended` is when the last invocation did, and
    `behind` how long that was after the last arrival; `billed` are the seconds of all invocations. `binds` names what
    kept the workers longest: their own work, SES or the database. `backlog` has the messages that waited, at most,
    within each minute.
    """

    arrived: int
    done: int
    dead: int
    expired: int
    invocations: int
    turned_away: int
    handed_on: int
    handed_back: int
    most_running: int
    most_waiting: int
    oldest: float
    ended: float
    behind: float
    billed: float
    binds: str
    backlog: tuple[int, ...]


@dataclass
class Tally:
    """The counters of a run."""

    arrived: int = 0
    done: int = 0
    dead: int = 0
    expired: int = 0
    invocations: int = 0
    turned_away: int = 0
    handed_on: int = 0
    handed_back: int = 0
    most_running: int = 0
    waiting: int = 0
    most_waiting: int = 0
    oldest: float = 0.0
    billed: float = 0.0
    _kept: dict[str, float] = field(default_factory=lambda: {"workers": 0.0, "SES": 0.0, "database": 0.0})
    _last_arrival: float = 0.0
    _last_end: float = 0.0
    _minutes: list[int] = field(default_factory=list)

    def arrive(self, at: float, messages: int, units: int) -> None:
        """Count what arrives."""
        self.arrived += units
        self.waiting += messages
        self._last_arrival = at
        self._note(at)

    def receive(self, at: float, messages: int, *, arrived: float) -> None:
        """Count what is received."""
        self._note(at)
        self.waiting -= messages
        self.oldest = max(self.oldest, at - arrived)

    def starts(self, running: int) -> bool:
        """Return whether one more invocation needs an environment of its own, which none has left idle."""
        is_new = running >= self.most_running
        self.most_running = max(self.most_running, running + 1)
        return is_new

    def keep(self, now: float, taken: Taken) -> None:
        """Count what kept a worker: its own work, or how much longer something that all share."""
        alone, by_mails, by_commits = taken.alone, taken.by_mails, taken.by_commits
        self._kept["workers"] += alone - now
        self._kept["SES"] += max(0.0, by_mails - max(alone, by_commits))
        self._kept["database"] += max(0.0, by_commits - max(alone, by_mails))

    def end(self, at: float, *, seconds: float, units: int) -> None:
        """Count an invocation that ends."""
        self.invocations += 1
        self.billed += seconds
        self.done += units
        self._last_end = max(self._last_end, at)

    def expire(self, at: float, messages: int, units: int) -> None:
        """Count what SQS keeps no longer."""
        self._note(at)
        self.waiting -= messages
        self.expired += units

    def close(self) -> Outcome:
        """Return what it comes to."""
        return Outcome(
            arrived=self.arrived,
            done=self.done,
            dead=self.dead,
            expired=self.expired,
            invocations=self.invocations,
            turned_away=self.turned_away,
            handed_on=self.handed_on,
            handed_back=self.handed_back,
            most_running=self.most_running,
            most_waiting=self.most_waiting,
            oldest=self.oldest,
            ended=self._last_end,
            behind=max(0.0, self._last_end - self._last_arrival),
            billed=self.billed,
            binds=max(self._kept, key=lambda name: self._kept[name]),
            backlog=tuple(self._minutes),
        )

    def _note(self, at: float) -> None:
        self.most_waiting = max(self.most_waiting, self.waiting)
        minute = int(at // MINUTE)
        while len(self._minutes) <= minute:
            self._minutes.append(0)
        self._minutes[minute] = max(self._minutes[minute], self.waiting)
