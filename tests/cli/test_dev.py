"""What `nightshift dev` refuses before its day begins."""

from pathlib import Path

import pytest

from tests.shell import Shell, in_project


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return in_project(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--at", "yesterday"], "'yesterday' is not a time: use"),
        (["--until", "2026-03-29"], "--until and --speed are for a replay: add --at"),
        (["--speed", "10"], "--until and --speed are for a replay: add --at"),
        (["--at", "2026-03-29", "--until", "2026-03-29"], "--until must be later than --at"),
    ],
)
def test_what_is_no_time_is_refused(shell: Shell, arguments: list[str], complaint: str) -> None:
    assert shell.complaint("dev", *arguments, code=2).startswith(complaint)


def test_a_database_of_another_machine_is_refused_unless_it_is_meant(shell: Shell) -> None:
    url = "mysql+pymysql://app:hunter2@db.example.com/blog"
    complaint = shell.complaint("dev", DATABASE_URL=url)
    assert complaint.startswith("DATABASE_URL is on db.example.com: every task would run on it from here")
    assert "hunter2" not in complaint


def test_where_there_is_no_project_it_says_so(shell: Shell, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    complaint = Shell(environment=shell.environment, folder=empty).complaint("dev")
    assert "app.py cannot be read" in complaint
    assert list(empty.iterdir()) == []
