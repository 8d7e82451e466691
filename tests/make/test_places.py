"""Where a trigger, its settings and its row go in files that others have written."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chalicelib.schedule.schedule import Schedule
from nightshift.make import task
from nightshift.project import triggers

NOW = datetime(2026, 3, 2, tzinfo=UTC)
APP = """import os
from typing import Any

from chalice.app import CloudWatchEvent

from chalicelib.triggers import App

app = App(app_name="nightshift")
%s

# The worker's comment.
@app.on_sqs_message(queue="work")
def work(event: Any) -> Any:
    return None


def _execute(task: str, event: Any) -> Any:
    return None
"""
NIGHTLY = """

@app.schedule(
    "0 2 * * *"  # when nobody looks
)
def nightly(event: CloudWatchEvent) -> Any:
    return {
        "a": 1,
    }  # and this belongs to it
"""
ADDED = """

@app.schedule("0 9 * * 1")
def weekly(event: CloudWatchEvent) -> Any:
    return _execute("weekly", event)
"""


def made(project: Path, *, text: str = "0 9 * * 1") -> dict[str, str]:
    return task.contents_of(project, "weekly", Schedule(text), now=NOW)


def test_the_trigger_follows_the_last_task(project: Path) -> None:
    (project / "app.py").write_text(APP % NIGHTLY)
    assert made(project)["app.py"] == APP % (NIGHTLY + ADDED)


def test_the_trigger_of_a_first_task_follows_the_last_trigger(project: Path) -> None:
    (project / "app.py").write_text(APP % "")
    worker, execute = "    return None\n", "\n\ndef _execute"
    assert made(project)["app.py"] == (APP % "").replace(worker + execute, worker + ADDED + execute)


def test_the_ends_of_lines_stay_as_they_are(project: Path) -> None:
    (project / "app.py").write_bytes((APP % NIGHTLY).replace("\n", "\r\n").encode())
    assert made(project)["app.py"] == (APP % (NIGHTLY + ADDED)).replace("\n", "\r\n")


def test_a_line_that_only_some_call_one_moves_nothing(project: Path) -> None:
    odd = APP.replace("import os\n", 'import os\n\nODD = "\x0c\u2028"\n')
    (project / "app.py").write_bytes((odd % NIGHTLY).encode())
    assert made(project)["app.py"] == odd % (NIGHTLY + ADDED)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("  0   9 * * 1  ", "0 9 * * 1"),
        ("@Weekly Europe/Berlin", "@Weekly Europe/Berlin"),
        ("every 1 hour", "every 1 hour"),
    ],
)
def test_the_schedule_reads_as_it_was_given(project: Path, text: str, written: str) -> None:
    (project / "app.py").write_text(made(project, text=text)["app.py"])
    by_name = {trigger.function: trigger.text for trigger in triggers.read(project)}
    assert by_name["weekly"] == written


def test_only_cron_text_is_made_up_for(project: Path) -> None:
    assert 'catch_up="latest"' in made(project)["chalicelib/tasks/weekly.py"]
    assert 'catch_up="skip"' in made(project, text="every 2 hours")["chalicelib/tasks/weekly.py"]


def test_the_test_is_about_the_next_fire(project: Path) -> None:
    # By hand: the clocks of Berlin are an hour ahead until the 29th.
    text = made(project, text="0 9 * * 1 Europe/Berlin")["tests/tasks/test_weekly.py"]
    assert "FIRE = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)\n" in text


@pytest.mark.parametrize("is_ascii", [True, False])
def test_the_configuration_keeps_its_order_and_its_letters(project: Path, is_ascii: bool) -> None:
    path = project / ".chalice" / "config.json"
    document = json.loads(path.read_text())
    document["stages"]["dev"]["environment_variables"]["SITE_NAME"] = "Größe"
    before = json.dumps(document, indent=2, ensure_ascii=is_ascii) + "\n"
    path.write_text(before, encoding="utf-8")
    after = made(project)[".chalice/config.json"]
    added = json.dumps({"weekly": task.SETTINGS}, indent=2)[2:-2]
    block = "".join(f"      {line}\n" for line in added.splitlines()).removesuffix("\n") + ",\n"
    assert after.replace(block, "") == before
    assert after.count(block) == 3


def test_a_configuration_without_stages_stays_one(project: Path) -> None:
    (project / ".chalice" / "config.json").write_text('{"version": "2.0"}')
    assert json.loads(made(project)[".chalice/config.json"]) == {"version": "2.0"}


def test_a_stage_without_functions_gets_the_one(project: Path) -> None:
    path = project / ".chalice" / "config.json"
    path.write_text(json.dumps({"stages": {"dev": {}}}))
    assert json.loads(made(project)[".chalice/config.json"]) == {
        "stages": {"dev": {"lambda_functions": {"weekly": task.SETTINGS}}}
    }


@pytest.mark.parametrize("name", ["deploy.md", "schedules.md"])
def test_a_page_without_the_table_or_no_page_is_left_alone(project: Path, name: str) -> None:
    page = project / "docs" / name
    page.write_text("# Ours\n")
    assert made(project)[f"docs/{name}"] == "# Ours\n"
    page.unlink()
    assert f"docs/{name}" not in made(project)
