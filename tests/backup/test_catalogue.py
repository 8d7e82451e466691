"""The catalogue: what was backed up as rows, mended from the bucket, which alone counts."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from chalicelib.backup.archive.folder import BackupInfo, parse_id
from chalicelib.backup.archive.manifest import Manifest, Part
from chalicelib.backup.catalogue import KILLED, MIN_RATED_BYTES, RECENT, Catalogue, emit_ages, relies_on_snapshots
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.database import Database
from chalicelib.core.engine import engine_for
from chalicelib.core.errors import DamagedError, TransientError
from chalicelib.schema import backups
from nightshift.testkit.clock import FrozenClock
from tests.backup.archives import ID, OTHER_ID, describe

NOW = datetime(2026, 11, 26, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def listed(id: str = ID, **changes: Any) -> BackupInfo:
    """Return a backup as a list has it."""
    known: dict[str, Any] = {
        "finished_at": NOW,
        "verified_at": None,
        "drilled_at": None,
        "touched_at": NOW,
        "bytes": 1234,
    }
    return BackupInfo(id=id, **known | changes)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def database(database_url: str, clock: FrozenClock) -> Iterator[Database]:
    engine = engine_for(database_url)
    yield Database(engine, clock)
    engine.dispose()


@pytest.fixture
def catalogue(database: Database, clock: FrozenClock) -> Catalogue:
    return Catalogue(database, clock, kind="dump")


def rows(database: Database) -> list[dict[str, Any]]:
    """Return the rows, without what is null."""
    query = select(backups).order_by(backups.c.id)
    found = database.transact(lambda connection: connection.execute(query).mappings().all())
    return [{name: value for name, value in row.items() if value is not None} for row in found]


def manifest(*, plain_bytes: int = 3_000_000_000_000) -> Manifest:
    part = Part(
        name="00001.sql.zst", plain_bytes=plain_bytes, stored_bytes=99, sha256="ab", kind="rows", table="t", rows=3
    )
    return describe(ID, [part], key=None)


def test_a_backup_is_recorded_from_its_beginning_to_its_drill(
    catalogue: Catalogue, database: Database, clock: FrozenClock
) -> None:
    catalogue.begin(ID, run_id="run")
    begun = {"id": ID, "kind": "dump", "run_id": "run", "taken_at": to_ms(parse_id(ID)), "started_at": to_ms(NOW)}
    assert rows(database) == [begun | {"status": "running"}]
    clock.advance(60)
    catalogue.finish(ID, manifest())
    made = {"table_count": 1, "row_count": 3, "plain_bytes": 3_000_000_000_000, "stored_bytes": 99}
    finished = begun | made | {"status": "finished", "finished_at": to_ms(NOW) + 60_000}
    assert rows(database) == [finished]
    clock.advance(60)
    catalogue.record_check(ID, since="verified_at")
    catalogue.record_check(ID, since="drilled_at")
    trusted = {"verified_at": to_ms(NOW) + 120_000, "drilled_at": to_ms(NOW) + 120_000}
    assert rows(database) == [finished | trusted]


def test_a_backup_that_failed_says_why(catalogue: Catalogue, database: Database) -> None:
    catalogue.begin(ID, run_id=None)
    catalogue.fail(ID, TransientError("x" * 20_000))
    (row,) = rows(database)
    assert (row["status"], row["error"]) == ("failed", "x" * 10_000)


def test_a_damaged_backup_is_no_longer_verified_and_says_why_until_it_is_again(
    catalogue: Catalogue, database: Database
) -> None:
    catalogue.begin(ID, run_id=None)
    catalogue.finish(ID, manifest())
    catalogue.record_check(ID, since="verified_at")
    catalogue.record_defect(ID, DamagedError("00001.sql.zst is damaged"))
    (row,) = rows(database)
    assert (row["status"], row["error"]) == ("finished", "00001.sql.zst is damaged")
    assert "verified_at" not in row
    catalogue.record_check(ID, since="verified_at")
    (row,) = rows(database)
    assert "error" not in row


def test_backups_that_only_the_bucket_knows_are_added(catalogue: Catalogue, database: Database) -> None:
    found = [listed(ID, verified_at=NOW + HOUR), listed(OTHER_ID, finished_at=None)]
    assert catalogue.reconcile(found) == 1
    assert rows(database) == [
        {
            "id": ID,
            "kind": "dump",
            "status": "finished",
            "taken_at": to_ms(parse_id(ID)),
            "finished_at": to_ms(NOW),
            "verified_at": to_ms(NOW + HOUR),
            "stored_bytes": 1234,
        }
    ]
    assert catalogue.reconcile(found) == 0


def test_what_agrees_with_the_bucket_is_left_alone_whatever_the_clocks(
    catalogue: Catalogue, database: Database, clock: FrozenClock
) -> None:
    catalogue.begin(ID, run_id=None)
    catalogue.finish(ID, manifest())
    catalogue.record_check(ID, since="verified_at")
    before = rows(database)
    clock.advance(100_000)
    assert catalogue.reconcile([listed(ID, finished_at=NOW, verified_at=NOW + timedelta(seconds=30))]) == 0
    assert rows(database) == before


@pytest.mark.parametrize("verified_at", [None, NOW + HOUR])
def test_marks_are_taken_over_and_taken_back(
    catalogue: Catalogue, database: Database, verified_at: datetime | None
) -> None:
    catalogue.begin(ID, run_id=None)
    catalogue.finish(ID, manifest())
    catalogue.record_check(ID, since="verified_at")
    assert catalogue.reconcile([listed(ID, verified_at=verified_at, drilled_at=NOW)]) == 1
    (row,) = rows(database)
    assert row.get("verified_at") == (verified_at and to_ms(verified_at))
    assert row["drilled_at"] == to_ms(NOW)


def test_a_restored_catalogue_learns_how_the_backup_that_it_came_from_ended(
    catalogue: Catalogue, database: Database
) -> None:
    """Its row was still `running` when the dump saw it."""
    catalogue.begin(ID, run_id="run")
    assert catalogue.reconcile([listed(ID, verified_at=NOW)]) == 1
    (row,) = rows(database)
    assert (row["status"], row["run_id"], row["verified_at"]) == ("finished", "run", to_ms(NOW))


def test_what_is_gone_from_the_bucket_was_removed_but_for_what_was_finished_while_it_was_listed(
    catalogue: Catalogue, database: Database, clock: FrozenClock
) -> None:
    for id in (ID, OTHER_ID):
        catalogue.begin(id, run_id=None)
    catalogue.finish(ID, manifest())
    clock.advance(3600.001)
    catalogue.finish(OTHER_ID, manifest())
    assert catalogue.reconcile([]) == 1
    gone, fresh = rows(database)
    assert (gone["status"], gone["removed_at"]) == ("removed", clock.now_ms())
    assert fresh["status"] == "finished"
    assert catalogue.reconcile([]) == 0


def test_what_was_had_back_is_there_again(catalogue: Catalogue, database: Database, clock: FrozenClock) -> None:
    catalogue.begin(ID, run_id=None)
    catalogue.finish(ID, manifest())
    clock.advance(4000)
    catalogue.reconcile([])
    assert catalogue.reconcile([listed(ID)]) == 1
    (row,) = rows(database)
    assert row["status"] == "finished"
    assert "removed_at" not in row


@pytest.mark.parametrize("found", [[], [listed(ID, finished_at=None)]], ids=["nothing", "some parts"])
def test_a_row_that_still_says_running_after_two_days_was_killed(
    catalogue: Catalogue, database: Database, clock: FrozenClock, found: list[BackupInfo]
) -> None:
    catalogue.begin(ID, run_id=None)
    clock.advance(48 * 3600)
    assert catalogue.reconcile(found) == 0
    clock.advance(1)
    assert catalogue.reconcile(found) == 1
    (row,) = rows(database)
    assert (row["status"], row["error"]) == ("failed", KILLED)
    assert catalogue.reconcile(found) == 0


def test_dumps_and_snapshots_do_not_mix(database: Database, clock: FrozenClock, catalogue: Catalogue) -> None:
    snapshots = Catalogue(database, clock, kind="snapshot")
    snapshots.reconcile([listed(ID)])
    clock.advance(100_000)
    assert catalogue.reconcile([]) == 0
    assert [(row["kind"], row["status"]) for row in rows(database)] == [("snapshot", "finished")]


def test_the_rate_is_that_of_the_slowest_recent_backup(catalogue: Catalogue, clock: FrozenClock) -> None:
    assert catalogue.rate() is None
    speeds = [1e5, *(1e6 + number for number in range(RECENT))]
    for day, speed in enumerate(speeds, start=1):
        id = f"202611{day:02}T010000Z-00000000"
        catalogue.begin(id, run_id=None)
        clock.advance(1000)
        catalogue.finish(id, manifest(plain_bytes=round(1000 * speed)))
    assert catalogue.rate() == 1e6


def test_a_backup_of_a_few_rows_says_nothing_about_the_rate(catalogue: Catalogue, clock: FrozenClock) -> None:
    for id, octets in ((ID, MIN_RATED_BYTES), (OTHER_ID, MIN_RATED_BYTES - 1)):
        catalogue.begin(id, run_id=None)
        clock.advance(1 if id == ID else 90)
        catalogue.finish(id, manifest(plain_bytes=octets))
    assert catalogue.rate() == MIN_RATED_BYTES


def test_a_backup_that_did_not_end_says_nothing_about_the_rate(catalogue: Catalogue) -> None:
    catalogue.begin(ID, run_id=None)
    catalogue.reconcile([listed(OTHER_ID)])
    assert catalogue.rate() is None


@pytest.fixture
def ages(
    database: Database, clock: FrozenClock, log: Callable[[], list[dict[str, Any]]]
) -> Callable[[], dict[str, float]]:
    """What is told of the ages, in hours."""

    def tell() -> dict[str, float]:
        emit_ages(database, clock)
        lines = log()
        assert {line["task"] for line in lines} <= {"database_backup"}
        return {name: line[name][0] for line in lines for name in line if name.startswith("backup_")}

    return tell


def made(catalogue: Catalogue, clock: FrozenClock, id: str) -> None:
    clock.advance((parse_id(id) - from_ms(clock.now_ms())).total_seconds())
    catalogue.begin(id, run_id=None)
    clock.advance(1800)
    catalogue.finish(id, manifest())


def test_without_any_backup_no_age_is_told(ages: Callable[[], dict[str, float]], catalogue: Catalogue) -> None:
    assert ages() == {}
    catalogue.begin(ID, run_id=None)
    assert ages() == {}


def test_a_backup_is_as_old_as_what_it_holds_from_when_it_was_read_back(
    ages: Callable[[], dict[str, float]], catalogue: Catalogue, clock: FrozenClock
) -> None:
    made(catalogue, clock, ID)
    assert "backup_verified_age" not in ages()
    catalogue.record_check(ID, since="verified_at")
    assert ages()["backup_verified_age"] == 0.5
    clock.advance(3600)
    assert ages()["backup_verified_age"] == 1.5


def test_what_is_newer_and_was_not_read_back_is_damaged_or_is_gone_makes_no_younger(
    ages: Callable[[], dict[str, float]], catalogue: Catalogue, clock: FrozenClock
) -> None:
    made(catalogue, clock, ID)
    catalogue.record_check(ID, since="verified_at")
    made(catalogue, clock, OTHER_ID)
    hours = (from_ms(clock.now_ms()) - parse_id(ID)) / HOUR
    assert ages()["backup_verified_age"] == hours
    catalogue.record_check(OTHER_ID, since="verified_at")
    assert ages()["backup_verified_age"] == 0.5
    catalogue.record_defect(OTHER_ID, DamagedError("a part is missing"))
    assert ages()["backup_verified_age"] == hours
    catalogue.record_check(OTHER_ID, since="verified_at")
    clock.advance(7200)
    catalogue.reconcile([listed(ID, verified_at=NOW)])
    assert ages()["backup_verified_age"] == hours + 2


def test_the_time_without_a_drill_begins_with_the_first_backup_and_anew_with_each_drill(
    ages: Callable[[], dict[str, float]], catalogue: Catalogue, database: Database, clock: FrozenClock
) -> None:
    made(catalogue, clock, ID)
    clock.advance(3600)
    assert ages() == {"backup_drilled_age": 1.0}
    catalogue.record_check(ID, since="drilled_at")
    clock.advance(7200)
    assert ages() == {"backup_drilled_age": 2.0}
    # Its removal does not undo the drill.
    catalogue.reconcile([])
    assert [row["status"] for row in rows(database)] == ["removed"]
    assert ages() == {"backup_drilled_age": 2.0}


def test_where_rds_makes_the_backups_no_age_of_a_drill_is_told_until_there_is_a_dump_again(
    ages: Callable[[], dict[str, float]], catalogue: Catalogue, database: Database, clock: FrozenClock
) -> None:
    made(catalogue, clock, ID)
    catalogue.record_check(ID, since="drilled_at")
    Catalogue(database, clock, kind="snapshot").begin("20261128T010000Z-00000001", run_id=None)
    assert relies_on_snapshots(database)
    assert ages() == {}
    catalogue.begin("20261129T010000Z-00000001", run_id=None)
    assert not relies_on_snapshots(database)
    assert ages() == {"backup_drilled_age": 0.0}


def test_what_is_being_made_or_was_not_read_back_is_open(
    catalogue: Catalogue, database: Database, clock: FrozenClock
) -> None:
    assert not catalogue.has_unverified()
    catalogue.begin(ID, run_id=None)
    assert catalogue.has_unverified()
    assert not Catalogue(database, clock, kind="snapshot").has_unverified()
    catalogue.reconcile([listed(ID)])
    assert catalogue.has_unverified()
    catalogue.reconcile([listed(ID, verified_at=NOW)])
    assert not catalogue.has_unverified()


def test_what_kept_a_backup_from_being_read_back_is_forgotten_once_it_was(
    catalogue: Catalogue, database: Database
) -> None:
    catalogue.reconcile([listed(ID)])
    catalogue.record_defect(ID, TransientError("the export failed"))
    catalogue.reconcile([listed(ID)])
    assert rows(database)[0]["error"] == "the export failed"
    catalogue.reconcile([listed(ID, verified_at=NOW)])
    assert "error" not in rows(database)[0]
