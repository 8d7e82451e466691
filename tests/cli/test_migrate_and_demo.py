"""The command-line tool as a person runs it, in a process and an environment of its own."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from chalicelib import migrations
from tests import forked
from tests.shell import BASE, ROOT, nightshift

HEADER = "id,title,url,num_points,num_comments,author,created_at\n"


def run(*arguments: str, folder: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    default = {"HOME": "/nonexistent", "AWS_PROFILE": "nosuch", "COLUMNS": "200"}
    settings = {name: value for name, value in (BASE | default | environment).items() if value}
    return forked.run(nightshift, *arguments, environment=settings, folder=folder)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id,title\n1,x\n", "url"),
        ("", "posts.csv"),
        (HEADER, "no valid post"),
    ],
)
def test_a_csv_that_cannot_be_used_stops_with_one_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    csv = tmp_path / "posts.csv"
    csv.write_text(content)
    done = run("demo", "--folder", str(tmp_path / "demo"), "--posts", str(csv))
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_demo_refuses_a_database_with_users_of_its_own(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'application.db'}"
    engine = create_engine(url)
    migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users VALUES ('u1', 'Ann', 'ann@real.org', 1, 0, 1, NULL, 0, 0)"))
    done = run("demo", "--folder", str(tmp_path / "demo"), DATABASE_URL=url)
    assert done.returncode == 1
    assert "has 1 users of its own" in done.stderr
    with engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM users")).scalar_one() == 1
    engine.dispose()


def test_migrate_without_a_database_says_what_to_set() -> None:
    done = run("migrate")
    assert done.returncode == 1
    assert "DATABASE_URL is not set" in done.stderr


def test_migrate_brings_a_database_to_the_newest_schema(tmp_path: Path) -> None:
    done = run("migrate", DATABASE_URL=f"sqlite:///{tmp_path / 'new.db'}")
    assert (done.returncode, done.stdout) == (0, "The database has the newest schema.\n")


@pytest.mark.parametrize("command", ["doctor", "deploy", "destroy"])
def test_outside_of_a_project_one_sentence_says_what_cannot_be_read(tmp_path: Path, command: str) -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_PROFILE": "", "AWS_MAX_ATTEMPTS": "1"}
    done = run(command, "--stage", "dev", folder=tmp_path, **credentials, **nowhere)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be read" in done.stdout + done.stderr or "does not take" in done.stdout + done.stderr
