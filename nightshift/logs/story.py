"""The story of a run: what every function that had to do with it logged about it."""

import re
from collections.abc import Iterator, Sequence
from operator import attrgetter

from nightshift.logs.lines import fields_of
from nightshift.logs.stream import Event, Log, NoLogError

# Who goes on with a run, beside its task's own function, and does other jobs in the same invocation.
WORKERS = ("work", "work_priority")
# What makes a run that a person asks for, and does nothing else in that invocation.
OPERATOR = "operate"
# And whoever finds that nobody goes on with it.
OTHERS = (*WORKERS, "watch", "dispatch", OPERATOR)
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)


class Story:
    """The story of one run, of which each reading yields what is new."""

    def __init__(self, logs: Sequence[Log], *, task: str, run_id: str, since_ms: int) -> None:
        if not _ID.fullmatch(run_id):
            raise ValueError(f"{run_id!r:.80} is no id of a run; nightshift runs list has them")
        self._logs = logs
        self._task = task
        self._run_id = run_id
        self._since_ms = since_ms
        self._seen: set[tuple[str, str]] = set()

    def read(self) -> Iterator[Event]:
        """Yield what no earlier reading has yielded, in order of time. Raises ValueError where there are no logs."""
        # Again from its beginning: there is little of one run, and what came late or is understood only now comes too.
        for event in self._tell():
            if (event.function, event.id) not in self._seen:
                self._seen.add((event.function, event.id))
                yield event

    def _tell(self) -> list[Event]:
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
        besides = [event for log in logs for event in self._beside(log, events, jobs=jobs)]
        return sorted({(each.function, each.id): each for each in events + besides}.values(), key=attrgetter("at_ms"))

    def _beside(self, log: Log, events: Sequence[Event], *, jobs: set[str]) -> Iterator[Event]:
        """Yield what belongs to the story and does not name the run: a job that goes on with it, and what ended it."""
        if log.function in WORKERS:
            for job_id in sorted(jobs):
                yield from log.read(self._since_ms, having=job_id)
        if log.function in {self._task, OPERATOR, *WORKERS}:
            here = [event for event in events if event.function == log.function]
            for request_id in sorted(_ids(here, "request_id")):
                for event in log.read(self._since_ms, having=request_id):
                    # A worker's invocation does other jobs too; but how it ended concerns all of them.
                    if log.function not in WORKERS or "message" not in fields_of(event.text):
                        yield event


def _ids(events: Sequence[Event], key: str) -> set[str]:
    found = (fields_of(event.text).get(key) for event in events)
    return {id_ for id_ in found if isinstance(id_, str) and _ID.fullmatch(id_)}
