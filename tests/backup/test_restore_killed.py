"""kill -9 at any packet of a restore, and the repetition: the schema is what an undisturbed restore leaves."""

import json
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


def restore_in_a_process(
    database: Database, emulator: LocalAws, text: str = "", nth: int = 0
) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "tests.backup.dying_restore", database.url, emulator.endpoint, text, str(nth)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def kill(database: Database, emulator: LocalAws, text: str, nth: int) -> None:
    killed = restore_in_a_process(database, emulator, text, nth)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.fixture
def packets(database: Database, emulator: LocalAws, expected: dict[str, Any]) -> list[str]:
    """The packets of an undisturbed restore."""
    undisturbed = restore_in_a_process(database, emulator)
    assert undisturbed.returncode == 0, undisturbed.stderr
    assert database.describe("copy") == expected
    packets: list[str] = json.loads(undisturbed.stdout)
    return packets


def test_a_restore_that_is_killed_anywhere_is_completed_by_its_repetition(
    store: Store, database: Database, emulator: LocalAws, expected: dict[str, Any], packets: list[str]
) -> None:
    chance = random.Random(7)
    for text in (
        "CREATE TABLE `nightshift_restore`",
        "INSERT INTO `nightshift_restore`",
        "CREATE TABLE `",
        "LOAD DATA",
        "\x03COMMIT",
        "CREATE DEFINER",
        "",
    ):
        count = sum(text in packet for packet in packets)
        assert count
        database.ask("DROP SCHEMA copy")
        kill(database, emulator, text, chance.randint(1, max(1, count - 5)))
        # A second time, in what is left.
        kill(database, emulator, "", chance.randint(10, 40))
        run(store, database)
        assert database.describe("copy") == expected


def test_a_part_that_is_there_without_its_note_or_a_note_without_its_part_cannot_be(
    store: Store, database: Database, emulator: LocalAws, expected: dict[str, Any], packets: list[str]
) -> None:
    notes = sum("INSERT INTO `nightshift_restore`" in packet for packet in packets)
    # The first two are of the beginning and of the tables, the last of the programs.
    for text, nth in (
        ("INSERT INTO `nightshift_restore`", 3),
        ("INSERT INTO `nightshift_restore`", notes - 1),
        ("\x03COMMIT", 3),
        ("\x03COMMIT", notes - 1),
    ):
        database.ask("DROP SCHEMA copy")
        kill(database, emulator, text, nth)
        assert run(store, database).is_resumed
        assert database.describe("copy") == expected


def test_a_restore_that_is_killed_at_its_end_is_complete_or_completed(
    store: Store, database: Database, emulator: LocalAws, expected: dict[str, Any], packets: list[str]
) -> None:
    refusals = 0
    for nth in range(len(packets) - 4, len(packets) + 1):
        database.ask("DROP SCHEMA copy")
        kill(database, emulator, "", nth)
        try:
            assert run(store, database).is_resumed
        except InvalidRequestError:
            # Its journal was gone, so that this is the schema of anybody.
            refusals += 1
        assert database.describe("copy") == expected
    assert 0 < refusals < 5
