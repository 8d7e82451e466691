"""RDS as it is with a big database: a snapshot takes its time, and so does its export."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chalicelib.core.clock import Clock, from_ms


@dataclass(kw_only=True)
class Made:
    """A snapshot with its tags, and when its export was begun."""

    name: str
    begun_at: datetime
    tags: dict[str, str]
    exported_since: datetime | None = None


class SlowRds:
    """As much of a client of RDS as snapshots of an instance need; `refuse` is called before it lists any."""

    def __init__(self, clock: Clock, *, snapshot: timedelta, export: timedelta) -> None:
        self._clock = clock
        self._snapshot = snapshot
        self._export = export
        self.made: dict[str, Made] = {}
        self.refuse: Callable[[], object] = lambda: None
        self.is_broken = False
        # Why each export fails, if it does.
        self.failure: str | None = None
        self.asked = 0

    def ready_at(self, made: Made) -> datetime:
        """Return when a snapshot is available."""
        return made.begun_at + self._snapshot

    def create_db_snapshot(self, **call: Any) -> None:
        """Begin a snapshot."""
        tags = {tag["Key"]: tag["Value"] for tag in call["Tags"]}
        made = Made(name=call["DBSnapshotIdentifier"], begun_at=self._now(), tags=tags)
        self.made[made.name] = made

    def get_paginator(self, operation: str) -> Any:
        """Return what lists the snapshots."""
        assert operation == "describe_db_snapshots"
        self.asked += 1
        self.refuse()
        return self

    def paginate(self, **_: Any) -> Iterator[dict[str, Any]]:
        """Yield all snapshots as one page."""
        yield {"DBSnapshots": [self._entry(made) for made in self.made.values()]}

    def add_tags_to_resource(self, **call: Any) -> None:
        """Tag a snapshot; its name is its address here."""
        self.made[call["ResourceName"]].tags |= {tag["Key"]: tag["Value"] for tag in call["Tags"]}

    def start_export_task(self, **call: Any) -> None:
        """Begin the export of a snapshot that is available."""
        made = self.made[call["SourceArn"]]
        assert self.ready_at(made) <= self._now()
        made.exported_since = self._now()

    def describe_export_tasks(self, **call: Any) -> dict[str, Any]:
        """Return how far an export is."""
        since = self.made[call["ExportTaskIdentifier"]].exported_since
        assert since is not None
        if self.failure:
            return {"ExportTasks": [{"Status": "FAILED", "FailureCause": self.failure}]}
        is_over = since + self._export <= self._now()
        task = {"Status": "COMPLETE", "TaskEndTime": since + self._export} if is_over else {"Status": "IN_PROGRESS"}
        return {"ExportTasks": [task]}

    def delete_db_snapshot(self, **call: Any) -> None:
        """Delete a snapshot."""
        del self.made[call["DBSnapshotIdentifier"]]

    def _now(self) -> datetime:
        return from_ms(self._clock.now_ms())

    def _entry(self, made: Made) -> dict[str, Any]:
        is_ready = self.ready_at(made) <= self._now()
        tags = [{"Key": key, "Value": value} for key, value in made.tags.items()]
        entry = {"DBSnapshotIdentifier": made.name, "DBSnapshotArn": made.name, "AllocatedStorage": 1, "TagList": tags}
        ready = {"Status": "available", "SnapshotCreateTime": self.ready_at(made)}
        if self.is_broken:
            return entry | {"Status": "failed"}
        return entry | (ready if is_ready else {"Status": "creating"})
