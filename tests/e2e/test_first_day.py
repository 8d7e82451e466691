"""The first deployment with a database of one's own: it asks for the database's user, and runs nothing before."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from chalicelib.core.grants import PLACEHOLDER
from chalicelib.migrations import newest
from tests.e2e.cloud import FUNCTIONS, STACKS, STAGE, Cloud, name_of, until
from tests.e2e.conftest import new_cloud

SCHEMA, USER = "first_day", "'nightshift'@'%'"
# Those that the functions need, and none that watches them.
NEEDED = {"storage", "queues", "mail"}


@pytest.fixture(scope="module")
def administrator(deployed_url: str) -> Iterator[Any]:
    """An administrator of a server that has the application's schema, and no user of ours."""
    engine = create_engine(deployed_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA} CHARACTER SET utf8mb4")
        yield connection
        connection.exec_driver_sql(f"DROP USER IF EXISTS {USER.replace('%', '%%')}")
        connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA}")


@pytest.fixture(scope="module")
def first_day(
    tmp_path_factory: pytest.TempPathFactory, administrator: Any, deployed_url: str, redis_url: str
) -> Iterator[Cloud]:
    """A cloud in which nothing is deployed, for a stage whose database is one's own."""
    folder, url = tmp_path_factory.mktemp("first"), make_url(deployed_url).set(username=None, database=SCHEMA)
    with new_cloud(
        folder, database_url=url.render_as_string(), redis_url=redis_url, engine=administrator.engine
    ) as cloud:
        stacks = {name: parameters for name, parameters in STACKS.items() if name in NEEDED}
        stages = {STAGE: {**stacks, "secrets": {"DatabaseUsername": "nightshift"}}}
        (cloud.project / "infra" / "stages.json").write_text(json.dumps(stages))
        yield cloud


def functions_of(cloud: Cloud) -> list[str]:
    return sorted(each["FunctionName"] for each in cloud.client("lambda").list_functions()["Functions"])


def deploy(cloud: Cloud, *, code: int) -> tuple[list[str], str]:
    """Deploy, and return the lines that it printed and its sentence."""
    done = cloud.run("nightshift", "deploy", "--stage", STAGE)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.splitlines(), done.stderr.strip()


def statements_in(lines: list[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip().endswith(";")]


def test_one_that_is_interrupted_says_where_and_what_to_run(first_day: Cloud, tmp_path: Path) -> None:
    output = tmp_path / "output"
    with first_day.started("nightshift", "deploy", "--stage", STAGE, output=output) as process:
        until(lambda: "-queues: created" in output.read_text(), "a stack")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    last = output.read_text().splitlines()[-1]
    assert last.startswith("nightshift: interrupted after '")
    assert last.endswith(f"To continue: nightshift deploy --stage {STAGE}")


def test_it_stops_before_anything_runs_and_says_what_to_do(first_day: Cloud) -> None:
    lines, sentence = deploy(first_day, code=1)
    assert functions_of(first_day) == [name_of("operate")]
    assert first_day.client("events").list_rules()["Rules"] == []
    assert first_day.client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    text = "\n".join(lines)
    assert f"CREATE USER {USER} IDENTIFIED BY '{PLACEHOLDER}';" in text
    assert r"GRANT ALL ON `nightshift\_drill\_%`.* TO 'nightshift'@'%';" in text
    assert f"{PLACEHOLDER} is the password in the secret nightshift-{STAGE}-database." in text
    assert sentence.endswith(f"Run the statements above, then: nightshift deploy --stage {STAGE}")
    assert "no schedule or worker has been deployed" in sentence


def test_it_goes_on_once_those_statements_were_run(first_day: Cloud, administrator: Any) -> None:
    lines, _ = deploy(first_day, code=1)
    found = first_day.client("secretsmanager").get_secret_value(SecretId=f"nightshift-{STAGE}-database")
    password = json.loads(found["SecretString"])["password"]
    for statement in statements_in(lines):
        administrator.exec_driver_sql(statement.replace(PLACEHOLDER, password).replace("%", "%%"))
    lines, _ = deploy(first_day, code=0)
    assert f"  database: empty → {newest()}" in lines
    assert functions_of(first_day) == sorted(map(name_of, FUNCTIONS))
    assert not any("✗" in line for line in lines)
    well = [" ".join(line.split()) for line in lines if line.startswith("✓")]
    assert "✓ user, from inside rights all" in well
    assert "✓ mails, from work SES takes them for its simulator, single and in bulk" in well
    assert {to for mail in first_day.mails() for to in mail["To"]} == {"success@simulator.amazonses.com"}


def test_a_right_that_is_taken_away_is_named_by_the_doctor(first_day: Cloud, administrator: Any) -> None:
    revoke = r"REVOKE ALL ON `nightshift\_drill\_%`.* FROM 'nightshift'@'%'"
    administrator.exec_driver_sql(revoke.replace("%", "%%"))
    done = first_day.run("nightshift", "doctor", "--stage", STAGE)
    assert done.returncode == 1
    assert r"run GRANT ALL ON `nightshift\_drill\_%`.* TO 'nightshift'@'%'" in done.stdout
