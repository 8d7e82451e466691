"""Views over what is gone: named when they are backed up, and no reason to restore less than all the rest."""

from contextlib import closing

import pytest

from chalicelib.backup.archive.manifest import Manifest
from chalicelib.core.errors import OutOfTimeError
from chalicelib.core.store import Store
from tests.backup.archives import KEYS
from tests.backup.restoring import Database, T, run, run_out_of_time
from tests.backup.test_drill import run as drill
from tests.backup.whole import back_up, connector, rows_of, write_backup
from tests.servers import on_both

pytestmark = on_both

BROKEN = ("over_broken", "over_column", "over_definer", "over_function", "over_nobody", "over_table")
STATEMENTS = [
    "CREATE TABLE t (a INT PRIMARY KEY, b INT)",
    "INSERT INTO t VALUES (1, 2)",
    "CREATE TABLE gone (a INT)",
    "CREATE FUNCTION lost () RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE VIEW whole AS SELECT a FROM t",
    "CREATE VIEW over_table AS SELECT a FROM gone",
    "CREATE VIEW over_column AS SELECT a, b FROM t",
    "CREATE VIEW over_function AS SELECT lost() AS a",
    "CREATE VIEW over_broken AS SELECT a FROM over_table",
    "CREATE DEFINER=nobody@localhost VIEW over_definer AS SELECT a FROM t",
    "CREATE VIEW over_nobody AS SELECT a FROM over_definer",
    "CREATE TRIGGER told BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEW.a",
    "CREATE PROCEDURE p () SELECT 1",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    "DROP TABLE gone",
    "DROP FUNCTION lost",
    "ALTER TABLE t DROP COLUMN b",
    "DROP USER nobody@localhost",
]


@pytest.fixture
def broken(database: Database, store: Store) -> Manifest:
    """The manifest of a backup of a schema of which only one view can be used."""
    database.new_schema("other")
    database.new_user("nobody")
    database.ask("GRANT ALL ON other.* TO nobody@localhost")
    connect = connector(database.url, schema="other")
    with closing(connect()) as connection, connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement)
        connection.commit()
    return back_up(connect, store, keys=KEYS)


def test_views_that_cannot_be_used_are_named_by_the_backup(broken: Manifest) -> None:
    assert broken.broken_views == BROKEN


def test_all_else_is_restored_and_what_is_not_is_told_with_its_reason(
    store: Store, database: Database, broken: Manifest
) -> None:
    restored = run(store, database, keys=KEYS)
    assert restored.differences == []
    assert all(each.was_broken and each.kind == "VIEW" for each in restored.broken)
    lost = {each.name: each.reason for each in restored.broken}
    # The one whose definer alone is gone is as it was.
    assert lost.keys() == {f"the view `{name}`" for name in BROKEN if name != "over_definer"}
    assert "gone" in lost["the view `over_table`"]
    assert "nobody" in lost["the view `over_nobody`"]
    found = database.describe("copy")
    names = {"TABLE t", "VIEW whole", "VIEW over_definer", "TRIGGER told", "PROCEDURE p", "EVENT e"}
    assert names == {name for name in found if name.split()[0] not in {"SCHEMA", "ROWS", "ORDER"}}


def test_they_are_told_of_too_when_an_interrupted_restore_is_completed(
    store: Store, database: Database, broken: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(store, database, keys=KEYS).broken
    database.ask("DROP SCHEMA copy")
    with monkeypatch.context() as patch:
        patch.setattr("chalicelib.backup.restore.restore.Restoration.compare", lambda *_, **__: run_out_of_time())
        with pytest.raises(OutOfTimeError):
            run(store, database, keys=KEYS)
    restored = run(store, database, keys=KEYS)
    assert restored.is_resumed
    assert restored.broken == expected


def test_a_drill_of_views_that_were_broken_succeeds_and_tells_of_them(
    store: Store, database: Database, broken: Manifest
) -> None:
    drilled = drill(store, database, keys=KEYS)
    assert drilled.differences == []
    # The drill's user is the definer of each.
    assert len(drilled.broken) == len(BROKEN) - 2


def test_what_was_not_broken_before_and_cannot_be_made_is_a_difference_to_a_drill(
    store: Store, database: Database
) -> None:
    programs = [
        b"CREATE VIEW `v` AS SELECT `a` FROM `gone`",
        b"CREATE TRIGGER `x` BEFORE INSERT ON `gone` FOR EACH ROW SET @a=1",
        b"CREATE TRIGGER `y` BEFORE INSERT ON `t` FOR EACH ROW SET @a=1",
    ]
    write_backup(store, tables=[T], rows=[("t", 1, rows_of("t", b"(1,'x')"))], programs=programs)
    restored = run(store, database, by_checksum=False)
    assert [(each.kind, each.name, each.was_broken) for each in restored.broken] == [
        ("VIEW", "the view `v`", False),
        ("TRIGGER", "the trigger `x`", False),
    ]
    assert "TRIGGER y" in database.describe("copy")
    differences = drill(store, database).differences
    assert any("creating the view `v`" in difference for difference in differences)
    assert any("creating the trigger `x`" in difference for difference in differences)
