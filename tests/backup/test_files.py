"""A backup of an SQLite file comes back as a whole file, or what was there stays."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import key_of
from chalicelib.backup.archive.manifest import Part
from chalicelib.backup.archive.parts import ArchiveWriter, Reader
from chalicelib.backup.restore.restore import RestoreResult
from chalicelib.backup.sqlite import back_up_file, drill_file, restore_file
from chalicelib.core.errors import DamagedError, InvalidRequestError
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, KEYS, PLAIN, back_up, describe

ROWS = [(n, f"row {n}") for n in range(1000)]


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database that keeps its changes in a file beside it."""
    path = tmp_path / "its own.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        connection.execute("CREATE TABLE u (a)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", ROWS)
    return path


def run(store: Store, path: Path, *, keys: Keys = PLAIN, replace: bool = False) -> RestoreResult:
    return restore_file(Reader(store, id=ID, keys=keys, plain=False), path, replace=replace, progress=lambda _: None)


def rows_in(path: Path) -> list[tuple[int, str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT a, b FROM t ORDER BY a").fetchall()


@pytest.mark.parametrize("keys", [PLAIN, KEYS], ids=["plain", "encrypted"])
def test_a_file_comes_back(store: Store, database: Path, tmp_path: Path, keys: Keys) -> None:
    back_up_file(database, store, id=ID, keys=keys)
    restored = run(store, tmp_path / "copy.db", keys=keys)
    assert (restored.schema, restored.tables, restored.rows, restored.differences) == ("copy.db", 2, len(ROWS), ())
    assert rows_in(tmp_path / "copy.db") == ROWS
    assert sorted(file.name for file in tmp_path.iterdir() if "copy" in file.name) == ["copy.db"]


def test_its_tables_are_in_the_manifest_with_their_rows_whatever_they_are_called(store: Store, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("""CREATE TABLE "a ""table"" 'of' [mine]" (a INTEGER PRIMARY KEY AUTOINCREMENT)""")
        connection.execute("""INSERT INTO "a ""table"" 'of' [mine]" VALUES (7)""")
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(word)")
    manifest = back_up_file(database, store, id=ID, keys=PLAIN)
    rows = {table.name: table.rows for table in manifest.tables if not table.name.startswith("words")}
    assert rows == {"t": len(ROWS), "u": 0, "a \"table\" 'of' [mine]": 1}
    assert Reader(store, id=ID, keys=PLAIN, plain=False).manifest == manifest


def test_a_file_that_is_there_is_refused_and_replaced_on_request(store: Store, database: Path) -> None:
    back_up_file(database, store, id=ID, keys=PLAIN)
    # Changes that are in the file beside it only, and would be taken for the restored file's.
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM t")
    connection.commit()
    assert database.with_name("its own.db-wal").stat().st_size
    with pytest.raises(InvalidRequestError, match="exists: name another file, or use --replace"):
        run(store, database)
    assert rows_in(database) == []
    run(store, database, replace=True)
    connection.close()
    assert rows_in(database) == ROWS


def test_changes_without_their_file_are_refused_too(store: Store, database: Path, tmp_path: Path) -> None:
    back_up_file(database, store, id=ID, keys=PLAIN)
    (tmp_path / "copy.db-journal").write_bytes(b"a transaction that was not complete")
    with pytest.raises(InvalidRequestError):
        run(store, tmp_path / "copy.db")


def flipped(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:-1], lambda _: b""])
def test_what_was_there_stays_where_a_backup_is_damaged(
    store: Store, database: Path, damage: Callable[[bytes], bytes]
) -> None:
    manifest = back_up_file(database, store, id=ID, keys=PLAIN)
    key = key_of(ID, manifest.parts[0].name)
    store.put(key, damage(b"".join(store.read(key))), content_type="text/plain")
    with pytest.raises(DamagedError):
        run(store, database, replace=True)
    assert rows_in(database) == ROWS
    assert not list(database.parent.glob(".*"))


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(4096), b"half"])
def test_what_was_there_stays_where_a_backup_is_no_database(store: Store, database: Path, content: bytes) -> None:
    whole = database.read_bytes()
    content = whole[: len(whole) // 2] if content == b"half" else content
    with ArchiveWriter(store, id=ID, key=None) as archive:
        part = Part.of(archive.write("00001.sqlite", [content]), kind="sqlite")
        archive.finish(describe(ID, [part], key=None, tables=()))
    with pytest.raises(DamagedError, match=r"00001.sqlite.zst of backup .* is not a valid SQLite file: "):
        run(store, database, replace=True)
    assert rows_in(database) == ROWS


def test_a_backup_of_a_server_does_not_go_into_a_file(store: Store, database: Path) -> None:
    back_up(store, key=None)
    with pytest.raises(InvalidRequestError, match="is not of an SQLite file"):
        run(store, database, replace=True)
    assert rows_in(database) == ROWS


def test_a_drill_reads_the_file_and_leaves_none(store: Store, database: Path) -> None:
    back_up_file(database, store, id=ID, keys=PLAIN)
    drilled = drill_file(Reader(store, id=ID, keys=PLAIN, plain=False), progress=lambda _: None)
    assert (drilled.tables, drilled.differences) == (2, ())
