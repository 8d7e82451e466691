"""The schema that a backup is restored into, and the journal of the restore in it."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pymysql.err import MySQLError

from chalicelib.backup.connection import literal, query_bytes, query_text, quoted
from chalicelib.core.errors import InvalidRequestError, TransientError
from chalicelib.core.server_errors import translate_errors

SYSTEM = frozenset({"mysql", "sys", "information_schema", "performance_schema"})
# The settings in the header of each part, and no limits of the server or the client. Rows may violate a CHECK that
# was added after them.
SETTINGS = (
    b"SET NAMES binary",
    b"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO',time_zone='+00:00',foreign_key_checks=0,unique_checks=0,"
    b"net_read_timeout=3600,wait_timeout=28800,lock_wait_timeout=60",
    # Without unique checks, MariaDB sorts a transaction's rows in files at its end: INSERTs took 1.5 times the CPU,
    # a stream as much as before, and the error for a duplicate key gave no reason.
    b"/*M! SET SESSION max_statement_time=0,idle_transaction_timeout=0,check_constraint_checks=0,unique_checks=1 */",
)
# SQL's names of the kinds in information_schema.
_KINDS = {"BASE TABLE": "TABLE", "SYSTEM VERSIONED": "TABLE"}


@dataclass(frozen=True, kw_only=True)
class SchemaObject:
    """An object of a schema, by its kind and quoted name. Triggers belong to their tables."""

    kind: str
    name: bytes

    def __str__(self) -> str:
        return f"the {self.kind.lower()} {self.name.decode()}"


class Target:
    """A schema by its name; `connect` connects to the server, with CLIENT.LOCAL_FILES for rows to go as streams."""

    def __init__(self, connect: Callable[[], Any], *, schema: str) -> None:
        """Raise InvalidRequestError for the server's system schemas."""
        if schema.lower() in SYSTEM:
            raise InvalidRequestError(f"{schema} is a system schema; restore into another schema")
        self.schema = schema
        self._connect = connect

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Open a connection for loading into the schema, and translate its errors."""
        with _connected(self._connect, f"restoring into {self.schema}") as connection:
            # Not PyMySQL's select_db: MySQL would convert the name's character set.
            connection.query(b"USE " + quoted(self.schema))
            for setting in SETTINGS:
                connection.query(setting)
            yield connection

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock for restoring into the schema. Raises TransientError if another restore holds it."""
        name = b"nightshift restore " + hashlib.sha256(self.schema.encode()).hexdigest()[:32].encode()
        with _connected(self._connect, f"restoring into {self.schema}") as connection:
            if query_text(connection, b"SELECT GET_LOCK(" + literal(name) + b",0)") != [(1,)]:
                raise TransientError(f"another restore into {self.schema} is running; wait until it ends")
            try:
                yield
            finally:
                # The server notices a closed connection only later: the next restore would be refused until then. A
                # lost connection holds no lock.
                with suppress(MySQLError):
                    connection.query(b"DO RELEASE_LOCK(" + literal(name) + b")")

    def create(self) -> None:
        """Create the schema, which must not exist."""
        with _connected(self._connect, f"creating the schema {self.schema}") as connection:
            connection.query(b"CREATE DATABASE " + quoted(self.schema))

    def drop(self) -> None:
        """Drop the schema and everything in it."""
        with _connected(self._connect, f"dropping the schema {self.schema}") as connection:
            connection.query(b"DROP DATABASE " + quoted(self.schema))

    def collation(self) -> str:
        """Return the schema's collation."""
        with self.connection() as connection:
            [(collation,)] = query_text(connection, b"SELECT @@collation_database")
        return str(collation)

    def set_collation(self, collation: str) -> None:
        """Set the schema's collation and its character set."""
        if collation != self.collation():
            with self.connection() as connection:
                connection.query(b"ALTER DATABASE COLLATE " + literal(collation.encode()))

    def objects(self) -> list[SchemaObject]:
        """Return the objects in the schema."""
        with self.connection() as connection:
            found = query_text(
                connection,
                b"SELECT TABLE_TYPE,TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()"
                b" UNION ALL SELECT ROUTINE_TYPE,ROUTINE_NAME FROM information_schema.ROUTINES"
                b" WHERE ROUTINE_SCHEMA=DATABASE()"
                b" UNION ALL SELECT 'EVENT',EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()",
            )
        return [SchemaObject(kind=_KINDS.get(kind, kind), name=quoted(name)) for kind, name in found]

    def drop_objects(self, objects: Iterable[SchemaObject]) -> None:
        """Drop objects of the schema."""
        with self.connection() as connection:
            for each in objects:
                connection.query(b"DROP %b IF EXISTS %b" % (each.kind.encode(), each.name))


def list_schemas(connect: Callable[[], Any]) -> set[str]:
    """Return the names of all schemas visible to the user. Raises as `translate_errors`."""
    with _connected(connect, "listing the schemas") as connection:
        return {name for (name,) in query_text(connection, b"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")}


@contextmanager
def _connected(connect: Callable[[], Any], what: str) -> Iterator[Any]:
    with translate_errors("connecting to the database"):
        connection = connect()
    try:
        with translate_errors(what):
            connection.query(b"SET NAMES binary")
            yield connection
    finally:
        # An error may already have closed it.
        if connection.open:
            connection.close()


NAME = "nightshift_restore"
BEGUN = "begun"


class Journal:
    """The progress of a restore: a table in the target with a note for each completed step.

    A step is written in the transaction of its data. The table exists from before the first change until the restore is
    complete, so an incomplete schema is recognisable, and the same restore continues from there."""

    def __init__(self, target: Target, *, avoiding: Collection[bytes]) -> None:
        """`avoiding` are the quoted names of the backup's tables."""
        name = NAME
        while quoted(name) in avoiding:
            name += "_"
        self.table = SchemaObject(kind="TABLE", name=quoted(name))
        self._target = target

    def begin(self, note: Mapping[str, Any]) -> dict[str, Any]:
        """Create it, replacing an earlier one, and return its notes, which identify the restore."""
        self.remove()
        with self._target.connection() as connection:
            connection.query(
                b"CREATE TABLE "
                + self.table.name
                + b" (step VARCHAR(100) CHARACTER SET ascii COLLATE ascii_bin NOT NULL"
                b" PRIMARY KEY, note LONGTEXT CHARACTER SET utf8mb4 NOT NULL) ENGINE=InnoDB"
                b" COMMENT='A restore that is not complete'"
            )
            self.note(connection, BEGUN, note)
            connection.commit()
        return {BEGUN: note}

    def note(self, connection: Any, step: str, note: Mapping[str, Any]) -> None:
        """Record that a step is done, in the connection's transaction."""
        values = literal(step.encode()) + b"," + literal(json.dumps(note).encode())
        connection.query(b"INSERT INTO " + self.table.name + b" VALUES (" + values + b")")

    def read(self) -> dict[str, Any]:
        """Return the notes by step; without the first, there is no restore to continue."""
        with self._target.connection() as connection:
            notes = query_bytes(connection, b"SELECT step,note FROM " + self.table.name)
        return {step.decode(): json.loads(note) for step, note in notes}

    def forget(self, connection: Any, steps: Collection[str]) -> None:
        """Delete steps, in the connection's transaction."""
        for step in steps:
            connection.query(b"DELETE FROM " + self.table.name + b" WHERE step=" + literal(step.encode()))

    def remove(self) -> None:
        """Drop it, because the restore is complete."""
        self._target.drop_objects([self.table])
