"""The commands that only read, in a project without a database: a fresh clone, and one in which the demo has run."""

import json
from pathlib import Path

import pytest

from nightshift.testkit.database import empty_file
from tests.cli.test_schedule import ran
from tests.shell import Shell, in_project

READING = [["schedule", "list"], ["status"], ["runs", "list"], ["jobs", "list"], ["worker", "status"]]


@pytest.fixture
def project(tmp_path: Path) -> Shell:
    return in_project(tmp_path)


def demo_of(project: Shell) -> Shell:
    """Return a shell that names the database which the demo left in the project."""
    path = project.folder / ".nightshift" / "demo" / "nightshift.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(empty_file())
    return Shell(environment={**project.environment, "DATABASE_URL": f"sqlite:///{path}"}, folder=project.folder)


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_fresh_clone_knows_schedules_and_says_how_to_get_the_rest(project: Shell, arguments: list[str]) -> None:
    done = project.run(*arguments)
    assert done.returncode == 0
    assert done.stderr == (
        "nightshift: there is no database here, so only schedules are known: name a stage with --stage, or set "
        "DATABASE_URL, or run `make demo`\n"
    )
    assert ("daily_digest" in done.stdout) == (arguments in READING[:2])
    assert not (project.folder / ".nightshift").exists()


def test_fresh_clone_shows_next_fires(project: Shell) -> None:
    tasks = json.loads(project.run("schedule", "list", "--json").stdout)
    assert [len(task["next"]) for task in tasks if task["task"] == "daily_digest"] == [3]


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_demo_data_is_shown_and_named(project: Shell, arguments: list[str]) -> None:
    demo = demo_of(project)
    ran(demo, status="succeeded", finished_at=1)
    done = project.run(*arguments)
    assert done.stdout == demo.run(*arguments).stdout
    assert done.stderr == (
        "nightshift: this is the demo's data; for your own, name a stage with --stage, or set DATABASE_URL\n"
    )


@pytest.mark.parametrize(
    "arguments", [["pause", "--all", "--reason", "x"], ["run", "daily_digest"], ["backup", "list"]], ids=" ".join
)
def test_only_reading_uses_the_demo_data(project: Shell, arguments: list[str]) -> None:
    demo_of(project)
    assert project.complaint(*arguments).startswith("no stage and no database: name a stage with --stage")
