"""kill -9 at any packet of a restore, and the repetition: the schema is what an undisturbed restore leaves."""

import random
import signal
import subprocess
import sys
from typing import Any

import pytest

from chalicelib.backup import lanes, rows
from chalicelib.errors import InvalidRequestError
from chalicelib.store import Store
from nightshift.local.aws import LocalAws
from tests.backup import shop
from tests.backup.restoring import Database, run
from tests.backup.whole import back_up, connector

TABLES = [
    "CREATE TABLE not_transactional (id INT PRIMARY KEY, n INT) ENGINE=MyISAM",
    "CREATE TABLE keyless (n INT) ENGINE=Aria",
    "CREATE SEQUENCE numbering START WITH 5 INCREMENT BY 3 CACHE 10",
]
ROWS = [
    "INSERT INTO not_transactional SELECT seq, -seq FROM seq_1_to_60000",
    "INSERT INTO keyless SELECT seq FROM seq_1_to_60000",
    "DO NEXTVAL(numbering)",
]


@pytest.fixture
def expected(store: Store, database: Database, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a schema holds of which there is a backup, whose tables have several parts each."""
    monkeypatch.setattr(lanes, "SECTION_OCTETS", 100_000)
    monkeypatch.setattr(rows, "STATEMENT_OCTETS", 4_000)
    database.ask("CREATE SCHEMA other")
    database.ask("USE other")
    database.ask("SET foreign_key_checks = 0")
    for statement in [*shop.TABLES, *TABLES, *shop.ROWS, *ROWS, *shop.PROGRAMS]:
        database.ask(statement)
    manifest = back_up(connector(database.url, schema="other"), store)
    assert sum(part.table == "keyless" for part in manifest.parts) > 1
    return database.describe("other")


def restore_in_a_process(database: Database, emulator: LocalAws, nth: int) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "tests.backup.dying_restore", database.url, emulator.endpoint, str(nth)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def test_a_restore_that_is_killed_anywhere_is_completed_by_its_repetition(
    store: Store, database: Database, emulator: LocalAws, expected: dict[str, Any]
) -> None:
    undisturbed = restore_in_a_process(database, emulator, 0)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert database.describe("copy") == expected
    packets = int(undisturbed.stdout)
    chance = random.Random(7)
    resumed = 0
    stretch = packets // 6
    for start in range(1, packets - stretch, stretch):
        database.ask("DROP SCHEMA copy")
        # The second time in what is left.
        for nth in (chance.randrange(start, start + stretch), chance.randrange(10, 40)):
            killed = restore_in_a_process(database, emulator, nth)
            assert killed.returncode == -signal.SIGKILL, killed.stderr
        resumed += run(store, database).is_resumed
        assert database.describe("copy") == expected
    assert resumed > 3


def test_a_restore_that_is_killed_at_its_end_is_complete_or_completed(
    store: Store, database: Database, emulator: LocalAws, expected: dict[str, Any]
) -> None:
    packets = int(restore_in_a_process(database, emulator, 0).stdout)
    refusals = 0
    for nth in range(packets - 4, packets + 1):
        database.ask("DROP SCHEMA copy")
        assert restore_in_a_process(database, emulator, nth).returncode == -signal.SIGKILL
        try:
            assert run(store, database).is_resumed
        except InvalidRequestError:
            # Its journal was gone, so that this is the schema of anybody.
            refusals += 1
        assert database.describe("copy") == expected
    assert 0 < refusals < 5
