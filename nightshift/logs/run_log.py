"""The log of one run, across every function that took part in it."""

import re
from collections.abc import Iterator, Sequence
from operator import attrgetter

from nightshift.logs.lines import fields_of
from nightshift.logs.stream import Event, Log, NoLogError

# A run continues on these, which also do other jobs in the same invocation.
WORKERS = ("work", "work_priority")
# It creates the run of a manual request, and does nothing else in that invocation.
OPERATOR = "operate"
# The functions that may log about a run, apart from its task's own.
OTHERS = (*WORKERS, "watch", "dispatch", OPERATOR)
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)


class RunLog:
    """The log of one run. Each call of `read` yields what is new."""

    def __init__(self, logs: Sequence[Log], *, task: str, run_id: str, since_ms: int) -> None:
        if not _ID.fullmatch(run_id):
            raise ValueError(f"{run_id!r:.80} is not a run id: nightshift runs list shows the ids")
        self._logs = logs
        self._task = task
        self._run_id = run_id
        self._since_ms = since_ms
        self._seen: set[tuple[str, str]] = set()

    def read(self) -> Iterator[Event]:
        """Yield the events that no earlier call has yielded, by time. Raises ValueError if there are no logs."""
        # From the start each time: a run logs little, and so late events, and those of a new job, are found too.
        for event in self._read_all():
            if (event.function, event.id) not in self._seen:
                self._seen.add((event.function, event.id))
                yield event

    def _read_all(self) -> list[Event]:
        logs, missing, events = [], [], list[Event]()
        for log in self._logs:
            try:
                events += log.read(self._since_ms, having=self._run_id)
                logs.append(log)
            except NoLogError as error:
                missing.append(error)
        if not logs:
            raise missing[0]
        jobs = _ids(events, "job_id")
        related = [event for log in logs for event in self._read_related(log, events, jobs=jobs)]
        return sorted({(each.function, each.id): each for each in events + related}.values(), key=attrgetter("at_ms"))

    def _read_related(self, log: Log, events: Sequence[Event], *, jobs: set[str]) -> Iterator[Event]:
        """Yield events that do not name the run: of the job that continues it, and of its invocations."""
        if log.function in WORKERS:
            for job_id in sorted(jobs):
                yield from log.read(self._since_ms, having=job_id)
        if log.function in {self._task, OPERATOR, *WORKERS}:
            own = [event for event in events if event.function == log.function]
            for request_id in sorted(_ids(own, "request_id")):
                for event in log.read(self._since_ms, having=request_id):
                    # A worker's invocation also does other jobs, but its report and its errors concern all of them.
                    if log.function not in WORKERS or "message" not in fields_of(event.text):
                        yield event


def _ids(events: Sequence[Event], key: str) -> set[str]:
    found = (fields_of(event.text).get(key) for event in events)
    return {id_ for id_ in found if isinstance(id_, str) and _ID.fullmatch(id_)}
