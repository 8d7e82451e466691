"""What the bench asks of its servers is understood by each."""

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text

from bench import servers
from bench.filling import fill
from bench.ours import in_turn
from chalicelib.core.engine import engine_for
from nightshift.local.servers import NotInstalledError


@pytest.fixture(params=servers.NAMES)
def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.mark.parametrize("count", [1, 9, 10, 100, 1234])
def test_numbers_are_all_there_once(url: str, count: int) -> None:
    query = text(f"SELECT MIN(seq), MAX(seq), COUNT(*), COUNT(DISTINCT seq) FROM {servers.numbers(count)}")
    with engine_for(url).connect() as connection:
        assert tuple(connection.execute(query).one()) == (1, count, count, count)


def test_a_mixed_id_is_a_uuid(url: str) -> None:
    with engine_for(url).connect() as connection:
        ids = connection.execute(text(f"SELECT {servers.mixed_id('seq')} FROM {servers.numbers(20)}")).scalars().all()
    assert len({UUID(id_) for id_ in ids}) == 20


def test_a_server_is_told_when_to_write_to_the_disk(url: str) -> None:
    query = text("SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog")
    for at_once in (True, False):
        servers.flush(url, at_once=at_once)
        with engine_for(url).connect() as connection:
            assert tuple(connection.execute(query).one()) == (int(at_once), int(at_once))


def test_tables_worth_backing_up_are_filled(url: str) -> None:
    with engine_for(url).begin() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS filled"))
        connection.execute(text("CREATE DATABASE filled"))
    fill(url, rows=1000, schema="filled")
    with engine_for(url).connect() as connection:
        counts = [
            connection.execute(text(f"SELECT COUNT(*) FROM filled.{table}")).scalar()
            for table in ("orders", "posts", "sessions", "activity")
        ]
        connection.execute(text("DROP DATABASE filled"))
    assert counts == [430, 220, 200, 150]


def test_a_dump_is_made_by_the_programs_of_the_server_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, programs in {"sbin": ["mysqld"], "bin": ["mysql", "mysqldump"]}.items():
        (tmp_path / folder).mkdir()
        for program in programs:
            (tmp_path / folder / program).write_text("#!/bin/sh\necho Ver 9.7.4 for Linux\n")
            (tmp_path / folder / program).chmod(0o755)
    monkeypatch.setenv("MYSQLD", str(tmp_path / "sbin" / "mysqld"))
    found = servers.find("mysql")
    assert (found.dump, found.client) == (str(tmp_path / "bin" / "mysqldump"), str(tmp_path / "bin" / "mysql"))


def test_a_machine_without_a_server_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MYSQLD", str(tmp_path / "mysqld"))
    monkeypatch.setattr(servers, "MARIADB_PROGRAM", "no-such-mariadbd")
    assert servers.installed() == []
    with pytest.raises(NotInstalledError, match=r"run \.ci/mysql, or install mariadb-server"):
        servers.find(None)


def test_copies_of_the_messages_begin_elsewhere_for_each_worker() -> None:
    events = [{"n": n} for n in range(8)]
    turns = [in_turn(events, number, 4) for number in range(4)]
    assert [turn[0]["n"] for turn in turns] == [0, 2, 4, 6]
    assert all(sorted(each["n"] for each in turn) == list(range(8)) for turn in turns)
