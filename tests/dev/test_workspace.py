"""A day has its folder to itself, and its made-up blog is whole."""

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import Table, func, select

from chalicelib.application import users
from chalicelib.core.engine import engine_for
from chalicelib.schema import activity
from nightshift.dev.workspace import USERS, locked, make_blog

NOW = datetime(2026, 3, 29, tzinfo=UTC)


class Breaking(StringIO):
    """A terminal at which somebody presses Ctrl-C once they read of posts."""

    def write(self, text: str) -> int:
        if "posts" in text:
            raise KeyboardInterrupt
        return super().write(text)


@pytest.mark.parametrize("is_emptied", [False, True])
def test_a_folder_that_is_held_is_refused_and_stays_as_it_is(tmp_path: Path, is_emptied: bool) -> None:
    folder = tmp_path / "dev"
    with locked(folder, empty=False):
        (folder / "mail").mkdir()
        (folder / "mail" / "000001.eml").touch()
        with (
            pytest.raises(ValueError, match=f"^another nightshift dev uses {folder}: .*Ctrl-C$"),
            locked(folder, empty=is_emptied),
        ):
            pass
        assert (folder / "mail" / "000001.eml").exists()


def test_a_folder_is_free_again_and_emptied_where_that_is_wanted(tmp_path: Path) -> None:
    with locked(tmp_path, empty=False):
        (tmp_path / "mail").mkdir()
        (tmp_path / "mail" / "000001.eml").touch()
        (tmp_path / "nightshift.db").touch()
    with locked(tmp_path, empty=False):
        assert len(list(tmp_path.iterdir())) == 2
    with locked(tmp_path, empty=True):
        assert list(tmp_path.iterdir()) == []


def test_a_blog_whose_making_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "nightshift.db"
    with pytest.raises(KeyboardInterrupt):
        make_blog(Console(file=Breaking()), path, now=NOW)
    assert not path.exists()
    make_blog(Console(file=StringIO()), path, now=NOW)
    assert [each.name for each in tmp_path.iterdir()] == ["nightshift.db"]
    assert count(path, users) == USERS
    assert count(path, activity) > 0


def test_a_blog_takes_nothing_from_the_log_of_one_that_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "nightshift.db"
    before, wal = engine_for(f"sqlite:///{path}"), tmp_path / "nightshift.db-wal"
    with before.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE users (id INTEGER)")
        left = wal.read_bytes()
    before.dispose()
    path.unlink()
    wal.write_bytes(left)
    make_blog(Console(file=StringIO()), path, now=NOW)
    assert count(path, users) == USERS


def test_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "nightshift.db"
    path.write_bytes(b"mine")
    make_blog(Console(file=Breaking()), path, now=NOW)
    assert path.read_bytes() == b"mine"


def count(path: Path, table: Table) -> int:
    engine = engine_for(f"sqlite:///{path}")
    with engine.begin() as connection:
        number: int = connection.execute(select(func.count()).select_from(table)).scalar_one()
    engine.dispose()
    return number
