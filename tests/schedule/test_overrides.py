"""A stage's own schedules, and the fires that its rules make in vain."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nightshift.local.environment import local_environment

NOWHERE = "mysql+pymysql://root@127.0.0.1:1/application"
# In a process of its own, since app.py reads the schedules when it is imported.
TELL = """
import json
import app
asked = {each.name: each.schedule_expression for each in app.app.event_sources if hasattr(each, "schedule_expression")}
# As Chalice does when it deploys.
rules = {name: each if isinstance(each, str) else each.to_string() for name, each in asked.items()}
print(json.dumps({name: [each.text, rules[name]] for name, each in app.app.schedules.items()}))
"""
# Eight in Berlin is six in UTC in summer, and seven in winter: its rule fires at both.
FIRE = """
import json, sys, time
import app
from nightshift.local.invocation import LocalContext, scheduled_event
from datetime import UTC, datetime
def fire(hour):
    context = LocalContext(function_name="f", timeout_ms=12_000)
    return app.daily_digest(scheduled_event(datetime(2026, 7, 1, hour, tzinfo=UTC)), context)
answer = fire(7)
loaded = [name for name in ("sqlalchemy", "pymysql", "boto3", "aws_lambda_powertools") if name in sys.modules]
seconds = []
for _ in range(100):
    begun = time.perf_counter()
    fire(7)
    seconds.append(time.perf_counter() - begun)
try:
    fire(6)
except Exception as error:
    failure = str(error)
print(json.dumps([answer, loaded, min(seconds), failure]))
"""


def run(script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def told(script: str, **environment: str) -> Any:
    done = run(script, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_stage_may_have_its_own_schedule_for_a_task_and_the_others_stay() -> None:
    usual = told(TELL)
    changed = told(TELL, DAILY_DIGEST_SCHEDULE="30 7 * * 1-5 Europe/Berlin", CACHE_WARMING_SCHEDULE="every 2 hours")
    assert changed.pop("daily_digest") == ["30 7 * * 1-5 Europe/Berlin", "cron(30 5,6 ? * MON,TUE,WED,THU,FRI *)"]
    assert changed.pop("cache_warming") == ["every 2 hours", "rate(2 hours)"]
    assert (usual["daily_digest"], usual["cache_warming"]) == (
        ["0 8 * * *", "cron(0 8 * * ? *)"],
        ["every 30 minutes", "rate(30 minutes)"],
    )
    assert changed.items() <= usual.items()


def test_a_variable_that_is_empty_changes_nothing() -> None:
    assert told(TELL, DAILY_DIGEST_SCHEDULE="")["daily_digest"][0] == "0 8 * * *"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("61 * * * *", "'61' is not a valid minute; use 0-59"),
        ("0 0 31 2 *", "day of month 31 never occurs in month 2"),
        ("0 8 * * * Mars/Olympus", "'Mars/Olympus' is not a time zone; use an IANA name such as Europe/Berlin"),
        ("rate(5 minutes)", "it needs five fields (minute, hour, day of month, month, day of week)"),
    ],
)
def test_a_schedule_of_a_stage_that_is_not_valid_cannot_be_deployed(text: str, reason: str) -> None:
    done = run("import app", DAILY_DIGEST_SCHEDULE=text)
    assert done.returncode == 1
    sentence = done.stderr.splitlines()[-1]
    expected = f"ConfigurationError: DAILY_DIGEST_SCHEDULE: the schedule {text!r} is not valid: {reason}"
    assert sentence.startswith(f"chalicelib.core.errors.{expected}")


def test_a_fire_that_is_not_due_is_dropped_in_milliseconds_without_the_database(tmp_path: Path) -> None:
    own = {"DATABASE_URL": NOWHERE, "DAILY_DIGEST_SCHEDULE": "0 8 * * * Europe/Berlin"}
    settings = local_environment(os.environ | own, endpoint="http://127.0.0.1:1", folder=tmp_path)
    answer, loaded, seconds, failure = told(FIRE, **settings)
    assert answer == {"task": "daily_digest", "outcome": "dropped"}
    assert loaded == []
    # Of many the quickest: the machine is not ours alone.
    assert seconds < 0.005
    # One that is due needs it, and has no time left to wait for it.
    assert "Can't connect to MySQL server" in failure
