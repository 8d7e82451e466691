"""`nightshift adopt` in the hands of a stranger: what it refuses, what it asks, and that it never writes."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from nightshift.adopt.database import read_only
from nightshift.local.environment import isolated
from tests.adopt.adopting import ADOPT, ORIGINAL, adopt
from tests.adopt.invented import MAGAZINE
from tests.adopt.schemas import DJANGO, LARAVEL
from tests.mapping.living import fill
from tests.mapping.project import APPLICATION, copy_project, run

EMPTY = "CREATE TABLE things (id INT PRIMARY KEY)"
MIGRATE = "import os; from chalicelib import migrations; from chalicelib.core.engine import engine_for\n"
MIGRATE += "migrations.upgrade(engine_for(os.environ['DATABASE_URL']))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    copy_project(tmp_path, ORIGINAL)
    return tmp_path


def complaint(project: Path, url: str, *options: str, code: int = 1) -> str:
    done = adopt(project, url, *options)
    assert (done.returncode, (project / APPLICATION).read_text()) == (code, ORIGINAL), done.stdout + done.stderr
    assert done.stderr.startswith("nightshift: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.strip()


def test_without_a_terminal_it_asks_for_yes(project: Path, schema_url: str) -> None:
    assert "--yes takes every proposal" in complaint(project, schema_url, code=2)


def test_a_database_that_cannot_be_adopted_is_refused_with_a_sentence(project: Path, schema_url: str) -> None:
    assert "the database other-tables has no tables" in complaint(project, schema_url, "--yes")
    assert "names an SQLite file" in complaint(project, "sqlite:///some.db", "--yes")
    absent = make_url(schema_url).set(database="absent").render_as_string(hide_password=False)
    assert "Unknown database 'absent'" in complaint(project, absent, "--yes")
    assert "DATABASE_URL names no database" in complaint(project, schema_url.rpartition("/")[0], "--yes")
    assert "must be a URL that begins with mysql+pymysql://" in complaint(
        project, "mysql://root@127.0.0.1/shop", "--yes"
    )
    fill(schema_url, EMPTY)
    assert "no table looks like users, and Nightshift needs it: name it with --set users=NAME" in complaint(
        project, schema_url, "--yes"
    )


def test_a_wrong_answer_is_refused_with_the_nearest(project: Path, schema_url: str) -> None:
    fill(schema_url, MAGAZINE)
    assert "did you mean articles?" in complaint(project, schema_url, "--yes", "--set", "posts=article")
    assert "did you mean users.email?" in complaint(project, schema_url, "--yes", "--set", "user.email=email")
    assert "did you mean Europe/Berlin?" in complaint(project, schema_url, "--yes", "--set", "zone=Berlin")
    assert "use KEY=VALUE" in complaint(project, schema_url, "--yes", "--set", "posts", code=2)


@pytest.fixture
def guest_url(schema_url: str) -> Iterator[str]:
    """A user who may read one table and its view, and insert into another."""
    fill(schema_url, LARAVEL)
    fill(schema_url, "CREATE VIEW everyone AS SELECT * FROM users")
    engine = create_engine(schema_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE USER guest@localhost"))
        for privilege, table in (("SELECT", "users"), ("SELECT", "everyone"), ("INSERT", "sessions")):
            connection.execute(text(f"GRANT {privilege} ON `other-tables`.{table} TO guest@localhost"))
        connection.execute(text("DROP TABLE jobs"))
    yield make_url(schema_url).set(username="guest").render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(text("DROP USER guest@localhost"))
    engine.dispose()


def test_tables_that_the_user_may_not_read_are_named_and_left_out(project: Path, guest_url: str) -> None:
    done = adopt(project, guest_url, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Note: sessions cannot be read, and was left out." in done.stdout
    assert 'sessions = absent("user_id", "created_at", "updated_at")' in (project / APPLICATION).read_text()


def test_tables_without_rows_are_mapped_by_their_types(project: Path, schema_url: str) -> None:
    fill(schema_url, LARAVEL.partition("SET time_zone")[0])
    done = adopt(project, schema_url, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Column("last_activity", Seconds(), key="updated_at")' in (project / APPLICATION).read_text()


def test_a_dry_run_prints_the_file_and_leaves_the_projects_alone(project: Path, schema_url: str) -> None:
    fill(schema_url, DJANGO)
    printed = adopt(project, schema_url, "--yes", "--dry-run").stdout
    assert '    "auth_user",\n    metadata,\n    Column("id", IntegerId(), primary_key=True),' in printed
    assert (project / APPLICATION).read_text() == ORIGINAL


def test_a_database_that_nightshift_has_migrated_is_adopted_as_before(project: Path, schema_url: str) -> None:
    fill(schema_url, LARAVEL)
    assert adopt(project, schema_url, "--yes").returncode == 0
    first = (project / APPLICATION).read_text()
    migrated = run(project, MIGRATE, environment={"DATABASE_URL": schema_url})
    assert migrated.returncode == 0, migrated.stderr
    again = adopt(project, schema_url, "--yes", "--force")
    assert again.returncode == 0, again.stdout + again.stderr
    assert (project / APPLICATION).read_text().replace("# In front of the names of Nightshift's own tables.", "") == (
        first.replace("# The database has tables of its own called jobs.", "")
    )


def test_in_a_terminal_it_asks_only_what_is_not_sure(project: Path, schema_url: str) -> None:
    fill(schema_url, MAGAZINE)
    ours, theirs = pty.openpty()
    os.write(ours, b"Europe/Berlin\nnone\n")
    done = subprocess.run(
        [sys.executable, "-c", ADOPT, "adopt"],
        cwd=project,
        env=isolated(os.environ) | {"DATABASE_URL": schema_url},
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("[UTC]: ") + done.stdout.count("[newsletter]: ") == 2
    written = (project / APPLICATION).read_text()
    assert 'Column("published_at", Moment("Europe/Berlin"))' in written
    assert 'false().label("email_digest")' in written


def test_the_server_refuses_to_write(schema_url: str) -> None:
    from chalicelib.core.engine import engine_for

    fill(schema_url, EMPTY)
    engine = engine_for(schema_url)
    read_only(engine)
    with engine.connect() as connection, pytest.raises(DBAPIError, match="READ ONLY"):
        connection.execute(text("INSERT INTO things VALUES (1)"))
    engine.dispose()
    engine_for.cache_clear()
