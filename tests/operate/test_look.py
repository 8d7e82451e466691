"""Who may only look can read everything and change nothing."""

import pytest

from app import PARTS
from chalicelib import operate
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.read_only import is_read_only
from chalicelib.schedule.schedule import Schedule
from tests.operate.conftest import Desk

PLANNED = {"daily_digest": Schedule("0 8 * * *")}
COMMANDS = operate.commands_of(PLANNED, PARTS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if not is_read_only(command)])
def test_look_refuses_whatever_may_change_something(desk: Desk, command: str) -> None:
    with pytest.raises(InvalidRequestError, match="look only accepts"):
        operate.look({"command": command}, desk.kit.context(), PLANNED, PARTS)


def test_look_answers_as_operate_does(desk: Desk) -> None:
    request = {"command": "schedule.list"}
    answers = [do(request, desk.kit.context(), PLANNED, PARTS) for do in (operate.look, operate.operate)]
    assert answers[0] == answers[1]
    assert operate.look({"command": "jobs.list"}, desk.kit.context(), PLANNED, PARTS)["jobs"] == []


def test_a_command_that_lists_or_shows_only_reads() -> None:
    assert {command for command in COMMANDS if is_read_only(command)} == {
        *("backup.list", "jobs.list", "jobs.show", "runs.list", "runs.show", "schedule.list"),
        *("status", "suppressions.list"),
    }
