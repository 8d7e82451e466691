"""The files that a person edits before deploying."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import app
from nightshift.project import triggers
from nightshift.project.stage import ADMINISTRATOR, read_stage
from tests.deploy.parts import list_parts
from tests.infra.templates import the

STAGES = ("local", "dev", "prod")
ROOT = Path(__file__).parent.parent.parent
WHOLE: dict[str, dict[str, str]] = {"queues": {}, "storage": {}, "secrets": {}}


def configured(stage: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"][stage]
    return found


def write(folder: Path, stages: object) -> Path:
    (folder / "infra").mkdir()
    shutil.copy(ROOT / "app.py", folder)
    (folder / "infra" / "stages.json").write_text(json.dumps(stages))
    return folder


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_stages_of_the_project_are_right_in_both_files(stage: str) -> None:
    assert read_stage(ROOT, stage).name == stage
    assert stage in json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]


@pytest.mark.parametrize("stage", STAGES)
def test_every_function_is_configured_in_every_stage(stage: str) -> None:
    assert set(configured(stage)["lambda_functions"]) == set(app.app.handler_map)


@pytest.mark.parametrize("stage", STAGES)
def test_as_many_workers_share_the_pace_of_sending_as_may_run_at_once(stage: str) -> None:
    functions = configured(stage)["lambda_functions"]
    workers = triggers.functions_of(triggers.read(ROOT), "queue")
    assert workers == ["work", "work_priority"]
    reserved = sum(functions[worker]["reserved_concurrency"] for worker in workers)
    assert int(configured(stage)["environment_variables"]["MAIL_WORKERS"]) == reserved


def test_the_page_on_deploying_tells_how_many_are_reserved() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    reserved = sum(each.get("reserved_concurrency", 0) for each in configured("dev")["lambda_functions"].values())
    assert re.findall(r"concurrency +(\d+) of 1000 reserved", page) == [str(reserved)]


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ({"dev": WHOLE}, "there is no stage 'prod' in infra/stages.json; there are dev"),
        ({"prod": {"queues": {}}}, "secrets, storage is missing"),
        ({"prod": WHOLE | {"quueues": {}}}, "quueues is unknown"),
        ({"prod": WHOLE | {"mail": {}, "data": {}}}, "give its functions a user of their own"),
        (
            {"prod": WHOLE | {"mail": {}, "data": {}, "secrets": {"DatabaseUsername": "nightshift"}}},
            "nightshift is the administrator",
        ),
    ],
)
def test_a_stage_that_is_not_right_is_named(tmp_path: Path, stages: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_stage(write(tmp_path, stages), "prod")


def test_the_stacks_of_parts_that_are_left_out_are_neither_needed_nor_deployed(tmp_path: Path) -> None:
    project = write(tmp_path, {"prod": WHOLE | {"mail": {}, "exports": {}}})
    assert read_stage(project, "prod").stacks.keys() == {*WHOLE, "mail", "exports"}
    list_parts(project, "mail")
    assert read_stage(project, "prod").stacks.keys() == {*WHOLE, "mail"}
    list_parts(project)
    assert read_stage(project, "prod").stacks.keys() == WHOLE.keys()


def test_the_administrator_of_the_database_is_the_one_of_its_template() -> None:
    assert the("Database")["Properties"]["MasterUsername"] == ADMINISTRATOR
