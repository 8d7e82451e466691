"""A drill restores into a schema that nobody knows, finds what is not as it was, and leaves nothing behind."""

import re
from typing import Any

import pytest

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import key_of
from chalicelib.backup.archive.manifest import Manifest
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.restore.contents import verify
from chalicelib.backup.restore.drill import DrillResult, drill
from chalicelib.backup.restore.restore import RestoreProgress
from chalicelib.core.errors import ConfigurationError, DamagedError, OutOfTimeError, PermanentError, TransientError
from chalicelib.core.store import Store
from tests.backup.archives import ID, KEYS, PLAIN
from tests.backup.restoring import HOSTILE, QUIET, Counting, Database, T, run_out_of_time
from tests.backup.whole import connector, rows_of, write_backup
from tests.servers import on_both

EVENT = b"CREATE EVENT `e` ON SCHEDULE EVERY 1 SECOND DO INSERT INTO `t` VALUES (9,'fired')"


def run(
    store: Store,
    database: Database,
    *,
    id: str = ID,
    keys: Keys = PLAIN,
    progress: RestoreProgress = QUIET,
    **options: Any,
) -> DrillResult:
    reader = Reader(store, id=id, keys=keys, plain=False)
    return drill(reader, connector(database.url, **options), connections=2, progress=progress)


def test_everything_is_restored_on_trial_and_gone_afterwards(
    store: Store, database: Database, hostile: Manifest
) -> None:
    before = database.schemas()
    seen: set[str] = set()
    look = Counting(1, lambda: seen.update(database.schemas() - before))
    drilled = run(store, database, id=HOSTILE, keys=KEYS, progress=look.progress)
    assert drilled == DrillResult(tables=len(hostile.tables), rows=hostile.rows, broken=[], differences=[])
    assert hostile.broken_views == ()
    [schema] = seen
    assert re.fullmatch("nightshift_drill_[0-9a-f]{8}", schema)
    assert database.schemas() == before


def test_who_lacks_the_key_reads_nothing_in_the_bucket(store: Store, hostile: Manifest) -> None:
    verify(store, HOSTILE, keys=KEYS, plain=False, threads=2, progress=lambda _: None)
    content = b"".join(b"".join(store.read(found.key)) for found in store.list(key_of(HOSTILE, "")))
    words = {word for table in hostile.tables for word in (table.name, (table.checksum or "").rpartition(":")[2])}
    words |= {hostile.schema, hostile.server.version, str(hostile.rows)}
    assert not any(word.encode() in content for word in words if len(word) > 4)
    assert sum(len(word) > 4 for word in words) > 60


def test_an_event_of_a_backup_is_not_made(store: Store, database: Database) -> None:
    write_backup(store, tables=[T], rows=[], programs=[EVENT])
    assert run(store, database).differences == []


@on_both
def test_what_is_not_as_it_was_is_told(store: Store, database: Database) -> None:
    write_backup(store, tables=[T], rows=[("t", 1, rows_of("t", b"(1,'x')"))], checksum="another")
    assert run(store, database).differences == ["the rows of t differ from the backup"]


def test_the_schema_is_dropped_after_a_failure_too(store: Store, database: Database, small: Manifest) -> None:
    before = database.schemas()
    with pytest.raises(OutOfTimeError):
        run(store, database, progress=Counting(1, run_out_of_time).progress)
    assert database.schemas() == before
    write_backup(store, tables=[T], rows=[("t", 2, rows_of("t", b"(1,'x')", b"(1,'y')"))])
    with pytest.raises(PermanentError, match="Duplicate entry"):
        run(store, database)
    assert database.schemas() == before


def test_of_a_damaged_backup_no_schema_is_made(store: Store, database: Database, small: Manifest) -> None:
    store.put(key_of(ID, small.parts[1].name), b"damaged", content_type="text/plain")
    begun: list[Any] = []
    with pytest.raises(DamagedError):
        run(store, database, progress=Counting(1, lambda: begun.append(database.schemas())).progress)
    assert not begun


def test_a_table_whose_rows_are_elsewhere_is_refused(store: Store, database: Database) -> None:
    write_backup(store, tables=[T.replace(b"InnoDB", b"FEDERATED CONNECTION='mysql://x'")], rows=[])
    with pytest.raises(PermanentError, match="has the engine FEDERATED, which an unencrypted backup may not"):
        run(store, database)


def test_who_may_not_make_schemas_is_told_what_to_grant(store: Store, database: Database, small: Manifest) -> None:
    database.new_user("owner")
    with pytest.raises(ConfigurationError, match=r"lacks a privilege: .*GRANT ALL ON `nightshift\\_drill\\_%`"):
        run(store, database, user="owner")
    database.ask(r"GRANT ALL ON `nightshift\_drill\_%`.* TO owner@localhost")
    assert run(store, database, user="owner").differences == []


def test_what_a_drill_left_that_was_killed_is_dropped_by_the_next(
    store: Store, database: Database, small: Manifest
) -> None:
    left: list[str] = []

    def lose_the_database() -> None:
        # The drill cannot even drop its schema.
        left.extend(schema for schema in database.schemas() if schema.startswith("nightshift_drill_"))
        database.ask("RENAME USER owner@localhost TO nobody@localhost")
        for (id_,) in database.ask("SELECT ID FROM information_schema.PROCESSLIST WHERE USER='owner'"):
            database.ask(f"KILL {id_}")

    database.new_user("owner")
    database.ask("DROP USER IF EXISTS nobody@localhost")
    database.ask(r"GRANT ALL ON `nightshift\_drill\_%`.* TO owner@localhost")
    with pytest.raises((TransientError, ConfigurationError)):
        run(store, database, user="owner", progress=Counting(1, lose_the_database).progress)
    assert len(left) == 1
    assert left[0] in database.schemas()
    # Others' schemas, whatever their names.
    kept = {"nightshift_drill_00000000", "nightshift_drill_x", "nightshift_drill_0000000"}
    for schema in kept:
        database.ask(f"CREATE SCHEMA {schema}")
    database.ask("CREATE TABLE nightshift_drill_00000000.t (a INT)")
    assert run(store, database).differences == []
    schemas = database.schemas()
    assert {schema for schema in schemas if schema.startswith("nightshift_drill_")} == kept
    for schema in kept:
        database.ask(f"DROP SCHEMA {schema}")


def test_a_drill_that_is_under_way_is_left_alone_by_another(store: Store, database: Database, small: Manifest) -> None:
    drilled = []
    once = Counting(1, lambda: drilled.append(run(store, database)))
    assert run(store, database, progress=once.progress).differences == []
    assert drilled[0].differences == []
