"""What Chalice leaves out of functions, as it follows from app.py."""

from pathlib import Path

import app
from nightshift.project import triggers
from nightshift.project.template import repetitions
from nightshift.project.triggers import reporting

KNOWN = triggers.read(Path(__file__).parent.parent.parent)
OUTPUTS = {"FailedFiresQueueArn": "arn:q"}


def test_every_fire_and_what_a_topic_tells_is_repeated_and_kept_when_given_up() -> None:
    assert set(reporting(KNOWN)) == {*app.app.schedules, "mail_feedback"}
    found = repetitions(KNOWN, OUTPUTS)
    for function in reporting(KNOWN):
        assert found[function] == {
            "MaximumRetryAttempts": 2,
            "MaximumEventAgeInSeconds": 21_600,
            "DestinationConfig": {"OnFailure": {"Destination": "arn:q"}},
        }


def test_what_comes_again_within_minutes_is_not_repeated_nor_kept_until_then() -> None:
    found = repetitions(KNOWN, OUTPUTS)
    assert found["dispatch"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert found["watch"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 300}
    assert set(found) == {*reporting(KNOWN), "dispatch", "watch"}


def test_a_rare_rate_is_kept_for_as_long_as_lambda_can() -> None:
    rare = triggers.Trigger(function="rare", kind="expression", text="rate(12 hours)", last_line=1)
    cron = triggers.Trigger(function="cron", kind="expression", text="cron(0 8 * * ? *)", last_line=1)
    assert repetitions([rare, cron], OUTPUTS) == {
        "rare": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 21_600}
    }
