"""Who may only look can read everything and change nothing."""

import pytest

from chalicelib import operate
from chalicelib.core.errors import InvalidRequestError
from chalicelib.operate.read_only import READ_ONLY_COMMANDS
from chalicelib.schedule.schedule import Schedule
from tests.operations.conftest import Desk

PLANNED = {"daily_digest": Schedule("0 8 * * *")}
REFUSED = sorted({*operate.COMMANDS, *operate.OF_SCHEDULES} - READ_ONLY_COMMANDS)


@pytest.mark.parametrize("command", REFUSED)
def test_look_refuses_whatever_may_change_something(desk: Desk, command: str) -> None:
    with pytest.raises(InvalidRequestError, match="look only accepts"):
        operate.look({"command": command}, desk.kit.context(), PLANNED)


def test_look_answers_as_operate_does(desk: Desk) -> None:
    request = {"command": "schedule.list"}
    answers = [do(request, desk.kit.context(), PLANNED) for do in (operate.look, operate.operate)]
    assert answers[0] == answers[1]
    assert operate.look({"command": "jobs.list"}, desk.kit.context(), PLANNED)["jobs"] == []


def test_every_command_that_only_reads_exists() -> None:
    assert set(operate.COMMANDS) | set(operate.OF_SCHEDULES) > READ_ONLY_COMMANDS
