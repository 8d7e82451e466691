"""An application with tables of its own writes one file, and every task finds the right rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.mapping.applications import BYTES, HEAD, NUMBERS, Application
from tests.mapping.living import DRIVER, fill
from tests.mapping.project import copy_project, run


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
