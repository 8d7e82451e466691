"""kill -9 at any packet of a restore, and the repetition: the schema is what an undisturbed restore leaves."""

import json
import os
import random
import signal
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.backup.dump import dump as lanes
from chalicelib.backup.dump import rows
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from tests import forked
from tests.backup import dying_restore, shop
from tests.backup.restoring import Database, run
from tests.backup.whole import back_up, connector
from tests.servers import series
from tests.sweep import IS_SWEEP

TABLES = [
    "CREATE TABLE not_transactional (id INT PRIMARY KEY, n INT) ENGINE=MyISAM",
    "CREATE TABLE keyless (n INT) ENGINE=MyISAM",
]
ON_MARIADB = ["CREATE SEQUENCE numbering START WITH 5 INCREMENT BY 3 CACHE 10", "DO NEXTVAL(numbering)"]
NOTE = "INSERT INTO `nightshift_restore`"
PLACES = ["CREATE TABLE `nightshift_restore`", NOTE, "CREATE TABLE `", "\x03COMMIT", "LOAD DATA", "CREATE DEFINER", ""]
ROWS = [
    f"INSERT INTO not_transactional SELECT seq, -seq FROM {series(60000)}",
    f"INSERT INTO keyless SELECT seq FROM {series(60000)}",
]


@dataclass(frozen=True)
class Undisturbed:
    """What a restore leaves that nobody kills, and its packets."""

    left: dict[str, Any]
    packets: list[str]


def restore_in_a_process(
    database: Database, emulator: LocalAws, text: str = "", nth: int = 0
) -> subprocess.CompletedProcess[str]:
    return forked.run(dying_restore.main, database.url, emulator.endpoint, text, str(nth), environment=os.environ)


def kill(database: Database, emulator: LocalAws, text: str, nth: int) -> None:
    killed = restore_in_a_process(database, emulator, text, nth)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.fixture(scope="module")
def undisturbed(store: Store, server: Database, emulator: LocalAws) -> Undisturbed:
    """The restore of a schema whose tables have several parts each; only its backup is still there."""
    for schema in ("copy", "other"):
        server.ask(f"DROP SCHEMA IF EXISTS {schema}")
    server.ask("CREATE SCHEMA other")
    server.ask("USE other")
    server.ask("SET foreign_key_checks = 0")
    own = ON_MARIADB if server.is_mariadb else []
    for statement in [*shop.TABLES, *TABLES, *shop.ROWS, *ROWS, *shop.PROGRAMS, *own]:
        server.ask(statement)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "SECTION_BYTES", 100_000)
        patch.setattr(rows, "STATEMENT_BYTES", 4_000)
        manifest = back_up(connector(server.url, schema="other"), store)
    assert sum(part.table == "keyless" for part in manifest.parts) > 1
    done = restore_in_a_process(server, emulator)
    assert done.returncode == 0, done.stderr
    left = server.describe("copy")
    assert left == server.describe("other")
    return Undisturbed(left, json.loads(done.stdout))


def test_a_restore_that_is_killed_anywhere_is_completed_by_its_repetition(
    store: Store, database: Database, emulator: LocalAws, undisturbed: Undisturbed
) -> None:
    chance = random.Random(7)
    for text in PLACES if IS_SWEEP else PLACES[1::3]:
        count = sum(text in packet for packet in undisturbed.packets)
        assert count
        database.ask("DROP SCHEMA IF EXISTS copy")
        kill(database, emulator, text, chance.randint(1, max(1, count - 5)))
        # A second time, in what is left.
        kill(database, emulator, "", chance.randint(10, 40))
        run(store, database)
        assert database.describe("copy") == undisturbed.left


def test_a_part_that_is_there_without_its_note_or_a_note_without_its_part_cannot_be(
    store: Store, database: Database, emulator: LocalAws, undisturbed: Undisturbed
) -> None:
    notes = sum(NOTE in packet for packet in undisturbed.packets)
    # The first two are of the beginning and of the tables, the last of the programs.
    ends = [(NOTE, 3), ("\x03COMMIT", notes - 1), (NOTE, notes - 1), ("\x03COMMIT", 3)]
    for text, nth in ends if IS_SWEEP else ends[:2]:
        database.ask("DROP SCHEMA IF EXISTS copy")
        kill(database, emulator, text, nth)
        assert run(store, database).is_resumed
        assert database.describe("copy") == undisturbed.left


def test_a_restore_that_is_killed_at_its_end_is_complete_or_completed(
    store: Store, database: Database, emulator: LocalAws, undisturbed: Undisturbed
) -> None:
    last = len(undisturbed.packets)
    moments = range(last - 4, last + 1) if IS_SWEEP else (last - 4, last)
    refusals = 0
    for nth in moments:
        database.ask("DROP SCHEMA IF EXISTS copy")
        kill(database, emulator, "", nth)
        try:
            assert run(store, database).is_resumed
        except InvalidRequestError:
            # Its journal was gone, so that this is the schema of anybody.
            refusals += 1
        assert database.describe("copy") == undisturbed.left
    assert 0 < refusals < len(moments)
