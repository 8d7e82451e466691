"""The page of deploying, typed by the letter from a fresh clone with a database of one's own, up to an alert."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from chalicelib.core.grants import PLACEHOLDER
from tests.docs.pages import Page
from tests.e2e.cloud import ROOT, SENDER, Cloud, until
from tests.e2e.conftest import new_cloud

PAGE = Page(ROOT / "docs" / "deploy.md")
ON_CALL = "on-call@slow-harbour.example"
# What the page asks for in its first step; the address of the database comes with the test.
SAID = {
    "MAIL_FROM": SENDER,
    "SITE_NAME": "Slow Harbour",
    "SITE_URL": "https://slow-harbour.example",
    "UNSUBSCRIBE_URL": "https://slow-harbour.example/unsubscribe",
}


@pytest.fixture(scope="module")
def administrator(deployed_url: str) -> Iterator[Any]:
    """An administrator of the application's database."""
    engine = create_engine(deployed_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE SCHEMA by_the_letter CHARACTER SET utf8mb4")
        yield connection
        connection.exec_driver_sql("DROP USER IF EXISTS 'nightshift'@'%%'")
        connection.exec_driver_sql("DROP SCHEMA by_the_letter")


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, administrator: Any, deployed_url: str, redis_url: str
) -> Iterator[Cloud]:
    """A cloud with nothing in it, and a fresh clone in which the first step of the page has been done."""
    folder, url = tmp_path_factory.mktemp("letter"), make_url(deployed_url).set(username=None, database="by_the_letter")
    engine = create_engine(make_url(deployed_url).set(database="by_the_letter"), poolclass=NullPool)
    with new_cloud(folder, database_url=url.render_as_string(), redis_url=redis_url, engine=engine) as cloud:
        say_what_is_ours(cloud.project, SAID | {"DATABASE_URL": url.render_as_string()})
        yield cloud


def say_what_is_ours(project: Path, settings: dict[str, str]) -> None:
    first_step = PAGE.text.partition("## 1. ")[2].partition("## 2. ")[0]
    assert all(f"`{name}`" in first_step for name in settings)
    path = project / ".chalice" / "config.json"
    configuration = json.loads(path.read_text())
    configuration["stages"]["dev"]["environment_variables"] |= settings
    path.write_text(json.dumps(configuration))
    assert '`infra/stages.json`, `"queues": {"AlertsEmail": "you@example.com"}`' in first_step
    path = project / "infra" / "stages.json"
    stages = json.loads(path.read_text())
    stages["dev"]["queues"]["AlertsEmail"] = ON_CALL
    # The emulator has no saved queries.
    del stages["dev"]["queries"]
    path.write_text(json.dumps(stages))


def commands() -> list[str]:
    """Return the commands of the page's steps in order, each as it stands there."""
    steps = PAGE.text.partition("## Rights of the functions")[0]
    lines = [line for block in PAGE.blocks if block.language == "console" for line in block.text.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ") and line in steps]


def type_in(cloud: Cloud, command: str) -> "subprocess.CompletedProcess[str]":
    """Type a command at a shell in the clone, where `.venv` is the virtual environment of these tests."""
    link = cloud.project / ".venv" / "bin"
    if not link.exists():
        link.parent.mkdir()
        link.symlink_to(Path(sys.executable).parent)
    return subprocess.run(
        ["bash", "-c", command], cwd=cloud.project, env=cloud.environment, capture_output=True, text=True, timeout=300
    )


def test_the_page_typed_by_the_letter_reaches_a_fired_digest(cloud: Cloud, administrator: Any) -> None:
    doctor, plan, deploy, rehearse, fire, logs = commands()
    for command in (doctor, plan):
        done = type_in(cloud, command)
        assert done.returncode == 0, done.stdout + done.stderr
    stopped = type_in(cloud, deploy)
    assert stopped.returncode == 1, stopped.stdout + stopped.stderr
    run_what_it_prints(cloud, administrator, stopped.stdout)
    deployed = type_in(cloud, deploy)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    reader_and_post(cloud)
    rehearsed = type_in(cloud, rehearse)
    assert json.loads(rehearsed.stdout)["total"] == 1, rehearsed.stdout + rehearsed.stderr
    assert json.loads(type_in(cloud, fire).stdout)["succeeded"] == 1
    until(lambda: any(mail["To"] == ["reader@example.com"] for mail in cloud.mails()), "the digest")
    until(lambda: '"message":"job succeeded"' in type_in(cloud, logs).stdout, "the worker's log")


def run_what_it_prints(cloud: Cloud, administrator: Any, printed: str) -> None:
    lines = [line.strip() for line in printed.splitlines()]
    [show] = [line for line in lines if line.startswith("aws secretsmanager get-secret-value")]
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=show.split()[4])["SecretString"]
    for statement in (line for line in lines if line.endswith(";")):
        typed = statement.replace(PLACEHOLDER, json.loads(secret)["password"])
        administrator.exec_driver_sql(typed.replace("%", "%%"))


def reader_and_post(cloud: Cloud) -> None:
    at = int((datetime.now(UTC) - timedelta(days=1)).timestamp() * 1000)
    reader = str(uuid.uuid4())
    cloud.query("INSERT INTO users VALUES (:id, 'Reader', 'reader@example.com', 1, 0, 1, NULL, 0, 0)", id=reader)
    cloud.query("INSERT INTO posts VALUES (UUID(), 'Deployed', NULL, NULL, 1, 0, 0, :at)", at=at)


def test_an_alarm_reaches_the_address_that_the_page_asks_for(cloud: Cloud) -> None:
    cloudwatch = cloud.client("cloudwatch")
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    assert all(alarm["AlarmActions"] for alarm in alarms)
    cloudwatch.set_alarm_state(AlarmName=alarms[0]["AlarmName"], StateValue="OK", StateReason="before")
    cloudwatch.set_alarm_state(AlarmName=alarms[0]["AlarmName"], StateValue="ALARM", StateReason="on trial")
    # The emulator sends no mail, and notes to whom it would.
    log = Path(cloud.environment["HOME"]) / "emulator" / "ministack.log"
    until(lambda: f"SNS fanout → email {ON_CALL}" in log.read_text(), "the alert")
