"""Backups in a bucket, and the server that they are restored on."""

import pytest

from chalicelib.backup.archive.manifest import Manifest
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws, prepare
from nightshift.local.environment import BUCKET
from tests.backup import samples
from tests.backup.archives import KEYS
from tests.backup.restoring import HOSTILE, TRIGGER, Database, T, U
from tests.backup.whole import back_up, connector, rows_of, write_backup


@pytest.fixture(scope="module")
def store(emulator: LocalAws) -> Store:
    prepare(emulator)
    return Store(emulator.client("s3"), bucket=BUCKET)


@pytest.fixture(scope="module")
def server(server_url: str) -> Database:
    return Database(server_url)


@pytest.fixture
def database(server: Database) -> Database:
    """A server with no schema that a restore could have made."""
    for schema in ("copy", "other"):
        server.ask(f"DROP SCHEMA IF EXISTS {schema}")
    return server


@pytest.fixture(scope="module")
def hostile(server: Database, store: Store) -> Manifest:
    """The manifest of a backup of everything, whose schema `source` is still there."""
    server.ask("DROP SCHEMA IF EXISTS source")
    server.ask("CREATE SCHEMA source CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci")
    connect = connector(server.url, schema="source")
    samples.fill(connect(), "source")
    return back_up(connect, store, id=HOSTILE, keys=KEYS)


@pytest.fixture
def small(store: Store) -> Manifest:
    """The manifest of a backup of two tables, of which `t` has two parts."""
    rows = [
        ("t", 2, rows_of("t", b"(1,'x')", b"(2,NULL)")),
        ("u", 1, rows_of("u", b"(1,'u')")),
        ("t", 1, rows_of("t", b"(3,'z')")),
    ]
    return write_backup(store, tables=[T, U], rows=rows, programs=[TRIGGER])
