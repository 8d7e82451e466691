"""A stage that is deployed from several clones, at once and interrupted: it is the same afterwards."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from chalicelib.core.engine import engine_for
from nightshift.deploy import lock
from tests.e2e.cloud import FUNCTIONS, STAGE, Cloud, name_of
from tests.e2e.conftest import new_cloud

CONFLICT = f"has been deploying {STAGE} since"
# What differs from one function to the next, in a line that tells of a step.
OF_ONE = re.compile(rf"(?<!stack )nightshift-{STAGE}-\w+(?=: )")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, deployed_url: str, redis_url: str) -> Iterator[Cloud]:
    """The clone that deploys first, on a database of its own."""
    engine = engine_for(deployed_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE clones")
    url = make_url(deployed_url).set(database="clones").render_as_string(hide_password=False)
    folder = tmp_path_factory.mktemp("clones")
    with new_cloud(folder, database_url=url, redis_url=redis_url, engine=engine_for(url)) as cloud:
        yield cloud
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE clones")


def clone(cloud: Cloud, name: str) -> Cloud:
    """Return what a teammate gets who clones the repository: all files but those that git ignores."""
    project = cloud.project.with_name(name)
    ignored = shutil.ignore_patterns("deployed", "deployments", "__pycache__")
    shutil.copytree(cloud.project, project, ignore=ignored)
    return replace(cloud, project=project)


def ids(cloud: Cloud) -> dict[str, list[Any]]:
    """Return what is deployed, by what cannot stay the same when something is made a second time."""
    awslambda, events = cloud.client("lambda"), cloud.client("events")
    rules = [each["Name"] for each in events.list_rules()["Rules"]]
    mappings = awslambda.list_event_source_mappings()["EventSourceMappings"]
    found = {
        "functions": [each["FunctionName"] for each in awslambda.list_functions()["Functions"]],
        "rules": rules,
        "targets": [(rule, events.list_targets_by_rule(Rule=rule)["Targets"]) for rule in sorted(rules)],
        "triggers": [(each["UUID"], each["FunctionArn"], each["EventSourceArn"]) for each in mappings],
        "subscriptions": [
            each["SubscriptionArn"] for each in cloud.client("sns").list_subscriptions()["Subscriptions"]
        ],
        "roles": [each["RoleName"] for each in cloud.client("iam").list_roles()["Roles"]],
    }
    return {name: sorted(each, key=str) for name, each in found.items()}


def counts(cloud: Cloud) -> dict[str, int]:
    return {name: len(each) for name, each in ids(cloud).items()}


def settings(cloud: Cloud) -> list[Any]:
    """Return all that is set of each function and trigger, without what AWS makes up."""
    awslambda, iam = cloud.client("lambda"), cloud.client("iam")
    made_up = {"LastModified", "RevisionId", "UUID"}
    functions = [
        {key: value for key, value in each.items() if key not in made_up}
        | {
            "Policy": iam.get_role_policy(RoleName=each["FunctionName"], PolicyName=each["FunctionName"])[
                "PolicyDocument"
            ]
        }
        for each in awslambda.list_functions()["Functions"]
    ]
    mappings = awslambda.list_event_source_mappings()["EventSourceMappings"]
    triggers = [{key: value for key, value in each.items() if key not in made_up} for each in mappings]
    return sorted([*functions, *triggers], key=str)


def start(cloud: Cloud, *command: str) -> "subprocess.Popen[str]":
    """Start a command in a clone; what it prints and says on the side comes as one."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=cloud.project,
        env={**cloud.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def deploy(cloud: Cloud) -> "subprocess.Popen[str]":
    return start(cloud, "nightshift", "deploy", "--stage", STAGE)


def lines_of(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    # Not by `yield from`, which would close it with the first loop that ends early.
    while line := process.stdout.readline():
        yield line


@pytest.fixture(scope="module")
def second(first: Cloud) -> Cloud:
    """A clone of the repository after the first deployment was committed."""
    return clone(first, "second clone")


def test_of_two_that_deploy_at_once_one_is_refused(first: Cloud) -> None:
    other = clone(first, "other clone")
    with deploy(first) as ours:
        before = next(line for line in lines_of(ours) if "stack nightshift-e2e-storage: created" in line)
        with deploy(other) as theirs:
            refused = "".join(lines_of(theirs))
        done = before + "".join(lines_of(ours))
    assert (theirs.returncode, CONFLICT in refused) == (1, True), refused
    assert ours.returncode == 0, done
    assert counts(first)["functions"] == len(FUNCTIONS)
    assert counts(first)["triggers"] == 2


def test_a_second_clone_finds_nothing_to_change(first: Cloud, second: Cloud) -> None:
    before = ids(first)
    planned = second.run("nightshift", "deploy", "--stage", STAGE, "--plan")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    done = second.deploy()
    for text in (planned.stdout, done):
        for function in FUNCTIONS:
            assert f"function {name_of(function)}: unchanged" in text
        steps = [line for line in text.splitlines() if line.startswith("  ") and "package" not in line]
        assert [line for line in steps if "unchanged" not in line] == []
    assert ids(first) == before


def test_a_plain_chalice_deploy_of_another_clone_makes_nothing_twice(first: Cloud) -> None:
    before, set_before = ids(first), settings(first)
    third = clone(first, "third clone")
    done = third.run("chalice", "deploy", "--stage", STAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ids(first) == before
    assert settings(first) == set_before


@pytest.mark.parametrize(
    "command", [("nightshift", "deploy"), ("chalice", "deploy"), ("nightshift", "destroy", "--yes")]
)
def test_nobody_deploys_or_destroys_while_another_does(first: Cloud, second: Cloud, command: tuple[str, ...]) -> None:
    before = ids(first)
    [bucket] = first.client("s3").list_buckets()["Buckets"]
    with lock.held(first.client("s3"), bucket["Name"], stage=STAGE, who="a teammate") as check:
        done = second.run(*command, "--stage", STAGE)
        check()
    assert done.returncode == 1
    assert f"a teammate on {os.uname().nodename} {CONFLICT}" in done.stderr
    assert ids(first) == before


def test_a_trigger_that_is_there_twice_is_there_once_afterwards(first: Cloud, second: Cloud) -> None:
    awslambda = first.client("lambda")
    [mapping] = awslambda.list_event_source_mappings(FunctionName=name_of("work"))["EventSourceMappings"]
    awslambda.create_event_source_mapping(EventSourceArn=mapping["EventSourceArn"], FunctionName=name_of("work"))
    assert f"function {name_of('work')}: updated (trigger deleted)" in second.deploy()
    assert counts(first)["triggers"] == 2


def test_what_a_clone_no_longer_has_is_deleted_though_another_deployed_it(first: Cloud, second: Cloud) -> None:
    source = (second.project / "app.py").read_text()
    without = re.sub(r"@app\.schedule\(\"every 15 minutes\"\)\n.*?\n\n\n", "", source, flags=re.DOTALL)
    (second.project / "app.py").write_text(without)
    assert f"function {name_of('external_sync')}: deleted" in second.deploy()
    assert name_of("external_sync") not in ids(first)["functions"]
    assert f"function {name_of('external_sync')}: created" in first.deploy()


def changed_by(printed: str) -> dict[str, str]:
    """Return what a plan or a deployment says of each stack and function, in the words of a plan."""
    said = re.findall(r"^  ((?:stack|function) \S+): (.+)$", printed, re.MULTILINE)
    words = {"created": "create", "updated": "update", "deleted": "delete"}
    return {name: re.sub(r"^\w+", lambda word: words.get(word[0], word[0]), what) for name, what in said}


def test_a_plan_says_exactly_what_the_deployment_then_does(first: Cloud, second: Cloud) -> None:
    configuration = second.project / ".chalice" / "config.json"
    document = json.loads(configuration.read_text())
    document["stages"][STAGE]["lambda_functions"]["work"]["lambda_memory_size"] = 256
    document["stages"][STAGE]["environment_variables"]["DAILY_DIGEST_SCHEDULE"] = "@monthly"
    configuration.write_text(json.dumps(document))
    (second.project / "app.py").write_text((first.project / "app.py").read_text() + "\n# Another.\n")
    before = ids(first), settings(first)
    planned = second.run("nightshift", "deploy", "--stage", STAGE, "--plan")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert (ids(first), settings(first)) == before
    plan = changed_by(planned.stdout)
    assert plan[f"function {name_of('daily_digest')}"] == "update (code, settings, schedule)"
    assert plan[f"function {name_of('work')}"] == "update (code, settings)"
    assert changed_by(second.deploy()) == plan


def test_a_clone_that_never_deployed_destroys_all_of_it(first: Cloud) -> None:
    fresh = clone(first, "fresh clone")
    done = fresh.run("nightshift", "destroy", "--stage", STAGE, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"functions: {len(FUNCTIONS)} deleted" in done.stdout
    assert set(counts(first).values()) == {0}
    again = fresh.run("nightshift", "destroy", "--stage", STAGE, "--yes")
    assert (again.returncode, "functions: 0 deleted" in again.stdout) == (0, True), again.stdout + again.stderr


def test_a_deployment_that_is_killed_at_any_step_goes_on_when_it_is_run_again(first: Cloud) -> None:
    killed: list[str] = []
    while step := kill_at_a_new_step(first, killed):
        killed.append(step)
    assert {"role created", "created", "schedule", "trigger created", "subscription created"} <= {
        step.rpartition(": ")[2] for step in killed
    }
    assert counts(first) == {
        "functions": len(FUNCTIONS),
        "rules": len(FUNCTIONS) - 5,
        "targets": len(FUNCTIONS) - 5,
        "triggers": 2,
        "subscriptions": 1,
        "roles": len(FUNCTIONS) + 1,
    }
    assert "✗" not in first.deploy()


def kill_at_a_new_step(cloud: Cloud, killed: list[str]) -> str | None:
    """Deploy until a line tells of a step at which nothing was killed yet, and kill it; return None when none does."""
    lines = []
    with deploy(cloud) as process:
        for line in lines_of(process):
            lines.append(line)
            step = OF_ONE.sub("a function", line.strip())
            if line.startswith(("  ", f"nightshift-{STAGE}")) and "unchanged" not in line and step not in killed:
                os.killpg(process.pid, signal.SIGKILL)
                return step
    assert process.returncode == 0, "".join(lines)
    return None
