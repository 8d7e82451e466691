"""Restores for tests: a server as an operator looks at it, what is asked, and what ends a restore early."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.manifest import Part
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.restore.restore import RestoreProgress, RestoreRequest, RestoreResult, restore
from chalicelib.core.errors import OutOfTimeError
from chalicelib.core.store import Store
from tests.backup import samples
from tests.backup.archives import ID, PLAIN
from tests.backup.whole import connector
from tests.servers import is_mariadb, new_schema, new_user

ALL = RestoreRequest(
    schema="copy",
    tables=None,
    replace=False,
    allow_cross_schema=False,
    programs=True,
    set_definer=False,
    by_checksum=True,
    connections=2,
)
QUIET = RestoreProgress(checked=lambda _: None, loaded=lambda _: None)
HOSTILE = "20261126T010000Z-4d5e6f01"
TRIGGER = b"CREATE DEFINER=`root`@`localhost` TRIGGER `told` BEFORE INSERT ON `t` FOR EACH ROW SET NEW.b = 'told'"
T = b"CREATE TABLE `t` (\n  `a` int NOT NULL,\n  `b` varchar(20) DEFAULT NULL,\n  PRIMARY KEY (`a`)\n) ENGINE=InnoDB"
U = T.replace(b"`t`", b"`u`")


class Database:
    """A server, as an operator looks at it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = connector(url, autocommit=True)()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    @property
    def is_mariadb(self) -> bool:
        return is_mariadb(self.connection)

    def new_schema(self, name: str) -> None:
        """Leave an empty schema of this name."""
        for statement in new_schema(name):
            self.ask(statement)

    def new_user(self, name: str) -> None:
        """Leave a user of this name at localhost without any privilege."""
        for statement in new_user(name):
            self.ask(statement)

    def describe(self, schema: str) -> dict[str, Any]:
        """Return all that a schema holds."""
        # It changes the session.
        with closing(connector(self.url)()) as connection:
            return samples.describe(connection, schema)

    def schemas(self) -> set[str]:
        return {name for (name,) in self.ask("SHOW DATABASES")}


def run(
    store: Store,
    database: Database,
    *,
    id: str = ID,
    keys: Keys = PLAIN,
    progress: RestoreProgress = QUIET,
    options: dict[str, Any] | None = None,
    **asked: Any,
) -> RestoreResult:
    """Restore a backup."""
    reader = Reader(store, id=id, keys=keys, plain=False)
    return restore(reader, connector(database.url, **options or {}), replace(ALL, **asked), progress=progress)


class Counting:
    """Ends a restore after its n-th part, as a deadline or a lost server does."""

    def __init__(self, parts: int, end: Callable[[], None]) -> None:
        self.loaded: list[str] = []
        self._parts = parts
        self._end = end
        self.progress = RestoreProgress(checked=lambda _: None, loaded=self._count)

    def _count(self, part: Part) -> None:
        self.loaded.append(part.name)
        if len(self.loaded) == self._parts:
            self._end()


def run_out_of_time() -> None:
    raise OutOfTimeError("the deadline is near")


def half(store: Store, database: Database, **asked: Any) -> None:
    """Begin a restore, and end it after its first part."""
    with pytest.raises(OutOfTimeError):
        run(store, database, progress=Counting(1, run_out_of_time).progress, **{"connections": 1, **asked})
