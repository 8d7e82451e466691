"""A stage deployed for real into the emulator, which runs the packaged code; the tests build on one another."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cloud import ACCOUNT, REGION, SENDER, STAGE, Cloud, until

NOW = datetime.now(UTC)
YESTERDAY = (NOW - timedelta(days=1)).date().isoformat()
READERS = sorted(str(uuid.uuid5(uuid.NAMESPACE_OID, f"reader{n}")) for n in range(5))
FUNCTIONS = ("daily_digest", "work", "operate")


def name_of(function: str) -> str:
    return f"nightshift-{STAGE}-{function}"


def code_of(cloud: Cloud, function: str) -> str:
    found = cloud.client("lambda").get_function(FunctionName=name_of(function))["Configuration"]
    return str(found["CodeSha256"])


def send_message(cloud: Cloud, first: str, last: str, *, day: str = YESTERDAY) -> None:
    body = json.dumps({"type": "send_digest", "data": {"day": day, "first": first, "last": last}})
    cloud.client("sqs").send_message(QueueUrl=cloud.queue_url("work"), MessageBody=body)


def statuses(cloud: Cloud) -> dict[str, str]:
    return {row.user_id: row.status for row in cloud.query("SELECT user_id, status FROM deliveries")}


def set_status(cloud: Cloud, user_id: str, status: str) -> None:
    cloud.query(
        "UPDATE deliveries SET status = :status, claimed_at = :now WHERE user_id = :user",
        status=status,
        now=int(datetime.now(UTC).timestamp() * 1000),
        user=user_id,
    )


def count(cloud: Cloud, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = cloud.queue_url(queue)
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


@contextmanager
def queue_settings(cloud: Cloud, *, visibility_seconds: int, most_receives: int = 10) -> Iterator[None]:
    """Let messages of the work queue come again, and be given up, sooner for a while: a test cannot wait for hours."""
    sqs, url = cloud.client("sqs"), cloud.queue_url("work")
    dead_letters = f"arn:aws:sqs:{REGION}:{ACCOUNT}:nightshift-{STAGE}-dead-letter"

    def settings(seconds: int, receives: int) -> dict[str, str]:
        redrive = {"deadLetterTargetArn": dead_letters, "maxReceiveCount": str(receives)}
        return {"VisibilityTimeout": str(seconds), "RedrivePolicy": json.dumps(redrive)}

    before = settings(360, 10)
    sqs.set_queue_attributes(QueueUrl=url, Attributes=settings(visibility_seconds, most_receives))
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


@contextmanager
def function_settings(cloud: Cloud, function: str, **variables: str) -> Iterator[None]:
    """Set environment variables of a function for a while."""
    awslambda, name = cloud.client("lambda"), name_of(function)
    before = awslambda.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": before | variables})
    try:
        yield
    finally:
        awslambda.update_function_configuration(FunctionName=name, Environment={"Variables": before})


def test_a_plan_tells_and_does_nothing(cloud: Cloud) -> None:
    done = cloud.run("nightshift", "deploy", "--stage", STAGE, "--plan")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stack nightshift-e2e-queues: create" in done.stdout
    assert f"function {name_of('work')}: create" in done.stdout
    assert cloud.client("cloudformation").list_stacks()["StackSummaries"] == []


def test_deploying_makes_everything_and_finds_it_well(cloud: Cloud) -> None:
    told = cloud.deploy()
    assert "stack nightshift-e2e-queues: created" in told
    assert "database: empty → 0002" in told
    assert "✗" not in told
    assert "database, from inside    server mysql" in told
    assert "cache, from inside       server redis" in told


def test_deploying_again_changes_nothing(cloud: Cloud) -> None:
    files = {path: path.read_text() for path in (cloud.project / ".chalice").glob("*.json")}
    codes = {function: code_of(cloud, function) for function in FUNCTIONS}
    told = cloud.deploy()
    assert told.count("unchanged") == 4
    assert "database: 0002 → 0002" in told
    assert {path: path.read_text() for path in (cloud.project / ".chalice").glob("*.json")} == files
    assert {function: code_of(cloud, function) for function in FUNCTIONS} == codes
    assert len(cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]) == 1


def test_a_plan_of_what_is_deployed_has_nothing_to_do(cloud: Cloud) -> None:
    done = cloud.run("nightshift", "deploy", "--stage", STAGE, "--plan")
    assert done.stdout.count(": nothing") == 4


def test_a_stack_that_is_refused_stops_with_one_sentence(cloud: Cloud) -> None:
    stages = cloud.project / "infra" / "stages.json"
    before = stages.read_text()
    stages.write_text(before.replace('"WorkerTimeoutSeconds": "60"', '"WorkerTimeoutSeconds": "61"'))
    try:
        done = cloud.run("nightshift", "deploy", "--stage", STAGE)
    finally:
        stages.write_text(before)
    assert done.returncode == 1
    assert done.stderr.startswith("nightshift: the stack nightshift-e2e-queues was refused: ")
    assert len(done.stderr.splitlines()) == 1


def test_partial_failures_and_failure_destinations_are_set(cloud: Cloud) -> None:
    awslambda = cloud.client("lambda")
    (mapping,) = awslambda.list_event_source_mappings(FunctionName=name_of("work"))["EventSourceMappings"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    invocation = awslambda.get_function_event_invoke_config(FunctionName=name_of("daily_digest"))
    assert invocation["MaximumRetryAttempts"] == 2
    assert invocation["DestinationConfig"]["OnFailure"]["Destination"].endswith(":nightshift-e2e-failed-fires")


def test_every_function_answers_an_invocation_with_nothing(cloud: Cloud) -> None:
    assert cloud.invoke("daily_digest")["outcome"] == "succeeded"
    assert cloud.invoke("work", {}) == {"messages": 0}
    done = cloud.run("chalice", "invoke", "-n", "operate", "--stage", STAGE, given="")
    assert "the payload must be an object with a command of migrate, check" in done.stdout + done.stderr


def test_a_fire_with_a_payload_reaches_every_reader(cloud: Cloud) -> None:
    for number, reader in enumerate(READERS):
        cloud.query(
            "INSERT INTO users VALUES (:id, :name, :email, 1, 0, 1, NULL, 0, 0)",
            id=reader,
            name=f"Reader {number}",
            email=f"reader{number}@example.com",
        )
    at = int((NOW - timedelta(days=1)).timestamp() * 1000)
    cloud.query("INSERT INTO posts VALUES (UUID(), '<b>Deployed</b>', NULL, NULL, 1, 0, 0, :at)", at=at)
    moment = NOW.replace(second=0, microsecond=0).isoformat()
    rehearsed = cloud.invoke("daily_digest", {"scheduled_for": moment, "dry_run": True})
    assert (rehearsed["outcome"], rehearsed["total"], rehearsed["skipped"]) == ("succeeded", 5, 5)
    cloud.query("DELETE FROM runs")
    fired = cloud.invoke("daily_digest", {"scheduled_for": moment})
    assert (fired["outcome"], fired["succeeded"]) == ("succeeded", 5)
    until(lambda: set(statuses(cloud).values()) == {"sent"}, "five mails")
    assert len(cloud.mails()) == 5
    assert "Deployed" in json.dumps(cloud.mails())
    assert cloud.invoke("daily_digest", {"scheduled_for": moment})["outcome"] == "skipped"


def test_a_wrong_payload_gets_one_clear_sentence(cloud: Cloud) -> None:
    given = json.dumps({"schedule_for": "2016-08-04T08:00:00Z"})
    done = cloud.run("chalice", "invoke", "-n", "daily_digest", "--stage", STAGE, given=given)
    assert "unknown key 'schedule_for' in the payload; did you mean 'scheduled_for'?" in done.stdout + done.stderr


def test_a_raw_message_becomes_a_mail(cloud: Cloud) -> None:
    before = len(cloud.mails())
    set_status(cloud, READERS[0], "pending")
    send_message(cloud, READERS[0], READERS[0])
    until(lambda: len(cloud.mails()) == before + 1, "the mail")


def test_of_a_batch_only_what_failed_stays_until_it_is_dead(cloud: Cloud) -> None:
    before = len(cloud.mails())
    set_status(cloud, READERS[1], "sending")
    set_status(cloud, READERS[2], "pending")
    with queue_settings(cloud, visibility_seconds=1, most_receives=3):
        send_message(cloud, READERS[1], READERS[1])
        send_message(cloud, READERS[2], READERS[2])
        until(lambda: len(cloud.mails()) == before + 1, "the mail of the message that can be done")
        until(lambda: count(cloud, "dead-letter") == 1, "SQS's own dead letter")
        until(lambda: count(cloud, "work") == 0, "an empty queue")
    assert statuses(cloud)[READERS[1]] == "sending"
    assert len(cloud.mails()) == before + 1
    set_status(cloud, READERS[1], "sent")


def test_a_hopeless_message_is_buried_with_its_reason(cloud: Cloud) -> None:
    url = cloud.queue_url("dead-letter")
    sqs = cloud.client("sqs")
    sqs.purge_queue(QueueUrl=url)
    sqs.send_message(QueueUrl=cloud.queue_url("work"), MessageBody='{"type":"nonsense","data":{}}')
    until(lambda: count(cloud, "dead-letter") == 1, "the dead letter")
    (letter,) = sqs.receive_message(QueueUrl=url, MessageAttributeNames=["All"])["Messages"]
    assert "there is no handler for jobs of type 'nonsense'" in letter["MessageAttributes"]["reason"]["StringValue"]


def test_an_asynchronous_fire_that_fails_is_repeated_and_sends_nothing_twice(cloud: Cloud) -> None:
    cloud.query("DELETE FROM runs")
    for reader in READERS:
        set_status(cloud, reader, "pending")
    before = len(cloud.mails())
    moment = (NOW - timedelta(minutes=5)).replace(microsecond=0).isoformat()
    cloud.query("RENAME TABLE digests TO digests_away")
    cloud.client("lambda").invoke(
        FunctionName=name_of("daily_digest"),
        InvocationType="Event",
        Payload=json.dumps({"scheduled_for": moment}).encode(),
    )
    until(lambda: [row.status for row in cloud.query("SELECT status FROM runs")] == ["failed"], "the failure")
    cloud.query("RENAME TABLE digests_away TO digests")
    until(lambda: [row.status for row in cloud.query("SELECT status FROM runs")] == ["succeeded"], "the repetition")
    until(lambda: set(statuses(cloud).values()) == {"sent"}, "five mails")
    assert len(cloud.mails()) == before + 5


def test_a_fire_that_fails_to_the_end_is_on_the_queue_of_failed_fires(cloud: Cloud) -> None:
    payload = json.dumps({"nonsense": 1}).encode()
    cloud.client("lambda").invoke(FunctionName=name_of("daily_digest"), InvocationType="Event", Payload=payload)
    until(lambda: count(cloud, "failed-fires") == 1, "the failed fire")


def test_a_role_that_lacks_a_permission_is_refused_and_the_failure_says_so(cloud: Cloud) -> None:
    iam, role = cloud.client("iam"), name_of("daily_digest")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    whole = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    less = whole | {"Statement": [s for s in whole["Statement"] if s["Sid"] != "Enqueue"]}
    set_status(cloud, READERS[0], "pending")
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(less))
    try:
        given = json.dumps({"scheduled_for": (NOW - timedelta(minutes=7)).isoformat()})
        done = cloud.run("chalice", "invoke", "-n", "daily_digest", "--stage", STAGE, given=given)
        told = done.stdout + done.stderr
        assert "daily_digest failed: the work queue does not take messages" in told
        assert "AccessDenied" in told
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(whole))
    set_status(cloud, READERS[0], "sent")


def test_logs_tell_what_ran(cloud: Cloud) -> None:
    done = cloud.run("chalice", "logs", "-n", "daily_digest", "--stage", STAGE)
    assert '"message":"run succeeded"' in done.stdout
    assert '"service":"nightshift-e2e"' in done.stdout
    assert "@example.com" not in done.stdout.replace("***@example.com", "")


def test_a_changed_schedule_is_deployed_and_fires_by_itself(cloud: Cloud) -> None:
    app = cloud.project / "app.py"
    app.write_text(app.read_text().replace('"cron(0 8 * * ? *)"', '"rate(1 minute)"'))
    cloud.query("DELETE FROM runs")
    cloud.deploy()
    rules = cloud.client("events").list_rules()["Rules"]
    assert [rule["ScheduleExpression"] for rule in rules] == ["rate(1 minute)"]
    fired = "SELECT COUNT(*) AS n FROM runs WHERE `trigger` = 'schedule' AND status = 'succeeded'"
    until(lambda: cloud.query(fired)[0].n >= 1, "a fire of the rule")


def test_a_plain_chalice_deploy_works_and_loses_nothing(cloud: Cloud) -> None:
    done = cloud.run("chalice", "deploy", "--stage", STAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    # As a first plain deploy would make it: a mapping that ignores what a function says of single messages.
    awslambda = cloud.client("lambda")
    (mapping,) = awslambda.list_event_source_mappings(FunctionName=name_of("work"))["EventSourceMappings"]
    awslambda.update_event_source_mapping(UUID=mapping["UUID"], FunctionResponseTypes=[])
    before = len(cloud.mails())
    set_status(cloud, READERS[3], "sending")
    set_status(cloud, READERS[4], "pending")
    with queue_settings(cloud, visibility_seconds=2):
        send_message(cloud, READERS[3], READERS[3])
        send_message(cloud, READERS[4], READERS[4])
        until(lambda: len(cloud.mails()) == before + 1, "the mail of the message that can be done")
        set_status(cloud, READERS[3], "pending")
        until(lambda: len(cloud.mails()) == before + 2, "the mail of the message that failed first")
        until(lambda: count(cloud, "work") == 0, "an empty queue")


def test_a_teams_own_pipeline_gets_the_same_from_chalice_package(cloud: Cloud, tmp_path: Path) -> None:
    merge = f".chalice/merge-{STAGE}.json"
    done = cloud.run("chalice", "package", "--stage", STAGE, "--merge-template", merge, str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    resources = json.loads((tmp_path / "sam.json").read_text())["Resources"]
    worker, digest = resources["Work"]["Properties"], resources["DailyDigest"]["Properties"]
    (trigger,) = worker["Events"].values()
    assert trigger["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert trigger["Properties"]["BatchSize"] == 10
    assert digest["EventInvokeConfig"]["MaximumRetryAttempts"] == 2
    assert digest["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]["Type"] == "SQS"
    assert set(resources) >= {"Work", "DailyDigest", "Operate"}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "set AWS_PROFILE, or run `aws configure`"),
        ({"AWS_PROFILE": "nosuch"}, "The config profile (nosuch) could not be found"),
        ({"AWS_DEFAULT_REGION": ""}, "there is none: set AWS_REGION"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS does not take them"),
    ],
)
def test_the_doctor_names_what_is_missing_around_it(cloud: Cloud, environment: dict[str, str], sentence: str) -> None:
    done = cloud.run("nightshift", "doctor", "--stage", STAGE, **environment)
    assert done.returncode == 1
    assert sentence in done.stdout + done.stderr


def test_the_doctor_names_an_unknown_stage(cloud: Cloud) -> None:
    done = cloud.run("nightshift", "doctor", "--stage", "nosuch")
    assert done.returncode == 1
    assert "there is no stage 'nosuch' in .chalice/config.json" in done.stdout


def test_the_doctor_finds_a_sender_that_is_not_verified(cloud: Cloud) -> None:
    ses = cloud.client("sesv2")
    ses.delete_email_identity(EmailIdentity=SENDER)
    try:
        done = cloud.run("nightshift", "doctor", "--stage", STAGE)
    finally:
        ses.create_email_identity(EmailIdentity=SENDER)
    assert done.returncode == 1
    assert f"neither {SENDER} nor its domain is verified in SES" in done.stdout


def test_the_doctor_finds_a_queue_that_returns_messages_too_early(cloud: Cloud) -> None:
    with queue_settings(cloud, visibility_seconds=30):
        done = cloud.run("nightshift", "doctor", "--stage", STAGE)
    assert done.returncode == 1
    assert "visible again after 30 s; the worker's 60 s need 360 s" in done.stdout


def test_the_doctor_finds_a_queue_that_is_missing(cloud: Cloud) -> None:
    path = cloud.project / ".chalice" / "config.json"
    before = path.read_text()
    path.write_text(before.replace("/nightshift-e2e-work", "/nightshift-e2e-gone"))
    try:
        done = cloud.run("nightshift", "doctor", "--stage", STAGE)
    finally:
        path.write_text(before)
    assert done.returncode == 1
    assert "nightshift-e2e-gone cannot be read" in done.stdout
    assert "deploy the queues stack" in done.stdout


def test_the_doctor_finds_a_database_that_functions_cannot_reach(cloud: Cloud) -> None:
    with function_settings(cloud, "operate", DATABASE_URL="mysql+pymysql://root@127.0.0.1:1/application"):
        done = cloud.run("nightshift", "doctor", "--stage", STAGE)
    assert done.returncode == 1
    assert "✗ database, from inside" in done.stdout
    assert "the functions' network has no way there" in done.stdout


def test_destroying_asks_and_keeps_what_holds_data(cloud: Cloud) -> None:
    refused = cloud.run("nightshift", "destroy", "--stage", STAGE, given="no\n")
    assert refused.returncode == 1
    assert "nothing was deleted" in refused.stderr
    assert len(cloud.client("lambda").list_functions()["Functions"]) == 3

    done = cloud.run("nightshift", "destroy", "--stage", STAGE, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.client("lambda").list_functions()["Functions"] == []
    assert cloud.client("events").list_rules()["Rules"] == []
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    (bucket,) = cloud.client("s3").list_buckets()["Buckets"]
    assert bucket["Name"].startswith("nightshift-e2e-")
    secrets: list[Any] = cloud.client("secretsmanager").list_secrets()["SecretList"]
    assert [secret["Name"] for secret in secrets] == ["nightshift-e2e-unsubscribe"]
