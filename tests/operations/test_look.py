"""Who may only look can read everything and change nothing."""

import pytest

from chalicelib import operations
from chalicelib.errors import InvalidRequestError
from chalicelib.looking import LOOKING
from chalicelib.schedule import Schedule
from tests.operations.conftest import Desk

PLANNED = {"daily_digest": Schedule("0 8 * * *")}
REFUSED = sorted({*operations.COMMANDS, *operations.OF_SCHEDULES} - LOOKING)


@pytest.mark.parametrize("command", REFUSED)
def test_look_refuses_whatever_may_change_something(desk: Desk, command: str) -> None:
    with pytest.raises(InvalidRequestError, match="the function look only reads"):
        operations.look({"command": command}, desk.kit.context(), PLANNED)


def test_look_answers_as_operate_does(desk: Desk) -> None:
    request = {"command": "schedule.list"}
    answers = [do(request, desk.kit.context(), PLANNED) for do in (operations.look, operations.operate)]
    assert answers[0] == answers[1]
    assert operations.look({"command": "jobs.list"}, desk.kit.context(), PLANNED)["jobs"] == []


def test_every_command_that_only_reads_exists() -> None:
    assert set(operations.COMMANDS) | set(operations.OF_SCHEDULES) > LOOKING
