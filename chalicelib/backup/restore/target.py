"""The schema that a backup is restored into: connections to it, and what it holds."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chalicelib.backup.connection import ask, explained, literal, quoted, tell
from chalicelib.core.errors import InvalidRequestError, TransientError

SYSTEM = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
# As the header of each part has it, and without limits of the server's or of whoever connects. A row that a CHECK
# refuses today was there before it.
SETTINGS = (
    b"SET NAMES binary",
    b"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO',time_zone='+00:00',foreign_key_checks=0,unique_checks=0,"
    b"net_read_timeout=3600,wait_timeout=28800,lock_wait_timeout=60",
    # Without unique checks MariaDB collects a transaction's rows in files and sorts them at its end: INSERTs took 1.5
    # times the processor time, a stream not less, and a key that is there twice gave no reason.
    b"/*M! SET SESSION max_statement_time=0,idle_transaction_timeout=0,check_constraint_checks=0,unique_checks=1 */",
)
# How SQL calls what information_schema does.
_KINDS = {"BASE TABLE": "TABLE", "SYSTEM VERSIONED": "TABLE"}


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What a schema holds: its kind and its quoted name. Triggers go with their tables."""

    kind: str
    name: bytes

    def __str__(self) -> str:
        return f"the {self.kind.lower()} {self.name.decode()}"


class Target:
    """A schema by its name; `connect` connects to the server, with CLIENT.LOCAL_FILES for rows to go as streams."""

    def __init__(self, connect: Callable[[], Any], *, schema: str) -> None:
        """Raises InvalidRequestError for the server's own schemas."""
        if schema.lower() in SYSTEM:
            raise InvalidRequestError(f"{schema} is a schema of the server's own; name another to restore into")
        self.schema = schema
        self._connect = connect

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Give a connection that loads into the schema; an error of the database within is explained."""
        with _connected(self._connect) as connection, explained(f"restoring into {self.schema}"):
            # Not by PyMySQL's command for it, whose text MySQL converts, while it takes that of a statement as it is.
            connection.query(b"USE " + quoted(self.schema))
            for setting in SETTINGS:
                connection.query(setting)
            yield connection

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only restore into the schema. Raises TransientError where there is another."""
        name = b"nightshift restore " + hashlib.sha256(self.schema.encode()).hexdigest()[:32].encode()
        with _connected(self._connect) as connection, explained(f"restoring into {self.schema}"):
            if tell(connection, b"SELECT GET_LOCK(" + literal(name) + b",0)") != [(1,)]:
                raise TransientError(f"another restore into {self.schema} is under way; wait for its end")
            # Closing the connection lets it go.
            yield

    def create(self) -> None:
        """Make the schema, which must not exist."""
        with _connected(self._connect) as connection, explained(f"creating the schema {self.schema}"):
            connection.query(b"CREATE DATABASE " + quoted(self.schema))

    def drop(self) -> None:
        """Remove the schema with all that it holds."""
        with _connected(self._connect) as connection, explained(f"dropping the schema {self.schema}"):
            connection.query(b"DROP DATABASE " + quoted(self.schema))

    def collation(self) -> str:
        """Return the schema's own collation."""
        with self.connection() as connection:
            [(collation,)] = tell(connection, b"SELECT @@collation_database")
        return str(collation)

    def collate(self, collation: str) -> None:
        """Give the schema a collation, and the character set that it belongs to."""
        if collation != self.collation():
            with self.connection() as connection:
                connection.query(b"ALTER DATABASE COLLATE " + literal(collation.encode()))

    def things(self) -> list[Thing]:
        """Return what the schema holds."""
        with self.connection() as connection:
            found = tell(
                connection,
                b"SELECT TABLE_TYPE,TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()"
                b" UNION ALL SELECT ROUTINE_TYPE,ROUTINE_NAME FROM information_schema.ROUTINES"
                b" WHERE ROUTINE_SCHEMA=DATABASE()"
                b" UNION ALL SELECT 'EVENT',EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()",
            )
        return [Thing(kind=_KINDS.get(kind, kind), name=quoted(name)) for kind, name in found]

    def remove(self, things: Iterable[Thing]) -> None:
        """Drop what the schema holds."""
        with self.connection() as connection:
            for thing in things:
                connection.query(b"DROP %b IF EXISTS %b" % (thing.kind.encode(), thing.name))


def schemas_of(connect: Callable[[], Any]) -> set[str]:
    """Return the names of all schemas that the user sees. Raises as `explained`."""
    with _connected(connect) as connection, explained("listing the schemas"):
        return {name for (name,) in tell(connection, b"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")}


@contextmanager
def _connected(connect: Callable[[], Any]) -> Iterator[Any]:
    with explained("connecting to the database"):
        connection = connect()
    try:
        connection.query(b"SET NAMES binary")
        yield connection
    finally:
        # An error may have closed it.
        if connection.open:
            connection.close()


NAME = "nightshift_restore"
BEGUN = "begun"


class Journal:
    """The steps that were done, by name, each with a note."""

    def __init__(self, target: Target, *, avoiding: Collection[bytes]) -> None:
        """`avoiding` are the quoted names of what the backup holds."""
        name = NAME
        while quoted(name) in avoiding:
            name += "_"
        self.thing = Thing(kind="TABLE", name=quoted(name))
        self._target = target

    def begin(self, note: Mapping[str, Any]) -> dict[str, Any]:
        """Begin it, in place of any that there was, and return its notes: what restore this is."""
        self.remove()
        with self._target.connection() as connection:
            connection.query(
                b"CREATE TABLE "
                + self.thing.name
                + b" (step VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
                b" PRIMARY KEY, note LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB"
                b" COMMENT='A restore that is not complete'"
            )
            self.note(connection, BEGUN, note)
            connection.commit()
        return {BEGUN: note}

    def note(self, connection: Any, step: str, note: Mapping[str, Any]) -> None:
        """Write down that a step is done, in the connection's transaction."""
        values = literal(step.encode()) + b"," + literal(json.dumps(note).encode())
        connection.query(b"INSERT INTO " + self.thing.name + b" VALUES (" + values + b")")

    def read(self) -> dict[str, Any]:
        """Return the notes by step; without the first there is no restore to go on with."""
        with self._target.connection() as connection:
            notes = ask(connection, b"SELECT step,note FROM " + self.thing.name)
        return {step.decode(): json.loads(note) for step, note in notes}

    def forget(self, connection: Any, steps: Collection[str]) -> None:
        """Take back that steps were done, in the connection's transaction."""
        for step in steps:
            connection.query(b"DELETE FROM " + self.thing.name + b" WHERE step=" + literal(step.encode()))

    def remove(self) -> None:
        """End it."""
        self._target.remove([self.thing])
