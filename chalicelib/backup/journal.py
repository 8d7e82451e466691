"""How far a restore has come: a table in the target, written in the transaction of what it tells of.

It is there from before the first change until the restore is complete: a schema that was left half-way shows it, and
the same restore goes on from there.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from chalicelib.backup.quoting import literal, quoted
from chalicelib.backup.session import ask
from chalicelib.backup.target import Target, Thing

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
