"""What is understood as a moment, and what is left alone, in whatever type of column it stands."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import BigInteger, DateTime, String, text
from sqlalchemy.types import TypeEngine

from chalicelib.core.clock import to_ms
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.database_cleanup.timestamps import read_ms
from tests.servers import on_a_server
from tests.tasks.database_cleanup.samples import add_things, ago, clean, ids_in, lines_of, things, use
from tests.world import World

AT = datetime(2016, 8, 4, 1, 59, 30, tzinfo=UTC)
AT_MS = to_ms(AT)


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (AT_MS, AT_MS),
        (AT_MS // 1000, AT_MS),
        (Decimal("1470275970.25"), AT_MS + 250),
        (1470275970.25, AT_MS + 250),
        (str(AT_MS), AT_MS),
        (f" {AT_MS // 1000} ", AT_MS),
        (AT, AT_MS),
        (AT.replace(tzinfo=None), AT_MS),
        ("2016-08-04T01:59:30Z", AT_MS),
        ("2016-08-04t01:59:30z", AT_MS),
        ("2016-08-04T01:59:30.250Z", AT_MS + 250),
        ("2016-08-04T01:59:30.250123999Z", AT_MS + 250),
        ("2016-08-04T01:59:30,5", AT_MS + 500),
        ("2016-08-04 01:59:30", AT_MS),
        ("2016-08-04T03:59:30+02:00", AT_MS),
        ("2016-08-03T20:59:30.000-0500", AT_MS),
        ("20160804T015930Z", AT_MS),
        ("2016-08-04", to_ms(datetime(2016, 8, 5, tzinfo=UTC))),
        ("20160804", to_ms(datetime(2016, 8, 5, tzinfo=UTC))),
        (date(2016, 8, 4), to_ms(datetime(2016, 8, 5, tzinfo=UTC))),
        (date(9999, 12, 31), 253_402_300_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_moment_is_understood_however_it_is_written(value: object, milliseconds: int) -> None:
    assert read_ms(value) == milliseconds


@pytest.mark.parametrize(
    "value",
    [
        0,
        -1,
        True,
        20160804,
        201608040159,
        999_999_999,
        10**11,
        253_402_300_800_000,
        float("nan"),
        float("inf"),
        "",
        "0",
        "never",
        "04/08/2016",
        "Thu Aug 04 2016 01:59:30 GMT+0000",
        "2016-08-04T25:00:00Z",
        "2016-13-04",
        "20160804015930",
        "0000-00-00 00:00:00",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00+14:00",
        "१४७०२७५९७०",
        b"1470275970",
        timedelta(days=1),
    ],
    ids=repr,
)
def test_what_is_no_moment_is_not_taken_for_one(value: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (Python's own words differ by what is wrong)
        read_ms(value)


NUMBERS = {
    "due": ago(seconds=1),
    "due long ago": ago(days=4000),
    "due in seconds": ago(seconds=1) // 1000,
    "due long ago in seconds": ago(days=4000) // 1000,
    "kept": ago(),
    "kept in seconds": ago() // 1000,
    "invalid zero": 0,
    "invalid date": 20160804,
    "invalid microseconds": 1000 * ago(days=1),
    "none": None,
}
SHORT_NUMBERS = {name: value for name, value in NUMBERS.items() if value is None or value < 2**31}
TEXTS = {
    "due with zone": "2016-08-04T01:59:59.999Z",
    "due without zone": "2016-08-04 01:59:59",
    "due elsewhere": "2016-08-04T03:59:59+02:00",
    "due long ago": "1999-12-31",
    "due in milliseconds": str(ago(seconds=1)),
    "kept": "2016-08-04T02:00:00Z",
    "kept elsewhere": "2016-08-03T23:00:00-05:00",
    "kept until its end": "2016-08-04",
    "invalid": "04/08/2016",
    "invalid nothing": "",
    "none": None,
}
MOMENTS = {"due": "2016-08-04 01:59:59", "kept": "2016-08-04 02:00:00", "none": None}
EXACT = {"due": "2016-08-04 01:59:59.999", "kept": "2016-08-04 02:00:00.000", "none": None}
ZERO = {"invalid": "0000-00-00 00:00:00"}
ON_SQLITE: list[tuple[str, dict[str, Any]]] = [
    ("BIGINT", NUMBERS),
    # SQLite keeps in a column what it is given.
    ("BIGINT", TEXTS),
    ("DATETIME", EXACT),
    ("VARCHAR(64)", TEXTS),
]
ON_A_SERVER: list[tuple[str, dict[str, Any]]] = [
    ("BIGINT", NUMBERS),
    ("BIGINT UNSIGNED", NUMBERS),
    ("INT", SHORT_NUMBERS),
    ("DECIMAL(20, 3)", NUMBERS),
    ("DOUBLE", NUMBERS),
    ("DATETIME", MOMENTS | ZERO),
    ("DATETIME(3)", EXACT | ZERO),
    ("TIMESTAMP NULL", MOMENTS | ZERO),
    ("DATE", {"due": "2016-08-03", "kept": "2016-08-04", "invalid": "0000-00-00", "none": None}),
    ("VARCHAR(64)", TEXTS),
    ("TEXT", TEXTS),
]


def check(world: World, monkeypatch: pytest.MonkeyPatch, type_: str, mapped: TypeEngine[Any], moments: Any) -> Any:
    def count(kind: str) -> int:
        return sum(name.startswith(kind) for name in moments)

    with things(world, type_, mapped=mapped) as table:
        add_things(world, moments)
        use(monkeypatch, Rule(name="things", timestamp=table.c.moment, chunk=3))
        assert clean(world, dry_run=True)["skipped"] == count("due")
        summary = clean(world)
        assert ids_in(world, table) == sorted(name for name in moments if not name.startswith("due"))
    assert (summary["succeeded"], summary["failed"], summary["skipped"]) == (count("due"), count("invalid"), 0)
    return summary


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mapped", [BigInteger(), DateTime(), String(64)], ids=str)
@pytest.mark.parametrize(("type_", "moments"), ON_SQLITE)
def test_on_sqlite_exactly_what_is_due_goes(
    world: World, monkeypatch: pytest.MonkeyPatch, type_: str, moments: Any, mapped: TypeEngine[Any]
) -> None:
    check(world, monkeypatch, type_, mapped, moments)


@on_a_server
@pytest.mark.parametrize("mapped", [BigInteger(), DateTime(), String(64)], ids=str)
@pytest.mark.parametrize(("type_", "moments"), ON_A_SERVER)
def test_on_a_server_exactly_what_is_due_goes_whatever_the_mapping_says(
    world: World, monkeypatch: pytest.MonkeyPatch, type_: str, moments: Any, mapped: TypeEngine[Any]
) -> None:
    check(world, monkeypatch, type_, mapped, moments)


@on_a_server
@pytest.mark.parametrize("zone", ["+05:30", "-08:00"])
def test_a_timestamp_means_the_same_in_whatever_zone_the_session_is(
    world: World, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    with things(world, "TIMESTAMP NULL") as table:
        world.execute(text("SET SESSION time_zone = '+00:00'"))
        add_things(world, MOMENTS)
        use(monkeypatch, Rule(name="things", timestamp=table.c.moment))
        world.execute(text(f"SET SESSION time_zone = '{zone}'"))
        clean(world)
        assert ids_in(world, table) == ["kept", "none"]


def test_logged_ids_of_invalid_timestamps_are_limited(
    world: World, monkeypatch: pytest.MonkeyPatch, log: Callable[[], list[dict[str, Any]]]
) -> None:
    monkeypatch.setattr("chalicelib.tasks.database_cleanup.deletion.MAX_LOGGED_IDS", 2)
    with things(world, "BIGINT") as table:
        add_things(world, {"a": 0, "b": 0, "c": 0, "d": ago(days=1), "e": ago(days=1), "f": ago(days=1)})
        use(monkeypatch, Rule(name="things", timestamp=table.c.moment))
        assert clean(world)["failed"] == 3
    (line,) = lines_of(log(), "ERROR")
    assert (line["invalid"], line["ids"]) == (3, ["a", "b"])
