"""The files that a person edits before deploying."""

import json
from pathlib import Path

import pytest

from nightshift.deploy.stage import read_stage

ROOT = Path(__file__).parent.parent.parent
WHOLE: dict[str, dict[str, str]] = {"queues": {}, "storage": {}, "secrets": {}}


def write(folder: Path, stages: object) -> Path:
    (folder / "infra").mkdir()
    (folder / "infra" / "stages.json").write_text(json.dumps(stages))
    return folder


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_the_stages_of_the_project_are_right_in_both_files(stage: str) -> None:
    assert read_stage(ROOT, stage).name == stage
    assert stage in json.loads((ROOT / ".chalice" / "config.json").read_text())["stages"]


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        ({"dev": WHOLE}, "there is no stage 'prod' in infra/stages.json; there are dev"),
        ({"prod": {"queues": {}}}, "secrets, storage is missing"),
        ({"prod": WHOLE | {"quueues": {}}}, "quueues is unknown"),
    ],
)
def test_a_stage_that_is_not_right_is_named(tmp_path: Path, stages: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_stage(write(tmp_path, stages), "prod")
