"""A deployment that leaves a part out is operated without it, and nothing of the part is asked for."""

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import insert

from chalicelib import backup, mail
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.part import Part, settings_of
from chalicelib.operate import look, operate
from chalicelib.operate.status import page, status
from chalicelib.operate.watch import watch
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups
from nightshift.cli.status import read_status
from nightshift.cli.status_view import lines
from tests.world import World

SCHEDULES = {"database_backup": Schedule("0 1 * * *"), "database_cleanup": Schedule("0 2 * * *")}
Parts = tuple[Part, ...]
OF_ENGINE = {"database", "user", "cache", "queue", "application"}
OF_MAIL = ("MAIL_FROM", "MAIL_RATE", "SITE_NAME", "SITE_URL", "UNSUBSCRIBE_URL", "UNSUBSCRIBE_SECRETS")

each_deployment = pytest.mark.parametrize(
    "parts", [(), (backup.PART,), (mail.PART,)], ids=["no part", "backup", "mail"]
)


def ask(world: World, parts: Parts, command: str) -> dict[str, Any]:
    return operate({"command": command}, world.context(), SCHEDULES, parts)


@pytest.fixture
def deployment(world: World, parts: Parts) -> World:
    """A deployment with the settings of its parts alone, whose only backup is old."""
    if mail.PART not in parts:
        world.environment = {name: value for name, value in world.environment.items() if name not in OF_MAIL}
    old = {"id": "old", "kind": "dump", "status": "finished", "taken_at": 1000, "verified_at": 1000}
    world.execute(insert(backups).values(old))
    return world


@each_deployment
def test_its_settings_are_valid(deployment: World, parts: Parts) -> None:
    deployment.context().environment.check(settings_of(parts))


@each_deployment
def test_check_tries_only_what_its_parts_need(deployment: World, parts: Parts) -> None:
    found = ask(deployment, parts, "check")
    assert found.keys() == OF_ENGINE | {part.name for part in parts}


@each_deployment
def test_the_watch_looks_after_every_fire(deployment: World, parts: Parts, log: Any) -> None:
    assert watch(deployment.context(), SCHEDULES, parts)["outcome"] == "succeeded"
    written = log()
    assert any("backup_verified_age" in line for line in written) == (backup.PART in parts)
    assert [line["message"] for line in written if line.get("level") == "ERROR"] == []


@each_deployment
def test_the_status_has_a_section_and_findings_of_its_parts_alone(deployment: World, parts: Parts) -> None:
    answer = ask(deployment, parts, "status")
    assert ("backups" in answer) == (backup.PART in parts)
    assert answer["is_well"] == (backup.PART not in parts)
    found = status.read(deployment.context(), SCHEDULES, parts)
    assert read_status(answer) == found
    assert ('id="backups"' in page.html(found, parts)) == (backup.PART in parts)
    assert any(line.plain.startswith("backup ") for line in lines(found, width=None)) == (backup.PART in parts)


@each_deployment
def test_look_answers(deployment: World, parts: Parts) -> None:
    assert look({"command": "jobs.list"}, deployment.context(), SCHEDULES, parts) == {"jobs": []}


@pytest.mark.parametrize("parts", [()], ids=["no part"])
@pytest.mark.parametrize("do", [operate, look])
@pytest.mark.parametrize(("command", "part"), [("backup.list", "backup"), ("suppressions.list", "mail")])
def test_a_command_of_a_part_that_is_left_out_names_it(deployment: World, do: Any, command: str, part: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{command} is a command of the part {part}, which PARTS in app.py"):
        do({"command": command}, deployment.context(), SCHEDULES, ())


def test_app_imports_nothing_that_only_operating_needs() -> None:
    code = "import app, sys; print(sorted(name for name in sys.modules if 'operat' in name and 'chalicelib' in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
