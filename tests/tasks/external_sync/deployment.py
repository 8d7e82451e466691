"""A deployment that syncs from an upstream on this machine, with the verbs that tests are told in."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import Table, insert, select

from chalicelib.core.context import Context
from chalicelib.core.errors import RunFailedError
from chalicelib.runs import execution
from chalicelib.schema import external_data, quarantine, sync_states
from chalicelib.tasks.external_sync import sources
from chalicelib.tasks.external_sync.sources import Source
from nightshift.testkit.kit import Kit
from tests.tables import empty_tables
from tests.tasks.external_sync.upstream import Upstream

QUARTER = 15 * 60
ITEMS = [{"id": str(n), "title": f"Item {n}"} for n in range(1, 6)]
FIRST = json.dumps(ITEMS[0]).encode()


class Deployment:
    """The kit, the upstream and the one source that is declared."""

    def __init__(self, kit: Kit, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kit = kit
        self.upstream = upstream
        self._monkeypatch = monkeypatch
        self.declare()

    def source(self, **declared: Any) -> Source:
        """Return a source of the upstream."""
        usual: dict[str, Any] = {"name": "shop", "url": self.upstream.url(), "is_internal": True, "seconds": 5.0}
        return Source(**usual | declared)

    def declare(self, **declared: Any) -> None:
        """Declare the source otherwise."""
        self.declare_all(self.source(**declared))

    def declare_all(self, *declared: Source) -> None:
        """Declare these sources."""
        self._monkeypatch.setattr(sources, "SOURCES", declared)

    def fire(self, *, request_id: str | None = None, seconds: float = 300, **options: Any) -> dict[str, Any]:
        """Let a quarter of an hour pass, and run the task."""
        self.kit.clock.advance(QUARTER)
        return self.again(request_id=request_id, seconds=seconds, **options)

    def again(self, *, request_id: str | None = None, seconds: float = 300, **options: Any) -> dict[str, Any]:
        """Run the task for the same moment."""
        context = self.context(request_id=request_id, seconds=seconds)
        return execution.execute("external_sync", event=options, context=context)

    def context(self, *, request_id: str | None = None, seconds: float = 300) -> Context:
        """Return the context of a new invocation."""
        return self.kit.context(request_id=request_id, seconds=seconds)

    def rows(self, table: Table = external_data) -> list[Any]:
        """Return the rows of a table in order."""
        key = table.c.external_id if "external_id" in table.c else next(iter(table.primary_key))
        return list(self.transact(lambda connection: connection.execute(select(table).order_by(key)).all()))

    def data(self) -> dict[str, Any]:
        """Return what is kept of each item, by its id."""
        return {row.external_id: json.loads(row.data) for row in self.rows()}

    def missing(self) -> list[str]:
        """Return the ids that are marked as missing."""
        return [row.external_id for row in self.rows() if row.missing_since is not None]

    def reasons(self) -> dict[str | None, str]:
        """Return why each item is in quarantine, by its id."""
        return {row.external_id: row.reason for row in self.rows(quarantine)}

    def state(self) -> Any:
        """Return the row of the source's state."""
        (row,) = self.rows(sync_states)
        return row

    def insert(self, *rows: Mapping[str, Any], into: Table = external_data) -> None:
        """Put rows into a table, as somebody else does."""
        self.transact(lambda connection: connection.execute(insert(into), list(rows)))

    def transact(self, work: Callable[[Any], Any]) -> Any:
        """Do something in a transaction of its own."""
        return self.context().database.transact(work)

    def empty(self) -> None:
        """Take away what an earlier test has left."""
        self.transact(empty_tables)


def tally(summary: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return total, succeeded, skipped and failed."""
    return summary["total"], summary["succeeded"], summary["skipped"], summary["failed"]


def fails(deployment: Deployment, reason: str, **options: Any) -> None:
    """Fire, and see the run fail with this reason."""
    with pytest.raises(RunFailedError, match=reason):
        deployment.fire(**options)
