"""The doctor's trial mails to SES's simulator: each failure is reported with its reason."""

from typing import Any

import pytest

import app
from chalicelib.mail.trial import PAUSE_SECONDS, SIMULATOR
from nightshift.local.invocation import LocalContext
from tests.handlers.bulk_faults import answer_each, fail, lose, scripted
from tests.world import World

DENIED = "User: arn:aws:sts::1:role/x is not authorized to perform: ses:SendBulkTemplatedEmail on resource: template/"


def send_trials(world: World) -> dict[str, Any]:
    answer: dict[str, Any] = app.work({"command": "check"}, LocalContext(function_name="work", clock=world.clock))
    return answer


def test_worker_sends_one_mail_by_each_call(world: World) -> None:
    assert send_trials(world) == {"single": None, "bulk": None}
    assert world.recipients() == [SIMULATOR, SIMULATOR]
    # The sandbox takes one a second.
    assert world.clock.slept == [PAUSE_SECONDS]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (fail(403, "AccessDeniedException", DENIED), "not authorized to perform: ses:SendBulkTemplatedEmail"),
        (fail(404, "NotFoundException", "no such operation"), "no such operation"),
        (fail(429, "TooManyRequestsException", "Maximum sending rate exceeded."), "slower pace"),
        (answer_each({SIMULATOR: "MESSAGE_REJECTED"}), "MESSAGE_REJECTED"),
        (answer_each({SIMULATOR: "ACCOUNT_SENDING_PAUSED"}), "ACCOUNT_SENDING_PAUSED"),
        (lose, "no answer from SES"),
    ],
)
def test_failed_bulk_call_is_reported_with_reason(world: World, script: Any, reason: str) -> None:
    with scripted(world, script):
        found = send_trials(world)
    assert found["single"] is None
    assert reason in found["bulk"]


def test_unverified_sender_fails_both_calls(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_FROM", "nobody@elsewhere.org")
    found = send_trials(world)
    assert "SES does not send for this account" in found["single"]
    assert found["bulk"]
