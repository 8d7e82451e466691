"""The triggers of app.py, as they are read without running it."""

from pathlib import Path

import pytest

import app
from chalicelib.schedule.schedule import Schedule
from nightshift.project import triggers

ROOT = Path(__file__).parents[2]


def written(folder: Path, source: str) -> Path:
    (folder / "app.py").write_text(source)
    return folder


def test_this_projects_triggers_are_those_that_chalice_deploys() -> None:
    known = triggers.read(ROOT)
    assert sorted(trigger.function for trigger in known) == sorted(app.app.handler_map)
    by_kind = {
        kind: set(triggers.functions_of(known, kind)) for kind in ("task", "expression", "queue", "topic", "function")
    }
    assert by_kind == {
        "task": set(app.app.schedules),
        "expression": {"dispatch", "watch"},
        "queue": {"work", "work_priority"},
        "topic": {"mail_feedback"},
        "function": {"operate", "look"},
    }


def test_this_projects_schedules_are_those_that_it_has_when_it_runs() -> None:
    texts = {each.function: each.text for each in triggers.read(ROOT) if each.kind == "task"}
    assert {name: Schedule(text) for name, text in texts.items()} == app.app.schedules


def test_reading_runs_nothing(tmp_path: Path) -> None:
    project = written(tmp_path, 'raise SystemExit\n\n@app.schedule("@daily")\ndef nightly(event):\n    return 1\n')
    (trigger,) = triggers.read(project)
    assert (trigger.function, trigger.kind, trigger.text, trigger.last_line) == ("nightly", "task", "@daily", 5)


@pytest.mark.parametrize(
    "call",
    [
        "schedule('rate(5 minutes)')",
        "schedule(expression='cron(0 8 * * ? *)')",
        "schedule(Rate(5, unit=Rate.MINUTES))",
        "schedule(Cron(0, 8, '*', '*', '?', '*'), description='nightly')",
    ],
)
def test_an_expression_of_eventbridge_is_no_task(tmp_path: Path, call: str) -> None:
    (trigger,) = triggers.read(written(tmp_path, f"@app.{call}\ndef nightly(event):\n    return 1\n"))
    assert (trigger.function, trigger.kind) == ("nightly", "expression")


@pytest.mark.parametrize("call", ["schedule(CRON)", "schedule()", "schedule(f'{CRON}')"])
def test_a_schedule_that_is_not_written_out_is_named_with_its_line(tmp_path: Path, call: str) -> None:
    project = written(tmp_path, f"@app.{call}\ndef nightly(event):\n    return 1\n")
    with pytest.raises(ValueError, match=r"app\.py:1: the schedule of nightly must be literal text"):
        triggers.read(project)


@pytest.mark.parametrize("source", ["def nightly(:\n", "\0", "# coding: nonsense\n"])
def test_what_is_no_python_is_a_sentence(tmp_path: Path, source: str) -> None:
    with pytest.raises(ValueError, match=r"app\.py cannot be read: "):
        triggers.read(written(tmp_path, source))


def test_a_folder_without_an_app_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"app\.py cannot be read: .*No such file"):
        triggers.read(tmp_path)
