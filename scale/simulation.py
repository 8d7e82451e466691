"""The worker at scale, event by event: messages arrive, Lambda's pollers take them ten at a time, workers do them.

A poller takes the oldest messages that are visible, invokes the function, waits for its end and takes the next. SQS
itself keeps no order; the oldest first is the kindest that it can be. All else is as AWS documents it, or as inputs.py
says that it is assumed.
"""

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from itertools import count
from math import ceil, inf

from scale.arrivals import Lump
from scale.inputs import BATCH, MOST_RECEIVES, RETENTION, TURNED_AWAY_PAUSE, VISIBILITY
from scale.invocation import Ended, Invocation, Waiting
from scale.limits import Limits
from scale.outcome import Outcome, Tally
from scale.pollers import Pollers
from scale.setting import Setting
from scale.work import Work


def simulate(
    arrivals: Iterable[Lump],
    work: Work,
    setting: Setting,
    *,
    grain: int = 1,
    observe: Callable[[Ended], None] | None = None,
) -> Outcome:
    """Return what becomes of these arrivals, which come in the order of their times.

    `grain` batches are reckoned as one, which a worker does in a row. `observe` is told of each invocation.
    """
    return _Simulation(work, setting, batch=BATCH * grain, observe=observe).run(arrivals)


class _Simulation:
    def __init__(self, work: Work, setting: Setting, *, batch: int, observe: Callable[[Ended], None] | None) -> None:
        self._work = work
        self._door = setting.door
        self._batch = batch
        self._observe = observe
        self._limits = Limits(work, setting)
        self._pollers = Pollers(most=setting.maximum_concurrency)
        self._queue: deque[Waiting] = deque()
        # What nobody sees until a moment; of what is seen again at once, the first goes back to the front last.
        self._hidden: list[tuple[float, int, Waiting]] = []
        self._numbers = count(0, -1)
        self._running = 0
        self._tally = Tally()

    def run(self, arrivals: Iterable[Lump]) -> Outcome:
        coming = iter(arrivals)
        lump = next(coming, None)
        while True:
            visible_at = self._hidden[0][0] if self._hidden else inf
            now = min(lump.at if lump else inf, visible_at, self._pollers.next_at)
            if now == inf:
                return self._tally.close()
            while lump and lump.at <= now:
                self._queue.append(Waiting(lump.at, lump.messages, self._work.units))
                self._tally.arrive(lump.at, lump.messages, lump.messages * self._work.units)
                lump = next(coming, None)
            while self._hidden and self._hidden[0][0] <= now:
                self._queue.appendleft(heappop(self._hidden)[2])
            invocation = self._pollers.wake(now)
            if invocation is not None:
                self._go_on(now, invocation)
            self._expire(now)
            while self._pollers.idle and self._queue:
                self._pollers.idle -= 1
                self._poll(now)
            self._pollers.scale(now, is_short=bool(self._queue))

    def _expire(self, now: float) -> None:
        while self._queue and now - self._queue[0].arrived > RETENTION:
            gone = self._queue.popleft()
            self._tally.expire(now, gone.messages, gone.messages * gone.units)

    def _poll(self, now: float) -> None:
        taken = self._receive(now)
        if self._running >= self._door:
            for each in taken:
                self._tally.turned_away += each.messages
                self._hide(each, until=now + VISIBILITY)
            self._pollers.wait(now + TURNED_AWAY_PAUSE, None)
            return
        starting = self._work.start_seconds if self._tally.starts(self._running) else 0.0
        messages = sum(each.messages for each in taken)
        ready = now + starting + self._work.batch_seconds * ceil(messages / BATCH)
        self._running += 1
        self._pollers.wait(ready, Invocation(began=now, until=now + self._work.time, taken=taken))

    def _receive(self, now: float) -> deque[Waiting]:
        taken: deque[Waiting] = deque()
        room = self._batch
        while room and self._queue:
            first = self._queue[0]
            messages = min(room, first.messages)
            taken.append(Waiting(first.arrived, messages, first.units, first.receives + 1))
            self._tally.receive(now, messages, arrived=first.arrived)
            first.messages -= messages
            room -= messages
            if not first.messages:
                self._queue.popleft()
        return taken

    def _go_on(self, now: float, invocation: Invocation) -> None:
        """Do the next part of an invocation, if there is one and time for it; else end it."""
        wanted = invocation.wanted(most=self._work.part)
        units = self._limits.fitting(now, until=invocation.until, most=wanted)
        if wanted and not invocation.units:
            # Each invocation begins something, or nothing would ever be begun.
            units = max(1, units)
        if units:
            taken = self._limits.take(now, units)
            self._tally.keep(now, taken)
            invocation.do(units)
            self._pollers.wait(taken.ends, invocation)
            return
        for each in invocation.taken:
            if each.is_begun:
                # What is left of a message goes into a fresh one.
                self._tally.handed_on += 1
                self._hide(Waiting(now, 1, each.units), until=now)
            else:
                self._tally.handed_back += each.messages
                self._hide(each, until=now)
        self._running -= 1
        self._pollers.idle += 1
        self._tally.end(now, seconds=now - invocation.began, units=invocation.units)
        if self._observe:
            self._observe(Ended(began=invocation.began, ended=now, units=invocation.units))

    def _hide(self, what: Waiting, *, until: float) -> None:
        if what.receives >= MOST_RECEIVES:
            self._tally.dead += what.messages * what.units
        else:
            self._tally.waiting += what.messages
            heappush(self._hidden, (until, next(self._numbers), what))
