"""Recording who was active, from a fire to the rows that the reports count."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, insert, select, update
from sqlalchemy.exc import OperationalError

from chalicelib.application import sessions
from chalicelib.core.clock import to_ms
from chalicelib.core.errors import RunFailedError
from chalicelib.runs import execution
from chalicelib.schema import activity, activity_days
from chalicelib.schema import runs as runs_table
from chalicelib.tasks import record_activity
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Killed, Kit
from tests.servers import on_a_server

NIGHT = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
DAY = "2026-03-01"


@pytest.fixture
def kit(database_url: str) -> Kit:
    return Kit(database_url, clock=FrozenClock(NIGHT))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def execute(kit: Kit, statement: Any, parameters: Any = None) -> Any:
    def work(connection: Any) -> Any:
        result = connection.execute(statement, parameters)
        return result.all() if result.returns_rows else None

    return kit.context().database.transact(work)


def add_session(kit: Kit, user_id: str, used_ms: int, *, created_ms: int = 0) -> None:
    id_ = f"{user_id} {used_ms}"
    execute(kit, insert(sessions).values(id=id_, user_id=user_id, created_at=created_ms, updated_at=used_ms))


def record(kit: Kit, moment: datetime = NIGHT, *, request_id: str = "r1") -> dict[str, Any]:
    context = kit.context(request_id=request_id)
    return execution.execute("record_activity", event=scheduled_event(moment), context=context)


def recorded(kit: Kit) -> list[tuple[str, str]]:
    return sorted(tuple(row) for row in execute(kit, select(activity)))


def days(kit: Kit) -> dict[str, int]:
    return {row.day: row.users for row in execute(kit, select(activity_days))}


def test_those_are_recorded_whose_sessions_were_used_on_the_day_before(kit: Kit) -> None:
    start = to_ms(utc("2026-03-01T00:00"))
    end = start + 86_400_000
    for user_id, used in {"before": start - 1, "first": start, "last": end - 1, "after": end}.items():
        add_session(kit, user_id, used)
    summary = record(kit)
    assert recorded(kit) == [(DAY, "first"), (DAY, "last")]
    assert days(kit) == {DAY: 2}
    assert (summary["outcome"], summary["total"], summary["succeeded"]) == ("succeeded", 2, 2)


def test_a_user_counts_once_however_many_sessions_were_used(kit: Kit) -> None:
    for hour in range(0, 24, 5):
        add_session(kit, "u", to_ms(utc("2026-03-01T00:00")) + 3_600_000 * hour)
    record(kit)
    assert (recorded(kit), days(kit)) == ([(DAY, "u")], {DAY: 1})


@pytest.mark.parametrize(
    ("zone", "fire", "day", "first", "end"),
    [
        # By hand: the midnights around the day.
        ("Europe/Berlin", "2026-03-30T01:30", "2026-03-29", "2026-03-28T23:00", "2026-03-29T22:00"),
        ("Europe/Berlin", "2026-10-26T01:30", "2026-10-25", "2026-10-24T22:00", "2026-10-25T23:00"),
        ("Australia/Lord_Howe", "2026-04-05T15:00", "2026-04-05", "2026-04-04T13:00", "2026-04-05T13:30"),
        ("America/Los_Angeles", "2026-03-02T01:30", "2026-02-28", "2026-02-28T08:00", "2026-03-01T08:00"),
    ],
)
def test_the_day_is_that_of_the_digests_zone_however_long_its_clocks_make_it(
    database_url: str, zone: str, fire: str, day: str, first: str, end: str
) -> None:
    kit = Kit(database_url, clock=FrozenClock(utc(fire)), DIGEST_ZONE=zone)
    first_ms, end_ms = to_ms(utc(first)), to_ms(utc(end))
    for user_id, used in {"before": first_ms - 1, "first": first_ms, "last": end_ms - 1, "after": end_ms}.items():
        add_session(kit, user_id, used)
    record(kit, utc(fire))
    assert recorded(kit) == [(day, "first"), (day, "last")]


def test_a_late_fire_records_the_same_day(kit: Kit) -> None:
    add_session(kit, "u", to_ms(utc("2026-03-01T12:00")))
    add_session(kit, "later", to_ms(utc("2026-03-08T12:00")))
    kit.clock.advance(9 * 86_400)
    record(kit)
    assert recorded(kit) == [(DAY, "u")]


def test_within_the_hour_a_session_of_the_day_that_was_used_again_since_midnight_counts(database_url: str) -> None:
    midnight = utc("2026-03-02T00:00")
    kit = Kit(database_url, clock=FrozenClock(midnight + timedelta(minutes=10)))
    add_session(kit, "still here", to_ms(midnight) + 300_000, created_ms=to_ms(midnight) - 1)
    add_session(kit, "came after midnight", to_ms(midnight) + 300_000, created_ms=to_ms(midnight))
    record(kit, midnight + timedelta(minutes=10))
    assert recorded(kit) == [(DAY, "still here")]


def test_later_run_for_a_day_changes_nothing(
    kit: Kit,
) -> None:
    add_session(kit, "u", to_ms(utc("2026-03-01T12:00")))
    record(kit)
    execute(kit, delete(sessions))
    add_session(kit, "v", to_ms(utc("2026-03-01T13:00")))
    kit.clock.advance(3 * 86_400)
    record(kit, NIGHT + timedelta(hours=1))
    assert (recorded(kit), days(kit)) == ([(DAY, "u"), (DAY, "v")], {DAY: 2})
    execute(kit, delete(sessions))
    record(kit, NIGHT + timedelta(hours=2))
    assert (recorded(kit), days(kit)) == ([(DAY, "u"), (DAY, "v")], {DAY: 2})


def test_the_same_fire_again_does_nothing(kit: Kit) -> None:
    add_session(kit, "u", to_ms(utc("2026-03-01T12:00")))
    record(kit)
    add_session(kit, "v", to_ms(utc("2026-03-01T12:00")))
    assert record(kit, request_id="r2")["outcome"] == "skipped"
    assert recorded(kit) == [(DAY, "u")]


def test_day_without_users_is_recorded_as_zero(kit: Kit) -> None:
    summary = record(kit)
    assert (summary["outcome"], summary["total"]) == ("succeeded", 0)
    assert (recorded(kit), days(kit)) == ([], {DAY: 0})


def test_a_dry_run_counts_and_writes_nothing(kit: Kit) -> None:
    add_session(kit, "u", to_ms(utc("2026-03-01T12:00")))
    add_session(kit, "u", to_ms(utc("2026-03-01T13:00")))
    payload = {"scheduled_for": "2026-03-02T01:30:00Z", "dry_run": True}
    summary = execution.execute("record_activity", event=payload, context=kit.context())
    assert (summary["total"], summary["skipped"], summary["succeeded"]) == (1, 1, 0)
    assert (recorded(kit), days(kit), execute(kit, select(runs_table))) == ([], {}, [])


def test_no_statement_looks_at_more_than_an_hour_of_sessions(kit: Kit) -> None:
    slices: list[list[int]] = []

    def note(_connection: Any, _cursor: Any, sql: str, parameters: Any, *_: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        if sql.startswith("INSERT INTO activity ("):
            slices.append(sorted(value for value in values if isinstance(value, int)))

    engine = kit.context().database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        record(kit)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    start, hour = to_ms(utc("2026-03-01T00:00")), 3_600_000
    assert len(slices) == 25
    for n, moments in enumerate(slices):
        assert {start + n * hour, start + (n + 1) * hour} <= set(moments)


@pytest.mark.parametrize("nth", [1, 2, 13, 25])
def test_a_run_killed_in_the_middle_and_repeated_ends_as_one_that_was_not(
    kit: Kit, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    for hour in range(24):
        add_session(kit, f"u{hour % 7}", to_ms(utc("2026-03-01T00:30")) + 3_600_000 * hour)
    insert_slice, calls = record_activity._insert, 0

    def die_at_the_nth(connection: Any, *, users: Any) -> None:
        nonlocal calls
        calls += 1
        insert_slice(connection, users=users)
        if calls == nth:
            raise Killed

    monkeypatch.setattr(record_activity, "_insert", die_at_the_nth)
    with pytest.raises(Killed):
        record(kit)
    assert days(kit) == {}
    assert record(kit)["outcome"] == "succeeded"
    assert (recorded(kit), days(kit)) == ([(DAY, f"u{n}") for n in range(7)], {DAY: 7})


def test_a_run_killed_before_the_day_was_closed_leaves_it_without_history(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_session(kit, "u", to_ms(utc("2026-03-01T12:00")))

    def die(*_: Any, **__: Any) -> int:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(record_activity, "_close", die)
        with pytest.raises(Killed):
            record(kit)
    assert (recorded(kit), days(kit)) == ([(DAY, "u")], {})
    assert record(kit)["succeeded"] == 1
    assert days(kit) == {DAY: 1}


def test_a_database_that_fails_makes_the_run_fail_and_its_repetition_completes_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_session(kit, "u", to_ms(utc("2026-03-01T12:00")))

    def fail(*_: Any, **__: Any) -> int:
        raise OperationalError("SELECT", {}, Exception("the disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(record_activity, "_close", fail)
        with pytest.raises(RunFailedError, match=r"record_activity failed: .*the disk is full"):
            record(kit)
    assert record(kit)["outcome"] == "succeeded"
    assert days(kit) == {DAY: 1}


def test_concurrent_runs_for_a_day_wait_for_each_other(kit: Kit) -> None:
    for n in range(50):
        add_session(kit, f"u{n:02}", to_ms(utc("2026-03-01T12:00")) + n)
    together = threading.Barrier(3)

    def run(minute: int) -> None:
        together.wait()
        record(kit, NIGHT - timedelta(minutes=minute), request_id=f"r{minute}")

    threads = [threading.Thread(target=run, args=(minute,)) for minute in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kit.settle()
    assert [run.status for run in execute(kit, select(runs_table))] == ["succeeded"] * 3
    assert (len(recorded(kit)), days(kit)) == (50, {DAY: 50})


# SQLite lets nobody in between.
@on_a_server
def test_a_run_that_closes_the_same_day_in_between_does_not_make_another_fail(kit: Kit) -> None:
    add_session(kit, "u", to_ms(utc("2026-03-01T12:00")))
    engine = kit.context().database.engine
    rivals = ["rival"]

    def come_in_between(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if rivals and sql.startswith("INSERT INTO activity_days"):
            # As of a run that nobody has gone on with for more than an hour, and that is at work all the same.
            execute(kit, update(runs_table).values(lease_until=0))
            record(kit, NIGHT - timedelta(minutes=1), request_id=rivals.pop())

    event.listen(engine, "before_cursor_execute", come_in_between)
    try:
        assert record(kit)["outcome"] == "succeeded"
    finally:
        event.remove(engine, "before_cursor_execute", come_in_between)
    assert [run.status for run in execute(kit, select(runs_table))] == ["succeeded"] * 2
    assert (recorded(kit), days(kit)) == ([(DAY, "u")], {DAY: 1})
