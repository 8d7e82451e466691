"""The command-line tool as a person runs it, in a process and an environment of its own: once as it is installed."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from chalicelib import migrations
from tests import warm
from tests.shell import BASE, NIGHTSHIFT, ROOT, nightshift

HEADER = "id,title,url,num_points,num_comments,author,created_at\n"


def run(*arguments: str, folder: Path = ROOT, **environment: str) -> "subprocess.CompletedProcess[str]":
    default = {"HOME": "/nonexistent", "AWS_PROFILE": "nosuch", "COLUMNS": "200"}
    settings = {name: value for name, value in (BASE | default | environment).items() if value}
    return warm.run(nightshift, *arguments, environment=settings, folder=folder)


@dataclass(frozen=True)
class Demo:
    """What the command as it is installed printed, and the folder that it left."""

    folder: Path
    printed: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo") / "a folder"
    command = [str(NIGHTSHIFT), "demo", "--users", "30", "--folder", str(folder)]
    environment = BASE | {"HOME": "/nonexistent", "AWS_PROFILE": "nosuch", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return Demo(folder, done.stdout)


def test_the_demo_sends_once_and_writes_every_mail(demo: Demo) -> None:
    mails = list((demo.folder / "mail").glob("*.eml"))
    first, again = (
        line.split() for line in demo.printed.splitlines() if line.startswith(("first fire", "the same fire"))
    )
    assert first[2:5] == ["succeeded", str(len(mails)), str(len(mails))]
    assert again[4:7] == ["skipped", "0", "0"]
    assert len(mails) == len(list((demo.folder / "mail").glob("*.html"))) > 0


def test_the_demos_log_is_json_without_addresses(demo: Demo) -> None:
    text = (demo.folder / "log.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    digests = [line["outcome"] for line in lines if line.get("task") == "daily_digest" and "outcome" in line]
    assert digests == ["succeeded", "skipped"]
    assert "@example" not in text.replace("***@example", "")


def test_the_demo_runs_again_in_the_same_folder(demo: Demo, tmp_path: Path) -> None:
    shutil.copytree(demo.folder, tmp_path / "again", symlinks=True)
    again = run("demo", "--users", "5", "--folder", str(tmp_path / "again"))
    assert again.returncode == 0, again.stderr


def test_the_demo_reads_real_posts_and_names_bad_rows(tmp_path: Path) -> None:
    csv = tmp_path / "posts.csv"
    csv.write_text(
        "\ufeff" + HEADER + "1,<b>Real</b>,http://example.com,1,2,me,8/4/2016 11:52\n2,No date,,1,2,me,never\n"
    )
    done = run("demo", "--users", "5", "--folder", str(tmp_path / "demo"), "--posts", str(csv))
    assert done.returncode == 0, done.stderr
    assert f"{csv}:3: created_at" in done.stdout
    html = next((tmp_path / "demo" / "mail").glob("*.html")).read_text()
    assert "&lt;b&gt;Real&lt;/b&gt;" in html


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("id,title\n1,x\n", "url"),
        ("", "posts.csv"),
        (HEADER, "no post that could be read"),
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
    assert "holds 1 users of its own" in done.stderr
    with engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM users")).scalar_one() == 1
    engine.dispose()


def test_the_demo_runs_on_mariadb_and_redis(mariadb_url: str, redis_url: str, tmp_path: Path) -> None:
    engine = create_engine(mariadb_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE OR REPLACE DATABASE demo"))
    engine.dispose()
    url = engine.url.set(database="demo").render_as_string(hide_password=False)
    done = run("demo", "--users", "20", "--folder", str(tmp_path), DATABASE_URL=url, REDIS_URL=redis_url)
    assert done.returncode == 0, done.stderr
    assert "mysql+pymysql" in done.stdout


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
