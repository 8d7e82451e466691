"""Functions that CloudFormation makes of the package: they are the same as Chalice's, and one can change over."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import text

from chalicelib.core.clock import SystemClock
from chalicelib.core.database import Database
from chalicelib.core.engine import engine_for
from chalicelib.migrations import newest
from chalicelib.queue import outbox
from nightshift.local.ministack import emulator_python, ministack
from tests.e2e.answers import describe, differences
from tests.e2e.cloud import (
    FUNCTIONS,
    ROOT,
    SENDER,
    STAGE,
    Cloud,
    copy_project,
    environment_of,
    name_of,
    until,
)

STACK = f"nightshift-{STAGE}-functions"
ARTIFACTS = "artifacts"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, deployed_url: str, redis_url: str) -> Iterator[Cloud]:
    """A cloud of its own, since the same names are deployed in the other."""
    folder = tmp_path_factory.mktemp("packaged")
    server = engine_for(deployed_url)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE packaged"))
    url = server.url.set(database="packaged").render_as_string(hide_password=False)
    with ministack(folder / "emulator", python=emulator_python(ROOT / ".venv-emulator")) as endpoint:
        cloud = Cloud(
            endpoint=endpoint,
            project=copy_project(folder, database_url=url, redis_url=redis_url),
            environment=environment_of(endpoint, folder),
            engine=engine_for(url),
        )
        cloud.client("sesv2").create_email_identity(EmailIdentity=SENDER)
        cloud.client("s3").create_bucket(Bucket=ARTIFACTS)
        yield cloud


def nightshift(cloud: Cloud, *arguments: str) -> str:
    done = cloud.run("nightshift", *arguments, "--stage", STAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def package(cloud: Cloud) -> str:
    """Package the stage and return what was printed."""
    return nightshift(cloud, "package", "out")


def make_stack(cloud: Cloud, *, imports: bool = False) -> None:
    """Do with the packaged template as `aws cloudformation package` and `deploy` do."""
    template = json.loads((cloud.project / "out" / "sam.json").read_text())
    code = (cloud.project / "out" / "deployment.zip").read_bytes()
    cloudformation, s3, key = cloud.client("cloudformation"), cloud.client("s3"), f"{sha256(code).hexdigest()}.zip"
    s3.put_object(Bucket=ARTIFACTS, Key=key, Body=code)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = f"s3://{ARTIFACTS}/{key}"
    # Too long to be sent along.
    body = json.dumps(template)
    s3.put_object(Bucket=ARTIFACTS, Key="sam.json", Body=body)
    names = [each["StackName"] for each in cloudformation.describe_stacks()["Stacks"]]
    kind = "UPDATE" if STACK in names else "CREATE"
    change = {"StackName": STACK, "ChangeSetName": f"of-{sha256(body.encode()).hexdigest()}"}
    cloudformation.create_change_set(
        **change,
        ChangeSetType=kind,
        TemplateURL=f"https://s3.amazonaws.com/{ARTIFACTS}/sam.json",
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        ImportExistingResources=imports,
    )
    cloudformation.get_waiter("change_set_create_complete").wait(**change)
    cloudformation.execute_change_set(**change)
    cloudformation.get_waiter(f"stack_{kind.lower()}_complete").wait(StackName=STACK)


def delete_stack(cloud: Cloud) -> None:
    # The emulator leaves the processes of a stack's functions warm, with the roles that are deleted; another
    # configuration ends them, and without rules no new ones begin.
    for function in ("dispatch", "watch"):
        cloud.client("events").disable_rule(Name=f"{name_of(function)}-event")
    for function in FUNCTIONS:
        cloud.client("lambda").update_function_configuration(FunctionName=name_of(function), Description="doomed")
    cloudformation = cloud.client("cloudformation")
    cloudformation.delete_stack(StackName=STACK)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=STACK)


def mails_to(cloud: Cloud, name: str) -> int:
    return sum(each["To"] == [f"{name}@example.com"] for each in cloud.mails())


def mail(name: str) -> dict[str, Any]:
    return {"to": f"{name}@example.com", "subject": "Hello", "text": "Hello."}


def enqueue_without_functions(cloud: Cloud, name: str) -> None:
    """Put one job into the database and one on the queue, as applications do at any time."""
    with Database(cloud.engine, SystemClock()).begin() as connection:
        outbox.enqueue(connection, "send_email", mail(name))
    message = json.dumps({"type": "send_email", "data": mail(f"{name}-by-queue")})
    cloud.client("sqs").send_message(QueueUrl=cloud.queue_url("work"), MessageBody=message)


def until_mailed_once(cloud: Cloud, name: str) -> None:
    """Wait for the mails of `enqueue_without_functions`."""
    # Its rule invokes it within a minute.
    cloud.client("lambda").invoke(FunctionName=name_of("dispatch"), Payload=b"{}")
    by_queue = f"{name}-by-queue"
    until(lambda: mails_to(cloud, by_queue) > 0, f"the mail to {by_queue}")
    until(lambda: mails_to(cloud, name) > 0, f"the mail to {name}")
    assert [mails_to(cloud, each) for each in (name, by_queue)] == [1, 1]


def test_the_first_package_makes_the_function_that_migrates_and_nothing_that_is_triggered(cloud: Cloud) -> None:
    told = package(cloud)
    assert "stack nightshift-e2e-queues: created" in told
    assert told.endswith("make the stack of it, then: nightshift package out --stage e2e\n")
    assert {path.name for path in (cloud.project / "out").iterdir()} == {"sam.json", "deployment.zip"}
    make_stack(cloud)
    (operate,) = cloud.client("lambda").list_functions()["Functions"]
    assert operate["FunctionName"] == name_of("operate")


def test_the_next_package_migrates_and_makes_all_functions(cloud: Cloud) -> None:
    told = package(cloud)
    assert f"database: empty → {newest()}" in told
    assert "stack nightshift-e2e-alarms: created" in told
    make_stack(cloud)
    made = [each["FunctionName"] for each in cloud.client("lambda").list_functions()["Functions"]]
    assert sorted(made) == sorted(name_of(function) for function in FUNCTIONS)
    assert "✗" not in nightshift(cloud, "doctor")


def test_every_command_with_a_stage_works_on_it(cloud: Cloud) -> None:
    nightshift(cloud, "enqueue", "send_email", "--data", json.dumps(mail("packaged")))
    until(lambda: mails_to(cloud, "packaged") == 1, "the mail")
    assert "send_email" in nightshift(cloud, "jobs", "list", "--status", "completed")
    nightshift(cloud, "run", "record_activity", "--for", "2026-02-01T00:05")
    assert "record_activity" in nightshift(cloud, "runs", "list")
    assert "run succeeded" in nightshift(cloud, "logs", "record_activity")
    assert "daily_digest" in nightshift(cloud, "schedule", "list")
    assert cloud.run("nightshift", "status", "--stage", STAGE).returncode in {0, 4}
    nightshift(cloud, "worker", "pause", "--reason", "a test")
    assert "paused" in nightshift(cloud, "worker", "status").lower()
    nightshift(cloud, "worker", "resume")


def test_a_changed_project_is_packaged_and_updates_the_stack(cloud: Cloud) -> None:
    look = cloud.project / "app.py"
    look.write_text(look.read_text().replace('name="look")', 'name="look")  # changed'))
    before = cloud.client("lambda").get_function(FunctionName=name_of("look"))["Configuration"]["CodeSha256"]
    told = package(cloud)
    assert f"database: unchanged, {newest()}" in told
    make_stack(cloud)
    after = cloud.client("lambda").get_function(FunctionName=name_of("look"))["Configuration"]["CodeSha256"]
    assert before != after
    assert len(cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]) == 2


@pytest.mark.parametrize("command", ["nightshift deploy", "nightshift destroy --yes", "chalice deploy"])
def test_what_a_stack_has_made_is_left_to_it(cloud: Cloud, command: str) -> None:
    done = cloud.run(*command.split(), "--stage", STAGE)
    assert done.returncode == 1
    assert f"CloudFormation made the functions, by its stack {STACK}" in done.stderr


def test_changing_over_to_chalice_loses_nothing_and_makes_the_same(cloud: Cloud) -> None:
    of_cloudformation = describe(cloud)
    delete_stack(cloud)
    assert cloud.client("lambda").list_functions()["Functions"] == []
    enqueue_without_functions(cloud, "to-chalice")
    cloud.deploy()
    until(lambda: mails_to(cloud, "to-chalice-by-queue") == 1, "the mail of the job on the queue")
    assert len(cloud.query("SELECT id FROM jobs WHERE data LIKE '%to-chalice@%'")) == 1
    assert differences(of_cloudformation, describe(cloud)) == []


def test_changing_over_to_cloudformation_loses_nothing_and_makes_the_same(cloud: Cloud) -> None:
    of_chalice = describe(cloud)
    assert "functions: Chalice has made those that are there" in package(cloud)
    nightshift(cloud, "destroy", "--functions", "--yes")
    assert cloud.client("lambda").list_functions()["Functions"] == []
    enqueue_without_functions(cloud, "to-cloudformation")
    make_stack(cloud, imports=True)
    until_mailed_once(cloud, "to-cloudformation")
    assert differences(of_chalice, describe(cloud)) == []
    assert "run succeeded" in nightshift(cloud, "logs", "record_activity")


def test_deleting_the_stack_keeps_the_logs_and_lets_the_stage_be_destroyed(cloud: Cloud) -> None:
    delete_stack(cloud)
    assert cloud.client("events").list_rules()["Rules"] == []
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]
    assert len(groups) == len(FUNCTIONS)
    nightshift(cloud, "destroy", "--yes")
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
