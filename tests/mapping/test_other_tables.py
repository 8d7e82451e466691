"""An application with tables of its own writes one file, and every task finds the right rows."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.mapping.applications import BYTES, HEAD, NUMBERS, Application
from tests.mapping.project import copy_project, run

DRIVER = """
import json, os, sys
from datetime import UTC, datetime
import boto3
from sqlalchemy import select
from chalicelib import application, migrations
from chalicelib.core.engine import engine_for
from chalicelib.mail.unsubscribe import opt_out
from chalicelib.schema import activity, deliveries, month_figures
from nightshift.local.invocation import drain, invoke, scheduled_event
engine = engine_for(os.environ["DATABASE_URL"])
migrations.upgrade(engine)
found = {}
for task, moment in (
    ("daily_digest", datetime(2016, 8, 4, 8, tzinfo=UTC)),
    ("record_activity", datetime(2016, 8, 4, 0, 5, tzinfo=UTC)),
    ("monthly_report", datetime(2016, 8, 1, 9, tzinfo=UTC)),
    ("cache_warming", datetime(2016, 8, 4, 8, tzinfo=UTC)),
    ("database_cleanup", datetime(2016, 8, 4, 2, tzinfo=UTC)),
):
    found[task] = invoke(task, scheduled_event(moment))
drain(boto3.client("sqs"), os.environ["WORK_QUEUE_URL"])
with engine.begin() as connection:
    found["deliveries"] = [list(row) for row in connection.execute(select(deliveries.c.user_id, deliveries.c.status))]
    found["active"] = list(connection.execute(select(activity.c.user_id)).scalars())
    july = select(month_figures).where(month_figures.c.month == "2016-07")
    found["july"] = connection.execute(july).one()._asdict()
    found["opted_out"] = [opt_out(connection, sys.argv[1]), opt_out(connection, sys.argv[1])]
    readers = select(application.users.c.id).where(application.users.c.email_digest)
    found["readers"] = list(connection.execute(readers).scalars())
print(json.dumps(found))
"""


@pytest.fixture
def schema_url(server_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty schema of its own on the server."""
    name = "other_tables"
    engine = create_engine(server_url)
    with engine.connect() as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {name}"))
        connection.execute(text(f"CREATE SCHEMA {name} DEFAULT CHARACTER SET utf8mb4"))
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {name}"))
    engine.dispose()


def fill(url: str, sql: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in filter(str.strip, sql.split(";\n")):
            connection.exec_driver_sql(statement.strip().rstrip(";"))
    engine.dispose()


def live(folder: Path, url: str, application: Application) -> dict[str, Any]:
    fill(url, application.sql)
    copy_project(folder, HEAD + application.mapping)
    done = run(folder, DRIVER, application.reader, environment={"DATABASE_URL": url})
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.usefixtures("world_environment")
def test_tasks_find_numbers_as_ids_and_timestamps_and_a_choice_in_json(schema_url: str, tmp_path: Path) -> None:
    found = live(tmp_path, schema_url, NUMBERS)
    assert found["deliveries"] == [["9", "sent"]]
    assert found["active"] == ["9"]
    assert (found["july"]["new_users"], found["july"]["new_posts"]) == (3, 0)
    assert found["database_cleanup"]["succeeded"] == 1
    assert (found["opted_out"], found["readers"]) == ([True, False], ["10"])


@pytest.mark.usefixtures("world_environment")
def test_tasks_find_uuids_in_bytes_and_local_times_and_a_choice_in_another_table(
    schema_url: str, tmp_path: Path
) -> None:
    found = live(tmp_path, schema_url, BYTES)
    assert found["deliveries"] == [[BYTES.reader, "sent"]]
    assert found["record_activity"]["outcome"] == "skipped"
    assert (found["july"]["new_users"], found["july"]["new_posts"]) == (2, 0)
    assert (found["opted_out"], found["readers"]) == ([True, False], ["22222222-2222-4222-8222-222222222222"])


MIGRATE = "import os; from chalicelib import migrations; from chalicelib.core.engine import engine_for\n"
MIGRATE += "migrations.upgrade(engine_for(os.environ['DATABASE_URL']))"


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        ("IntegerId(), primary_key", "Id, primary_key", "users.id is BIGINT: map it as IntegerId()"),
        ('Column("created_at", Moment())', 'Column("created_at", Millis)', "users.created_at is TIMESTAMP"),
        ("Seconds(), key", "Millis, key", "sessions.last_activity has epoch seconds: map it as Seconds()"),
    ],
)
def test_a_mapping_of_another_type_is_refused_with_a_sentence(
    schema_url: str, tmp_path: Path, ours: str, theirs: str, sentence: str
) -> None:
    assert ours in NUMBERS.mapping
    mapping = NUMBERS.mapping.replace(ours, theirs)
    fill(schema_url, NUMBERS.sql)
    copy_project(tmp_path, HEAD + mapping)
    done = run(tmp_path, MIGRATE, environment={"DATABASE_URL": schema_url})
    assert done.returncode == 1
    assert sentence in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("mapped", "sentence"),
    [("essays", "no table essays"), ("articles", "no column articles.headline")],
)
@pytest.mark.usefixtures("world_environment")
def test_a_task_names_a_table_or_column_that_is_missing(
    schema_url: str, tmp_path: Path, mapped: str, sentence: str
) -> None:
    mapping = NUMBERS.mapping.replace('"articles"', f'"{mapped}"')
    fill(schema_url, NUMBERS.sql.replace("headline", "heading"))
    copy_project(tmp_path, HEAD + mapping)
    done = run(tmp_path, DRIVER, NUMBERS.reader, environment={"DATABASE_URL": schema_url})
    assert done.returncode == 1
    assert sentence in done.stderr.splitlines()[-1]
