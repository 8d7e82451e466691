"""A column's type converts ids and times both ways, compares without loss, and leaves indexes usable."""

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Index, MetaData, Table, create_engine, insert, select, text
from sqlalchemy.dialects import mysql

from chalicelib.columns import IntegerId, Moment, Seconds, UuidId, absent, is_absent

DIALECT = mysql.dialect()
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")


@given(st.integers(-(2**63), 2**64 - 1))
def test_an_integer_id_is_text_in_python(number: int) -> None:
    type_ = IntegerId()
    assert type_.process_result_value(number, DIALECT) == str(number)
    assert type_.process_bind_param(str(number), DIALECT) == number


@given(st.uuids(), st.booleans())
def test_a_uuid_is_text_in_python_and_sixteen_bytes_in_the_database(value: uuid.UUID, swapped: bool) -> None:
    type_ = UuidId(swapped=swapped)
    raw = type_.process_bind_param(str(value), DIALECT)
    assert type_.process_result_value(raw, DIALECT) == str(value)
    assert len(raw or b"") == 16


@pytest.mark.parametrize("type_", [IntegerId(), UuidId()])
def test_a_text_that_is_no_id_is_refused(type_: Any) -> None:
    with pytest.raises(ValueError, match=r"x|UUID"):
        type_.process_bind_param("x", DIALECT)


@given(st.integers(0, 4_000_000_000_000), st.integers(0, 4_000_000_000))
def test_seconds_compare_as_milliseconds_do(limit_ms: int, stored: int) -> None:
    limit = Seconds().process_bind_param(limit_ms, DIALECT)
    assert limit is not None
    assert (stored >= limit) == (stored * 1000 >= limit_ms)
    assert (stored < limit) == (stored * 1000 < limit_ms)


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(ZONES))
def test_a_moment_comes_back_to_the_millisecond(milliseconds: int, zone: str) -> None:
    type_ = Moment(zone)
    wall = type_.process_bind_param(milliseconds, DIALECT)
    assert wall is not None
    first, second = (wall.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
    back = type_.process_result_value(wall, DIALECT)
    assert back == milliseconds or (first != second and back is not None and 0 < milliseconds - back <= 3_600_000)


def test_a_zero_date_is_no_time() -> None:
    assert Moment().process_result_value("0000-00-00 00:00:00", DIALECT) is None


def test_an_absent_table_has_no_rows() -> None:
    table = absent("id", "title")
    assert is_absent(table)
    with create_engine("sqlite://").connect() as connection:
        assert connection.execute(select(table.c.id, table.c.title)).all() == []


STORED = Table(
    "stored_otherwise",
    MetaData(),
    Column("id", IntegerId(), primary_key=True),
    Column("at", Moment("Europe/Berlin"), nullable=False),
)
Index("ix_stored_at", STORED.c.at)
LIMIT = int(datetime(2016, 8, 4, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * 1000


@pytest.fixture
def connection(server_url: str) -> Iterator[Connection]:
    engine = create_engine(server_url)
    with engine.begin() as connection:
        STORED.drop(connection, checkfirst=True)
        STORED.create(connection)
        rows = [{"id": str(number), "at": LIMIT + 60_000 * (number - 2000)} for number in range(1, 4001)]
        connection.execute(insert(STORED), rows)
        connection.execute(text("ANALYZE TABLE stored_otherwise"))
        yield connection
        STORED.drop(connection)
    engine.dispose()


def test_a_select_as_a_table_uses_the_indexes_of_what_it_selects_from(connection: Connection) -> None:
    posts = select(STORED.c.id, STORED.c.at.label("created_at")).where(STORED.c.id != "7").subquery("posts")
    window = posts.c.created_at >= LIMIT, posts.c.created_at < LIMIT + 5 * 60_000
    query = select(posts.c.id).where(*window).order_by(posts.c.created_at)
    assert list(connection.execute(query).scalars()) == ["2000", "2001", "2002", "2003", "2004"]
    compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
    plan = connection.exec_driver_sql(f"EXPLAIN FORMAT=JSON {compiled}").scalar_one()
    assert '"key": "ix_stored_at"' in plan or '"index_name": "ix_stored_at"' in plan
