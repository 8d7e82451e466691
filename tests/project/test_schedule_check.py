"""Checking schedules before they are deployed, in files as a person may have written them."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightshift.project.schedule_check import Checked, examine

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def written(folder: Path, app: str = "", **configuration: Any) -> Path:
    (folder / ".chalice").mkdir()
    (folder / ".chalice" / "config.json").write_text(json.dumps(configuration))
    (folder / "app.py").write_text(app)
    return folder


def scheduled(**texts: str) -> str:
    return "".join(f"@app.schedule({text!r})\ndef {name}(event):\n    return 1\n" for name, text in texts.items())


def of_stage(found: list[Checked], stage: str | None) -> dict[str, Checked]:
    return {each.task: each for each in found if each.stage == stage}


def check(project: Path, *, only: str | None = None) -> list[Checked]:
    return list(examine(project, only=only, now=NOW))


def test_this_projects_own_schedules_are_right_in_every_stage() -> None:
    found = check(ROOT)
    assert of_stage(found, None)["daily_digest"].expression == "cron(0 8 * * ? *)"
    assert [each for each in found if each.error] == []


def test_each_is_told_with_what_eventbridge_gets_and_what_is_dropped_of_it(tmp_path: Path) -> None:
    project = written(tmp_path, scheduled(here="0 8 * * *", there="0 8 * * * Europe/Berlin", often="every 15 minutes"))
    told = {each.task: (each.expression, each.surplus, each.error) for each in check(project)}
    assert told == {
        "here": ("cron(0 8 * * ? *)", 0, None),
        "there": ("cron(0 6,7 * * ? *)", 1, None),
        "often": ("rate(15 minutes)", 0, None),
    }


def test_every_bad_one_is_named_and_not_only_the_first(tmp_path: Path) -> None:
    project = written(tmp_path, scheduled(one="61 * * * *", two="0 8 * * *", three="0 8 * * * Mars/Olympus"))
    errors = {each.task: each.error for each in check(project) if each.error}
    assert errors == {
        "one": "the schedule '61 * * * *' is not valid: '61' is not a valid minute; use 0-59",
        "three": "the schedule '0 8 * * * Mars/Olympus' is not valid: 'Mars/Olympus' is not a time zone; use an IANA "
        "name such as Europe/Berlin",
    }


def test_what_a_stage_has_instead_is_checked_for_that_stage(tmp_path: Path) -> None:
    stages = {
        "dev": {"environment_variables": {"NIGHTLY_SCHEDULE": "0 9 * * *", "OTHER": "x"}},
        "prod": {"environment_variables": {"NIGHTLY_SCHEDULE": "0 0 31 2 *"}},
    }
    project = written(tmp_path, scheduled(nightly="@daily"), stages=stages)
    found = check(project)
    assert [(each.stage, bool(each.error)) for each in found] == [(None, False), ("dev", False), ("prod", True)]
    assert of_stage(found, "dev")["nightly"].expression == "cron(0 9 * * ? *)"
    assert [each.stage for each in check(project, only="dev")] == [None, "dev"]


def test_what_all_stages_have_is_checked_for_each(tmp_path: Path) -> None:
    own = {"environment_variables": {"NIGHTLY_SCHEDULE": "@weekly"}}
    project = written(
        tmp_path,
        scheduled(nightly="@daily"),
        environment_variables={"NIGHTLY_SCHEDULE": "61 * * * *"},
        stages={"dev": {}, "prod": own},
    )
    assert [(each.stage, bool(each.error)) for each in check(project)][1:] == [("dev", True), ("prod", False)]


def test_a_variable_that_is_of_no_task_is_named_with_the_nearest(tmp_path: Path) -> None:
    stages = {"dev": {"environment_variables": {"NIGHTY_SCHEDULE": "@daily", "X_SCHEDULE": "@daily"}}}
    found = of_stage(check(written(tmp_path, scheduled(nightly="@daily"), stages=stages)), "dev")
    assert found["NIGHTY_SCHEDULE"].error == "no task has this name; did you mean NIGHTLY_SCHEDULE?"
    assert found["X_SCHEDULE"].error == "no task has this name; there are NIGHTLY_SCHEDULE"


def test_a_schedule_that_only_the_function_would_see_is_named(tmp_path: Path) -> None:
    functions = {"nightly": {"environment_variables": {"NIGHTLY_SCHEDULE": "0 9 * * *"}}, "work": {}}
    project = written(tmp_path, scheduled(nightly="@daily"), stages={"dev": {"lambda_functions": functions}})
    (found,) = of_stage(check(project), "dev").values()
    assert found.error is not None
    assert "move NIGHTLY_SCHEDULE of nightly to the stage's environment_variables" in found.error


def test_a_value_that_is_no_text_is_named(tmp_path: Path) -> None:
    stages = {"dev": {"environment_variables": {"NIGHTLY_SCHEDULE": 5}}}
    found = of_stage(check(written(tmp_path, scheduled(nightly="@daily"), stages=stages)), "dev")
    assert found["nightly"].error == "a schedule must be text"


def test_an_empty_one_changes_nothing_and_so_is_right(tmp_path: Path) -> None:
    empty = {"NIGHTLY_SCHEDULE": "", "GONE_SCHEDULE": ""}
    stage = {"environment_variables": empty, "lambda_functions": {"nightly": {"environment_variables": empty}}}
    assert of_stage(check(written(tmp_path, scheduled(nightly="@daily"), stages={"dev": stage})), "dev") == {}


def test_what_a_function_repeats_of_its_stage_is_right(tmp_path: Path) -> None:
    own = {"environment_variables": {"NIGHTLY_SCHEDULE": "0 9 * * *"}}
    stage = {**own, "lambda_functions": {"nightly": own}}
    (found,) = of_stage(check(written(tmp_path, scheduled(nightly="@daily"), stages={"dev": stage})), "dev").values()
    assert found.expression == "cron(0 9 * * ? *)"


@pytest.mark.parametrize(("only", "hint"), [("prdo", "did you mean --stage prod?"), ("x", "there are prod")])
def test_a_stage_that_is_not_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: str, hint: str
) -> None:
    monkeypatch.chdir(written(tmp_path, stages={"prod": {}}))
    with pytest.raises(ValueError, match=rf"unknown stage '{only}' in \.chalice/config\.json; ") as refused:
        check(tmp_path, only=only)
    assert str(refused.value).endswith(f"; {hint}")


def test_a_project_without_a_configuration_is_a_sentence(tmp_path: Path) -> None:
    shutil.copy(ROOT / "app.py", tmp_path)
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        check(tmp_path)
