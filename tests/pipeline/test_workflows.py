"""The workflows run what there is, with pinned actions, few permissions and no text of strangers in their scripts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.commands import TARGETS, nightshift

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS: dict[str, dict[Any, Any]] = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FILES}
JOBS = {(workflow, name): job for workflow, found in WORKFLOWS.items() for name, job in found["jobs"].items()}
STEPS = [(*names, step) for names, job in JOBS.items() for step in job["steps"]]
RUNS = [(workflow, job, step["run"]) for workflow, job, step in STEPS if "run" in step]

every_job = pytest.mark.parametrize("job", JOBS.values(), ids=map("-".join, JOBS))


def triggers_of(workflow: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    found: dict[str, Any] = WORKFLOWS[workflow][True]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_action_is_pinned_by_its_commit_with_the_version_as_a_comment(path: Path) -> None:
    uses = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert uses
    pinned = re.compile(r"- uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [line for line in uses if not pinned.fullmatch(line)] == []


def test_each_action_has_one_version() -> None:
    used = {step["uses"] for _, _, step in STEPS if "uses" in step}
    assert len(used) == len({each.partition("@")[0] for each in used})


@every_job
def test_a_job_ends_in_time_and_has_a_stated_set_of_permissions(job: dict[str, Any]) -> None:
    assert job["timeout-minutes"] <= 90
    assert job["permissions"].items() <= {
        ("contents", "read"),
        ("id-token", "write"),
        ("pull-requests", "write"),
    }
    # Who may write to a pull request runs none of its code.
    if "pull-requests" in job["permissions"]:
        assert [step for step in job["steps"] if "uses" in step] == []


def test_a_workflow_gives_no_permission_to_all_its_jobs() -> None:
    assert {name: workflow["permissions"] for name, workflow in WORKFLOWS.items()} == {"ci": {}, "deploy": {}}


def test_no_workflow_runs_code_of_a_fork_with_this_repositorys_token() -> None:
    for workflow in WORKFLOWS:
        assert triggers_of(workflow).keys() == {"pull_request", "push"}
        assert triggers_of(workflow)["push"] == {"branches": ["main"]}
    assert "github.event.pull_request.head.repo.full_name == github.repository" in JOBS["deploy", "plan"]["if"]


@pytest.mark.parametrize(("workflow", "job", "script"), RUNS)
def test_no_script_has_an_expression_in_its_text(workflow: str, job: str, script: str) -> None:
    # A title or a branch's name could hold a command.
    assert "${{" not in script


@pytest.mark.parametrize(("workflow", "job", "script"), RUNS)
def test_each_command_of_a_script_exists(workflow: str, job: str, script: str) -> None:
    for line in script.splitlines():
        words = line.split("|")[0].split()
        if "make" in words[:1]:
            assert set(words[1:]) <= TARGETS
        if words[0].startswith(".venv/"):
            assert words[0] == ".venv/bin/nightshift"
            nightshift([word.replace('"$STAGE"', "prod") for word in words[1:]])
        for program in (word for word in words if word.startswith(".ci/")):
            assert (ROOT / program).exists()


def test_the_tests_run_on_each_version_of_python_that_functions_run_on() -> None:
    assert JOBS["ci", "test"]["strategy"]["matrix"] == {"python": ["3.11", "3.12", "3.13"]}
    scripts = {script for workflow, _, script in RUNS if workflow == "ci"}
    assert {"make lint types secrets", "make test", "make e2e"} <= scripts


def test_a_missing_server_fails_the_tests_in_ci() -> None:
    services = [step["env"] for _, _, step in STEPS if step.get("run") in {"make test", "make e2e"}]
    assert services == [{"REQUIRE_SERVICES": "1"}] * 2


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_a_stage_is_deployed_in_its_environment_one_at_a_time_and_never_cut_off(stage: str) -> None:
    job = JOBS["deploy", stage]
    assert job["environment"] == stage
    assert job["concurrency"] == {"group": f"deploy-{stage}", "cancel-in-progress": False}
    assert job["steps"][-1]["run"] == f".venv/bin/nightshift deploy --stage {stage}"


def test_prod_is_deployed_after_dev_and_a_pull_request_deploys_nothing() -> None:
    assert JOBS["deploy", "prod"]["needs"] == "dev"
    assert "github.event_name == 'push'" in JOBS["deploy", "dev"]["if"]
    planned = JOBS["deploy", "plan"]
    assert "environment" not in planned
    assert planned["strategy"]["matrix"]["stage"] == list(planned["outputs"]) == ["dev", "prod"]


def test_a_hook_runs_programs_of_the_environment_that_make_installs() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    entries = [hook["entry"].split() for hook in repository["hooks"]]
    assert {words[0] for words in entries} == {".venv/bin/ruff", ".venv/bin/mypy", "make"}
    assert {name for words in entries if words[0] == "make" for name in words[1:]} <= TARGETS
