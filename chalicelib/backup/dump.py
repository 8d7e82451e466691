"""A schema as SQL text, in sections: what makes its tables, the rows of each table, and what makes its programs."""

from collections.abc import Callable
from typing import TypeVar

from chalicelib.backup.definitions import define_programs, define_tables
from chalicelib.backup.grants import check_sight
from chalicelib.backup.lanes import Counted, Lanes
from chalicelib.backup.plan import Plan
from chalicelib.backup.programs import read_events, read_routines, read_triggers
from chalicelib.backup.section import Section
from chalicelib.backup.snapshot import Snapshot, let_go
from chalicelib.backup.tables import TRANSACTIONAL, WITHOUT_ROWS, read_sequences, read_tables
from chalicelib.backup.views import find_broken, in_order, read_views

T = TypeVar("T")


class Dump:
    """The text of a snapshot."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        """Read what the schema holds. Raises as `check_sight`, pymysql.err.Error, PermanentError."""
        first, schema = snapshot.connections[0], snapshot.schema
        check_sight(first, schema)
        self.sequences = [sequence for sequence in read_sequences(first) if plan.takes(sequence.name)]
        self.tables = [table for table in read_tables(first, schema) if plan.takes(table.name)]
        self.views = [view for view in read_views(first, schema) if plan.takes(view.name)]
        self.broken_views = find_broken(first, self.views)
        self.routines = [routine for routine in read_routines(first) if plan.takes(routine.name)]
        names = {table.name for table in self.tables}
        self.triggers = [trigger for trigger in read_triggers(first, schema) if trigger.table in names]
        self.events = [event for event in read_events(first) if plan.takes(event.name)]
        self._collation = snapshot.collation
        let_go(first)
        with_rows = [t for t in self.tables if plan.takes_rows(t.name) and t.engine.upper() not in WITHOUT_ROWS]
        # Their rows are as they are when they are read, not as they were at the moment of the snapshot.
        self.not_transactional = [table.name for table in with_rows if table.engine not in TRANSACTIONAL]
        self._lanes = Lanes(snapshot, with_rows)

    @property
    def counted(self) -> dict[str, Counted]:
        """What was counted of each table whose rows are in the dump, when these were written."""
        return self._lanes.counted

    def write(self, store: Callable[[Section], T]) -> list[T]:
        """Hand each section to `store`, which reads all of its text, and return what it returned, in loading order.

        Of rows, each connection's come on a thread of its own. Raises what `store` raises, pymysql.err.Error,
        PermanentError.
        """
        programs = [*self.routines, *in_order(self.views), *self.triggers, *self.events]
        tables = Section(kind="tables", text=[define_tables(self.sequences, self.tables)])
        rest = Section(kind="programs", text=[define_programs(programs, collation=self._collation)])
        return [store(tables), *self._lanes.write(store), store(rest)]
