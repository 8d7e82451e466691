"""The database backup, from a fire to a bucket that holds a verified copy, and its drill."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, text, update

from chalicelib.backup.archive.encryption import make_keys
from chalicelib.backup.archive.folder import key_of
from chalicelib.backup.archive.parts import ArchiveWriter, Reader
from chalicelib.backup.backups import Backups
from chalicelib.backup.catalogue import MIN_RATED_BYTES, Catalogue
from chalicelib.backup.rds import advance_snapshots
from chalicelib.backup.restore.drill import DrillResult
from chalicelib.core.engine import engine_for
from chalicelib.core.errors import ConfigurationError, OutOfTimeError, PermanentError, RunFailedError, TransientError
from chalicelib.runs import execution
from chalicelib.schema import backups as backups_table
from chalicelib.schema import runs as runs_table
from tests.servers import on_a_server
from tests.world import World

A_WEEK_LONG = update(backups_table).values(
    finished_at=backups_table.c.started_at + 7 * 86_400_000, plain_bytes=MIN_RATED_BYTES
)
SECRET = "0123456789abcdef0123456789abcdef"


def back_up(world: World, *, seconds: float = 300, **payload: Any) -> dict[str, Any]:
    event = {"scheduled_for": datetime.fromtimestamp(world.clock.now_ms() / 1000, UTC).isoformat(), **payload}
    return execution.execute("database_backup", event=event, context=world.context(seconds=seconds))


def drill(world: World, **payload: Any) -> dict[str, Any]:
    return execution.execute("backup_drill", event=payload, context=world.context())


def warnings(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines that say that a backup is not of all that there is."""
    return [line for line in lines if line.get("message") == "the backup lacks a part of the schema"]


def backups_of(world: World) -> Backups:
    return Backups(world.context())


def catalogue(world: World) -> list[Any]:
    return list(world.execute(select(backups_table).order_by(backups_table.c.id)))


@pytest.fixture
def filled(world: World) -> World:
    world.add_users(20)
    world.add_posts(*(f"Post {n}" for n in range(30)))
    return world


@pytest.fixture
def _nothing_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.backup.backups.SMALL_BYTES", 0)


def test_a_fire_leaves_a_backup_that_was_read_back_and_a_row_that_says_so(filled: World) -> None:
    assert back_up(filled)["outcome"] == "succeeded"
    (found,) = backups_of(filled).list().backups
    assert found.finished_at is not None
    assert found.verified_at is not None
    (row,) = catalogue(filled)
    assert (row.id, row.status, row.error) == (found.id, "finished", None)
    assert row.verified_at is not None
    assert row.run_id == filled.execute(select(runs_table.c.id))[0].id


def test_the_summary_counts_tables_and_the_catalogue_rows_and_bytes(filled: World) -> None:
    summary = back_up(filled)
    (row,) = catalogue(filled)
    assert summary["total"] == summary["succeeded"] == row.table_count > 10
    assert row.row_count >= 50
    assert row.plain_bytes > row.stored_bytes > 0


@on_a_server
def test_the_manifest_says_what_the_server_was(filled: World) -> None:
    back_up(filled)
    backups = backups_of(filled)
    server = backups.reader(backups.list().backups[0].id, plain=False).manifest.server
    [(version, zone)] = filled.execute(text("SELECT VERSION(), @@GLOBAL.time_zone"))
    assert server.version == version
    assert "STRICT_TRANS_TABLES" in str(server.sql_mode)
    assert (server.time_zone, server.charset) == (zone, "utf8mb4")


@pytest.mark.parametrize("database_url", ["mariadb"], indirect=True)
def test_the_summary_names_the_tables_whose_history_is_not_in_the_backup(
    filled: World, log: Callable[[], list[dict[str, Any]]]
) -> None:
    filled.execute(text("CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING"))
    try:
        assert back_up(filled)["without_history"] == ["versioned"]
    finally:
        filled.execute(text("DROP TABLE versioned"))
    assert [line["without_history"] for line in warnings(log())] == [["versioned"]]


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)
def test_the_summary_names_the_libraries_that_are_not_in_the_backup(
    filled: World, log: Callable[[], list[dict[str, Any]]]
) -> None:
    filled.execute(text("CREATE LIBRARY squares LANGUAGE JAVASCRIPT AS $$ export function f(n) { return n * n } $$"))
    try:
        assert back_up(filled)["without_libraries"] == ["squares"]
    finally:
        filled.execute(text("DROP LIBRARY squares"))
    assert [line["without_libraries"] for line in warnings(log())] == [["squares"]]


def test_a_rotated_key_encrypts_the_next_backup_of_a_warm_process(filled: World) -> None:
    manager, rotated = filled.aws.client("secretsmanager"), SECRET[::-1]
    arn = manager.create_secret(Name="backup key", SecretString=SECRET)["ARN"]
    filled.configure(backup_key=arn)
    back_up(filled)
    manager.put_secret_value(SecretId=arn, SecretString=f"{rotated},{SECRET}")
    filled.clock.advance(3600)
    back_up(filled)
    backups = backups_of(filled)
    made = sorted(backup.id for backup in backups.list().backups)
    keys = [backups.reader(id, plain=False).manifest.key_id for id in made]
    assert keys == [key.id for key in make_keys([SECRET, rotated]).all]


def test_with_a_key_nothing_in_the_bucket_can_be_read_without_it(filled: World) -> None:
    filled.configure(backup_key=SECRET)
    back_up(filled)
    (found,) = backups_of(filled).list().backups
    store = filled.context().store
    assert all(name.endswith((".enc", ".json")) for name in found.objects)
    for name in found.objects:
        assert b"Post 7" not in b"".join(store.read(key_of(found.id, name)))
    filled.configure(backup_key=SECRET[::-1])
    with pytest.raises(PermanentError, match="encrypted with the key"):
        backups_of(filled).reader(found.id, plain=False)


def test_the_same_fire_again_makes_no_second_backup(filled: World) -> None:
    assert back_up(filled)["outcome"] == "succeeded"
    assert back_up(filled)["outcome"] == "skipped"
    assert len(backups_of(filled).list().backups) == 1


def test_a_dry_run_stores_nothing(filled: World) -> None:
    assert back_up(filled, dry_run=True)["outcome"] == "succeeded"
    assert backups_of(filled).list().backups == ()
    assert catalogue(filled) == []


def test_what_is_too_old_goes_when_a_newer_one_has_been_verified(filled: World) -> None:
    filled.configure(backup_keep="all=1 daily=2 weekly=0 monthly=0 yearly=0")
    for _ in range(4):
        back_up(filled)
        filled.clock.advance(86_400)
    kept = [backup.id for backup in backups_of(filled).list().backups]
    assert len(kept) == 2
    assert {row.id for row in catalogue(filled) if row.status == "finished"} >= set(kept)


def test_a_backup_that_is_damaged_before_its_verification_is_not_trusted_and_nothing_older_goes(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.configure(backup_keep="all=1 daily=1 weekly=0 monthly=0 yearly=0")
    back_up(filled)
    (good,) = backups_of(filled).list().backups
    filled.clock.advance(3 * 86_400)
    make = Backups.make

    def make_and_damage(backups: Backups, **arguments: Any) -> str:
        id_ = make(backups, **arguments)
        store = filled.context().store
        key = key_of(id_, "00001.sql.zst" if "mysql" in filled.environment["DATABASE_URL"] else "00001.sqlite.zst")
        content = bytearray(b"".join(store.read(key)))
        content[len(content) // 2] ^= 1
        store.put(key, bytes(content), content_type="application/octet-stream")
        return id_

    monkeypatch.setattr(Backups, "make", make_and_damage)
    with pytest.raises(RunFailedError, match="is damaged"):
        back_up(filled)
    listing = backups_of(filled).list()
    assert good.id in {backup.id for backup in listing.finished}
    assert listing.newest_verified is not None
    assert listing.newest_verified.id == good.id
    assert "is damaged" in catalogue(filled)[-1].error


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)
def test_a_few_rows_are_backed_up_however_slow_the_last_backup_was(filled: World) -> None:
    back_up(filled)
    filled.execute(A_WEEK_LONG)
    filled.clock.advance(86_400)
    assert back_up(filled, seconds=50)["outcome"] == "succeeded"


@on_a_server
@pytest.mark.usefixtures("_nothing_is_little")
def test_one_that_would_take_longer_than_the_function_has_is_not_begun(filled: World) -> None:
    back_up(filled)
    # As if the last one had taken a week.
    slow = update(backups_table).values(
        finished_at=backups_table.c.started_at + 7 * 86_400_000, plain_bytes=MIN_RATED_BYTES
    )
    filled.execute(slow)
    filled.clock.advance(86_400)
    with pytest.raises(RunFailedError, match="so none was begun: give it more memory, leave tables out with"):
        back_up(filled)
    assert len(catalogue(filled)) == 1
    # What it advises helps.
    filled.configure(backup_schema_only="*")
    assert back_up(filled)["outcome"] == "succeeded"


@on_a_server
@pytest.mark.usefixtures("_nothing_is_little")
def test_one_that_would_take_too_long_is_left_to_rds_where_the_settings_say_how(filled: World) -> None:
    back_up(filled)
    slow = update(backups_table).values(
        finished_at=backups_table.c.started_at + 7 * 86_400_000, plain_bytes=MIN_RATED_BYTES
    )
    filled.execute(slow)
    size: Any = {"DBInstanceClass": "db.t4g.micro", "AllocatedStorage": 20}
    rds = filled.aws.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="shop", Engine="mysql", MasterUsername="admin", MasterUserPassword=SECRET, **size
    )
    filled.configure(backup_rds="instance:shop", backup_export_role="arn:aws:iam::1:role/x", backup_export_key="arn:k")
    for _ in range(2):
        filled.clock.advance(86_400)
        snapshot = back_up(filled)["snapshot"]
        assert catalogue(filled)[-1].id == snapshot
        assert catalogue(filled)[-1].status == "running"
        for _ in range(2):
            advance_snapshots(filled.context())
        assert catalogue(filled)[-1].status == "finished"
        assert catalogue(filled)[-1].verified_at is not None
    assert len(rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]) == 2
    assert len(rds.describe_export_tasks()["ExportTasks"]) == 2


@on_a_server
@pytest.mark.usefixtures("_nothing_is_little")
def test_snapshots_by_rds_without_all_their_settings_are_refused_with_their_names(filled: World) -> None:
    back_up(filled)
    slow = update(backups_table).values(
        finished_at=backups_table.c.started_at + 7 * 86_400_000, plain_bytes=MIN_RATED_BYTES
    )
    filled.execute(slow)
    filled.clock.advance(86_400)
    filled.configure(backup_rds="instance:shop")
    with pytest.raises(RunFailedError, match="set BACKUP_RDS, BACKUP_EXPORT_ROLE and BACKUP_EXPORT_KEY"):
        back_up(filled)


@on_a_server
def test_a_backup_whose_time_runs_out_leaves_nothing_in_the_bucket_and_says_why(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ArchiveWriter.write

    def slow(archive: ArchiveWriter, name: str, chunks: Iterable[bytes]) -> Any:
        filled.clock.advance(60)
        return write(archive, name, chunks)

    monkeypatch.setattr(ArchiveWriter, "write", slow)
    with pytest.raises(RunFailedError, match="too large to back up within the function's time"):
        back_up(filled)
    assert backups_of(filled).list().backups == ()
    (row,) = catalogue(filled)
    assert (row.status, "too large" in row.error) == ("failed", True)


@on_a_server
def test_a_table_that_is_left_out_or_whose_rows_are_is_not_in_the_backup(filled: World) -> None:
    filled.configure(backup_exclude="jobs", backup_schema_only="po*")
    back_up(filled)
    backups = backups_of(filled)
    (found,) = backups.list().backups
    tables = {table.name: table.rows for table in backups.reader(found.id, plain=False).manifest.tables}
    assert "jobs" not in tables
    assert tables["posts"] is None
    assert tables["users"] == 20


@on_a_server
def test_the_drill_restores_the_newest_verified_backup_compares_it_and_leaves_no_schema(filled: World) -> None:
    back_up(filled)
    summary = drill(filled)
    assert (summary["outcome"], summary["failed"]) == ("succeeded", 0)
    assert summary["total"] > 10
    (row,) = catalogue(filled)
    assert row.drilled_at is not None
    with engine_for(filled.environment["DATABASE_URL"]).connect() as connection:
        schemas = [name for (name,) in connection.execute(text("SHOW DATABASES"))]
    assert not [name for name in schemas if "drill" in name]


@on_a_server
def test_a_verification_that_time_does_not_allow_is_handed_on_and_reads_no_part_twice(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reading = Reader.read

    def note(reader: Reader, part: Any) -> Any:
        read.append(part.name)
        # Of five minutes one part takes two.
        filled.clock.advance(120)
        return reading(reader, part)

    monkeypatch.setattr(Reader, "read", note)
    filled.configure(backup_connections=1)
    assert back_up(filled)["continues"]
    # However many parts there are.
    [(checkpoint,)] = filled.execute(select(runs_table.c.checkpoint))
    assert json.loads(checkpoint) == {"backup": catalogue(filled)[0].id, "parts": len(read)}
    for _ in range(len(read) + 50):
        if not (messages := filled.receive()):
            break
        filled.work(messages)
    (row,) = catalogue(filled)
    assert row.verified_at is not None
    assert sorted(read) == sorted(set(read))
    assert len(read) > 5


@on_a_server
def test_a_drill_that_finds_a_difference_takes_the_backup_its_mark(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(filled)

    def differ(*_: Any, **__: Any) -> DrillResult:
        return DrillResult(tables=1, rows=1, broken=(), differences=["posts has 29 rows instead of 30"])

    monkeypatch.setattr("chalicelib.backup.backups.drill", differ)
    with pytest.raises(RunFailedError, match="differs after a restore: posts has 29 rows instead of 30"):
        drill(filled)
    assert backups_of(filled).list().newest_verified is None
    assert "posts has 29 rows" in catalogue(filled)[0].error


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [
        (PermanentError("creating the table `t`: Invalid default value for 'a' (1067)"), False),
        (ConfigurationError("the database user lacks a privilege"), True),
        (TransientError("the server is out of memory or disk space"), True),
        (OutOfTimeError("the deadline is near"), True),
    ],
)
@on_a_server
def test_a_backup_that_cannot_be_restored_on_trial_is_no_longer_verified(
    filled: World, monkeypatch: pytest.MonkeyPatch, error: Exception, is_kept: bool
) -> None:
    back_up(filled)

    def fail(*_: Any, **__: Any) -> DrillResult:
        raise error

    monkeypatch.setattr("chalicelib.backup.backups.drill", fail)
    with pytest.raises(RunFailedError):
        drill(filled)
    assert (backups_of(filled).list().newest_verified is not None) is is_kept
    assert (catalogue(filled)[0].error is None) is is_kept


@on_a_server
def test_views_that_are_broken_are_in_the_summary(filled: World) -> None:
    filled.execute(text("CREATE TABLE gone (a INT)"))
    filled.execute(text("CREATE VIEW over_gone AS SELECT a FROM gone"))
    filled.execute(text("DROP TABLE gone"))
    try:
        assert back_up(filled)["broken_views"] == ["over_gone"]
    finally:
        filled.execute(text("DROP VIEW over_gone"))


def test_without_any_verified_backup_the_drill_is_dead_with_a_sentence(filled: World) -> None:
    with pytest.raises(RunFailedError, match="there is no verified backup to restore; run database_backup first"):
        drill(filled)


def test_where_rds_makes_the_backups_the_drill_is_not_needed_whatever_dumps_there_are(filled: World) -> None:
    back_up(filled)
    (dump,) = catalogue(filled)
    filled.clock.advance(60)
    Catalogue(filled.context().database, filled.clock, kind="snapshot").begin("20160804T080100Z-00000001", run_id=None)
    summary = drill(filled)
    assert (summary["outcome"], summary["reason"]) == (
        "skipped",
        "RDS makes the backups, and its exports read all of each; a drill restores dumps alone",
    )
    assert catalogue(filled)[0] == dump
