"""What the stacks that watch are told of the functions, as it follows from app.py and `.chalice/config.json`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import app
from nightshift.project.configuration import stack_parameters
from tests.deploy.parts import list_parts, remove_functions

ROOT = Path(__file__).parent.parent.parent
Configure = Callable[[Callable[[dict[str, Any]], Any]], dict[str, list[str]]]


@pytest.fixture
def told(tmp_path: Path) -> Configure:
    """Change the configuration of a copy of the project, and return what the stacks of dev are told then."""
    (tmp_path / ".chalice").mkdir()
    shutil.copy(ROOT / "app.py", tmp_path)

    def tell(change: Callable[[dict[str, Any]], Any]) -> dict[str, list[str]]:
        configured = json.loads((ROOT / ".chalice" / "config.json").read_text())
        change(configured)
        (tmp_path / ".chalice" / "config.json").write_text(json.dumps(configured))
        return {name: text.split(",") for name, text in stack_parameters(tmp_path, "dev").items()}

    return tell


def timeouts(configured: dict[str, Any]) -> Any:
    """Return what the stage says of the function `work`, to be changed."""
    return configured["stages"]["dev"]["lambda_functions"]["work"]


def test_every_function_is_told_of_and_by_what_it_reports(told: Configure) -> None:
    lists = told(dict)
    assert set(lists["Functions"]) == set(app.app.handler_map)
    assert lists["FunctionNames"] == [f"nightshift-dev-{function}" for function in lists["Functions"]]
    assert set(lists["Tasks"]) == set(app.app.schedules)
    assert set(lists["Reporting"]) == {*app.app.schedules, "mail_feedback"}


def test_the_page_to_unsubscribe_is_watched_where_there_is_one(told: Configure) -> None:
    lists = told(lambda all_: all_["stages"]["dev"]["environment_variables"].update(UNSUBSCRIBE_ROUTE="on"))
    assert lists["UnsubscribeRoute"] == ["on"]
    assert lists["Reporting"][-1] == "unsubscribe"
    assert lists["FunctionNames"][-1] == "nightshift-dev"
    without = told(dict)
    assert without["UnsubscribeRoute"] == ["off"]
    assert "unsubscribe" not in without["Reporting"]
    assert "nightshift-dev" not in without["FunctionNames"]


@pytest.mark.parametrize(
    ("parts", "removed", "on"),
    [
        (["mail", "backup"], [], {"Mails", "Backups", "Drills"}),
        (["mail", "backup"], ["backup_drill"], {"Mails", "Backups"}),
        (["mail", "backup"], ["database_backup"], {"Mails"}),
        (["mail"], [], {"Mails"}),
        (["backup"], [], {"Backups", "Drills"}),
        ([], [], set()),
    ],
)
def test_parts_and_their_tasks_say_what_is_watched(
    told: Configure, tmp_path: Path, parts: list[str], removed: list[str], on: set[str]
) -> None:
    list_parts(tmp_path, *parts)
    remove_functions(tmp_path, *removed)
    lists = told(dict)
    assert {name for name in ("Mails", "Backups", "Drills") if lists[name] == ["on"]} == on


def test_each_time_out_is_that_of_the_function_its_stage_or_the_project_or_chalices_own(told: Configure) -> None:
    # Three seconds less.
    assert {"work-297", "work_priority-297", "watch-57", "operate-897"} <= set(told(dict)["Timeouts"])
    assert "work-117" in told(lambda all_: timeouts(all_).update(lambda_timeout=120))["Timeouts"]
    assert "work-57" in told(lambda all_: timeouts(all_).clear())["Timeouts"]

    def of_project(configured: dict[str, Any]) -> None:
        timeouts(configured).clear()
        configured["lambda_timeout"] = 240

    def of_stage(configured: dict[str, Any]) -> None:
        of_project(configured)
        configured["stages"]["dev"]["lambda_timeout"] = 180

    assert "work-237" in told(of_project)["Timeouts"]
    assert {"work-177", "watch-57"} <= set(told(of_stage)["Timeouts"])
