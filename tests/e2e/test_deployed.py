"""A stage deployed for real into the emulator, which runs the packaged code; the tests build on one another."""

import json
import re
import signal
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.clock import SystemClock
from chalicelib.core.database import Database
from chalicelib.migrations import newest
from chalicelib.queue import outbox
from chalicelib.queue.job import Job
from chalicelib.queue.payloads import LIMIT
from tests.e2e.cloud import (
    ACCOUNT,
    FUNCTIONS,
    REGION,
    SENDER,
    STACKS,
    STAGE,
    Cloud,
    function_settings,
    name_of,
    until,
)

NOW = datetime.now(UTC)
YESTERDAY = (NOW - timedelta(days=1)).date().isoformat()
READERS = sorted(str(uuid.uuid5(uuid.NAMESPACE_OID, f"reader{n}")) for n in range(5))


def code_of(cloud: Cloud, function: str) -> str:
    found = cloud.client("lambda").get_function(FunctionName=name_of(function))["Configuration"]
    return str(found["CodeSha256"])


def now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)


def send(cloud: Cloud, *messages: dict[str, Any], queue: str = "work") -> None:
    """Put messages on a queue in one call, as another service does."""
    entries = [{"Id": str(n), "MessageBody": json.dumps(message)} for n, message in enumerate(messages)]
    answer = cloud.client("sqs").send_message_batch(QueueUrl=cloud.queue_url(queue), Entries=entries)
    assert not answer.get("Failed")


def digest(reader: str, *, id_: str | None = None) -> dict[str, Any]:
    """Return a message that asks for the digest of one reader."""
    return {"type": "send_digest", "data": {"day": YESTERDAY, "first": reader, "last": reader}, "id": id_}


def mail(to: str, **data: Any) -> dict[str, Any]:
    return {"to": f"{to}@example.com", "subject": "Hello", "text": "Hello.", **data}


def email(id_: str, *, to: str) -> dict[str, Any]:
    """Return a message that asks for one mail."""
    return {"type": "send_email", "data": mail(to), "id": id_}


def job(cloud: Cloud, id_: str) -> Any:
    """Return a job's row, None where there is none."""
    rows = cloud.query("SELECT * FROM jobs WHERE id = :id", id=id_)
    return rows[0] if rows else None


def status(cloud: Cloud, id_: str) -> str | None:
    row = job(cloud, id_)
    return None if row is None else str(row.status)


def until_completed(cloud: Cloud, *ids: str) -> None:
    until(lambda: {status(cloud, id_) for id_ in ids} == {"completed"}, f"the jobs {', '.join(ids)}")


def digests_sent(cloud: Cloud) -> int:
    return sum(each["To"][0].startswith("reader") for each in cloud.mails())


def mails_to(cloud: Cloud, name: str) -> list[dict[str, Any]]:
    return [each for each in cloud.mails() if each["To"] == [f"{name}@example.com"]]


def jobs_cli(cloud: Cloud, *arguments: str) -> str:
    """Run `nightshift jobs` on the stage and return what it printed."""
    done = cloud.run("nightshift", "jobs", *arguments, "--stage", STAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def backup_cli(cloud: Cloud, *arguments: str) -> Any:
    """Run `nightshift backup` on the stage and return its answer."""
    done = cloud.run("nightshift", "backup", *arguments, "--stage", STAGE, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def logs_cli(cloud: Cloud, *arguments: str) -> list[str]:
    """Run `nightshift logs` on the stage and return the lines that it printed."""
    done = cloud.run("nightshift", "logs", *arguments, "--stage", STAGE)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


def messages(cloud: Cloud, *arguments: str) -> list[tuple[str, str]]:
    """Return the function and the message of each event of the logger's that `nightshift logs --json` prints."""
    events = [json.loads(line) for line in logs_cli(cloud, *arguments, "--json")]
    fields = [(event["function"], event["log"]) for event in events if isinstance(event["log"], dict)]
    return [(function, log["message"]) for function, log in fields if "message" in log]


def bucket_of(cloud: Cloud) -> str:
    (bucket,) = cloud.client("s3").list_buckets()["Buckets"]
    return str(bucket["Name"])


def letters(cloud: Cloud) -> list[dict[str, str]]:
    """Return the attributes of each dead letter, and hide none."""
    url = cloud.queue_url("dead-letter")
    answer = cloud.client("sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
    )
    found = [letter.get("MessageAttributes", {}) for letter in answer.get("Messages", [])]
    return [{name: value["StringValue"] for name, value in attributes.items()} for attributes in found]


def statuses(cloud: Cloud) -> dict[str, str]:
    return {row.user_id: row.status for row in cloud.query("SELECT user_id, status FROM deliveries")}


def set_status(cloud: Cloud, user_id: str, status: str) -> None:
    cloud.query(
        "UPDATE deliveries SET status = :status, claimed_at = :now WHERE user_id = :user",
        status=status,
        now=now_ms(),
        user=user_id,
    )


def count(cloud: Cloud, queue: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = cloud.queue_url(queue)
    attributes = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(attributes[name]) for name in names)


@contextmanager
def queue_settings(
    cloud: Cloud, queue: str = "work", *, visibility_seconds: int, most_receives: int = 10
) -> Iterator[None]:
    """Let messages of a queue come again, and be given up, sooner for a while: a test cannot wait for hours."""
    sqs, url = cloud.client("sqs"), cloud.queue_url(queue)
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
def trigger_of_work(cloud: Cloud, *, reports: list[str]) -> Iterator[None]:
    """Hold the worker's trigger back, so that what is sent comes as one batch, and let it listen to `reports` then."""
    awslambda = cloud.client("lambda")
    (mapping,) = awslambda.list_event_source_mappings(FunctionName=name_of("work"))["EventSourceMappings"]
    awslambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    yield
    awslambda.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True, FunctionResponseTypes=reports)


def test_a_plan_tells_and_does_nothing(cloud: Cloud) -> None:
    done = cloud.run("nightshift", "deploy", "--stage", STAGE, "--plan")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stack nightshift-e2e-queues: create" in done.stdout
    assert f"function {name_of('work')}: create" in done.stdout
    assert cloud.client("cloudformation").list_stacks()["StackSummaries"] == []


def test_deploying_makes_everything_and_finds_it_well(cloud: Cloud) -> None:
    told = cloud.deploy()
    assert "stack nightshift-e2e-queues: created" in told
    # What would alarm as long as nothing runs comes last.
    assert told.index(f"function {name_of('look')}: created") < told.index("stack nightshift-e2e-alarms: created")
    assert f"database: empty → {newest()}" in told
    assert "✗" not in told
    assert "database, from inside    server mysql" in told
    assert "! alerts                   alarms reach nobody" in told
    assert "backup, from inside      reads " in told
    assert "cache, from inside       server redis" in told


def test_deploying_again_changes_nothing(cloud: Cloud) -> None:
    files = {path: path.read_text() for path in (cloud.project / ".chalice").glob("*.json")}
    codes = {function: code_of(cloud, function) for function in FUNCTIONS}
    told = cloud.deploy()
    assert len(re.findall(r"stack \S+: unchanged", told)) == len(STACKS)
    assert len(re.findall(r"function \S+: unchanged", told)) == len(FUNCTIONS)
    assert f"database: unchanged, {newest()}" in told
    assert {path: path.read_text() for path in (cloud.project / ".chalice").glob("*.json")} == files
    assert {function: code_of(cloud, function) for function in FUNCTIONS} == codes
    assert len(cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]) == 2


def test_a_plan_of_what_is_deployed_has_nothing_to_do(cloud: Cloud) -> None:
    done = cloud.run("nightshift", "deploy", "--stage", STAGE, "--plan")
    assert len(re.findall(r"stack \S+: unchanged", done.stdout)) == len(STACKS)
    assert len(re.findall(r"function \S+: unchanged", done.stdout)) == len(FUNCTIONS)


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
    for worker in ("work", "work_priority"):
        (mapping,) = awslambda.list_event_source_mappings(FunctionName=name_of(worker))["EventSourceMappings"]
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    invocation = awslambda.get_function_event_invoke_config(FunctionName=name_of("daily_digest"))
    assert invocation["MaximumRetryAttempts"] == 2
    assert invocation["DestinationConfig"]["OnFailure"]["Destination"].endswith(":nightshift-e2e-failed-fires")
    for function in ("dispatch", "watch"):
        coming_again = awslambda.get_function_event_invoke_config(FunctionName=name_of(function))
        assert coming_again["MaximumRetryAttempts"] == 0


def test_every_function_answers_an_invocation_with_nothing(cloud: Cloud) -> None:
    assert cloud.invoke("daily_digest")["outcome"] == "succeeded"
    assert cloud.invoke("work", {}) == {"messages": 0}
    assert cloud.invoke("work_priority", {}) == {"messages": 0}
    assert cloud.invoke("dispatch")["outcome"] == "succeeded"
    assert cloud.invoke("watch")["outcome"] == "succeeded"
    tasks = ("record_activity", "database_cleanup", "monthly_report", "cache_warming", "external_sync")
    outcomes = {task: cloud.invoke(task)["outcome"] for task in tasks}
    # No source is set.
    assert outcomes == dict.fromkeys(tasks, "succeeded") | {"external_sync": "skipped"}
    for function, told in (
        ("operate", "the payload must be an object with a command of migrate, check"),
        ("mail_feedback", "this is no event of SNS"),
    ):
        done = cloud.run("chalice", "invoke", "-n", function, "--stage", STAGE, given="")
        assert told in done.stdout + done.stderr


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
    assert digests_sent(cloud) == 5
    assert "Deployed" in json.dumps(cloud.mails())
    assert cloud.invoke("daily_digest", {"scheduled_for": moment})["outcome"] == "skipped"


def test_the_fires_of_the_other_tasks_leave_their_traces(cloud: Cloud) -> None:
    day = {"scheduled_for": (NOW - timedelta(minutes=2)).isoformat()}
    yesterday = int((NOW - timedelta(days=1)).timestamp() * 1000)
    cloud.query("INSERT INTO sessions VALUES ('old', :user, NULL, 0, 1480000000000)", user=READERS[0])
    cloud.query("INSERT INTO sessions VALUES ('new', :user, NULL, :at, :at)", user=READERS[1], at=yesterday)
    assert cloud.invoke("record_activity", day)["succeeded"] == 1
    assert cloud.invoke("database_cleanup", day)["succeeded"] == 1
    assert [row.id for row in cloud.query("SELECT id FROM sessions")] == ["new"]
    # What is in the cache is from the fire before, which was of a later moment.
    assert "a later fire" in cloud.invoke("cache_warming", day)["reason"]
    cloud.query("UPDATE users SET is_admin = 1 WHERE id = :user", user=READERS[0])
    assert cloud.invoke("monthly_report", day | {"mail": True})["succeeded"] == 1
    until(lambda: "in figures" in json.dumps(cloud.mails()), "the report's mail")
    cloud.query("UPDATE users SET is_admin = 0")


def test_a_complaint_takes_its_reader_off_every_list(cloud: Cloud) -> None:
    mail = {"messageId": "complained", "destination": ["reader4@example.com"], "timestamp": NOW.isoformat()}
    told = {
        "complainedRecipients": [{"emailAddress": "reader4@example.com"}],
        "timestamp": NOW.isoformat(),
        "feedbackId": "complained",
    }
    message = json.dumps({"eventType": "Complaint", "mail": mail, "complaint": told})
    topics = cloud.client("sns").list_topics()["Topics"]
    (topic,) = [each["TopicArn"] for each in topics if "feedback" in each["TopicArn"]]
    cloud.client("sns").publish(TopicArn=topic, Message=message)
    wanting = "SELECT email_digest FROM users WHERE email = 'reader4@example.com'"
    until(lambda: not cloud.query(wanting)[0].email_digest, "the complaint")
    cloud.query("UPDATE users SET email_digest = 1")
    cloud.query("DELETE FROM suppressions")


def test_a_wrong_payload_gets_one_clear_sentence(cloud: Cloud) -> None:
    given = json.dumps({"schedule_for": "2016-08-04T08:00:00Z"})
    done = cloud.run("chalice", "invoke", "-n", "daily_digest", "--stage", STAGE, given=given)
    assert "unknown key 'schedule_for' in the payload; did you mean 'scheduled_for'?" in done.stdout + done.stderr


def test_a_raw_message_becomes_a_mail(cloud: Cloud) -> None:
    before = digests_sent(cloud)
    set_status(cloud, READERS[0], "pending")
    send(cloud, digest(READERS[0]))
    until(lambda: digests_sent(cloud) == before + 1, "the mail")


def test_what_sqs_itself_gave_up_is_redriven_and_done(cloud: Cloud) -> None:
    nowhere = "mysql+pymysql://root@127.0.0.1:1/application"
    with (
        function_settings(cloud, "work", DATABASE_URL=nowhere),
        queue_settings(cloud, visibility_seconds=1, most_receives=2),
    ):
        send(cloud, email("unrecorded", to="unrecorded"))
        until(lambda: count(cloud, "dead-letter") == 1, "SQS's own dead letter")
    # It tells neither the job nor a reason.
    assert letters(cloud) == [{}]
    assert "1 sent" in jobs_cli(cloud, "redrive")
    until_completed(cloud, "unrecorded")
    assert len(mails_to(cloud, "unrecorded")) == 1
    assert count(cloud, "dead-letter") == 0


def test_what_fails_is_tried_again_and_buried_with_its_reason_after_the_last_attempt(cloud: Cloud) -> None:
    ses = cloud.client("sesv2")
    ses.delete_email_identity(EmailIdentity=SENDER)
    try:
        send(cloud, email("doomed", to="doomed"))
        until(lambda: status(cloud, "doomed") == "failed", "its first attempt")
        # As hours later, after its ninth attempt; the message of the tenth comes from dispatch.
        cloud.query("UPDATE jobs SET attempts = 9, due_at = 0, dispatch_at = 0 WHERE id = 'doomed'")
        cloud.invoke("dispatch")
        until(lambda: status(cloud, "doomed") == "dead", "its last attempt")
        send(cloud, email("patient", to="patient"))
        until(lambda: status(cloud, "patient") == "failed", "the first attempt of another")
    finally:
        ses.create_email_identity(EmailIdentity=SENDER)
    (letter,) = letters(cloud)
    assert (letter["job_id"], letter["error_type"]) == ("doomed", "TransientError")
    assert "SES does not send for this account" in letter["reason"]
    patient = job(cloud, "patient")
    assert (patient.attempts, patient.due_at > now_ms()) == (1, True)
    assert "SES does not send for this account" in patient.last_error


@pytest.mark.parametrize(
    ("reports", "done", "failing"),
    [([], "goes-plainly", "stays-plainly"), (["ReportBatchItemFailures"], "goes", "stays")],
    ids=["trigger of a plain deploy", "trigger of ours"],
)
def test_of_a_batch_only_what_failed_stays(cloud: Cloud, reports: list[str], done: str, failing: str) -> None:
    before = digests_sent(cloud)
    set_status(cloud, READERS[1], "pending")
    # In another worker's hands, for all that this one can know.
    set_status(cloud, READERS[2], "sending")
    with trigger_of_work(cloud, reports=reports):
        send(cloud, digest(READERS[1], id_=done), digest(READERS[2], id_=failing))
    until(lambda: (status(cloud, done), status(cloud, failing)) == ("completed", "failed"), "both attempts")
    assert job(cloud, done).claimed_by == job(cloud, failing).claimed_by
    assert digests_sent(cloud) == before + 1
    set_status(cloud, READERS[2], "sent")


class ChangedMindError(Exception):
    """What makes the application roll back."""


def test_a_job_is_there_when_its_transaction_is_and_not_otherwise(cloud: Cloud) -> None:
    with Database(cloud.engine, SystemClock()).begin() as connection:
        urgent = Job(id="urgent", type="send_email", payload=mail("urgent"), queue="priority")
        large = Job(id="large", type="send_email", payload=mail("large", text="x" * LIMIT))
        outbox.enqueue_many(connection, [urgent, large])
    with suppress(ChangedMindError), Database(cloud.engine, SystemClock()).begin() as connection:
        never = outbox.enqueue(connection, "send_email", mail("never"))
        raise ChangedMindError
    as_ever = "INSERT INTO jobs (id, type, data, status, created_at) VALUES (:id, 'send_email', :data, 'pending', :now)"
    cloud.query(as_ever, id="old", data=json.dumps(mail("old")), now=now_ms())
    assert None not in {status(cloud, id_) for id_ in ("old", "urgent", "large")}
    assert status(cloud, never) is None


def test_a_paused_type_waits_until_it_is_resumed(cloud: Cloud) -> None:
    assert "Paused generate_report" in jobs_cli(cloud, "pause", "generate_report", "--reason", "a test")
    send(cloud, {"type": "generate_report", "data": {"to": "owner@example.com"}, "id": "report"}, queue="priority")
    until(lambda: status(cloud, "report") == "pending" and count(cloud, "priority") == 0, "the job's row alone")
    assert job(cloud, "report").attempts == 0
    assert "Resumed generate_report" in jobs_cli(cloud, "resume", "generate_report")


def test_a_task_is_run_paused_and_told_of_from_a_terminal(cloud: Cloud) -> None:
    def nightshift(*arguments: str) -> Any:
        done = cloud.run("nightshift", *arguments, "--json", "--stage", STAGE)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    fire = ("record_activity", "--for", "2026-02-01T00:05")
    assert nightshift("run", *fire)["outcome"] == "succeeded"
    assert cloud.run("nightshift", "run", *fire, "--stage", STAGE).returncode == 3
    nightshift("pause", "record_activity", "--reason", "a test")
    told = {each["task"]: each for each in nightshift("schedule", "list")}
    assert told["record_activity"]["paused"]["reason"] == "a test"
    assert len(told["daily_digest"]["next"]) == 3
    # The stage has it once a year.
    year = ("--from", "2026-01-01", "--to", "2026-12-31")
    enqueued = nightshift("backfill", "record_activity", *year)["enqueued"]
    assert enqueued == ["2026-01-01T00:00:00Z"]
    ended = ("runs", "list", "--task", "record_activity", "--status", "succeeded")
    until(lambda: enqueued[0] in {run["scheduled_for"] for run in nightshift(*ended)}, "the run of a backfill")
    nightshift("resume", "record_activity")


def test_a_hopeless_job_is_seen_mended_and_done(cloud: Cloud) -> None:
    send(cloud, {"type": "send_email", "data": {"to": "mended@example.com"}, "id": "hopeless"})
    until(lambda: status(cloud, "hopeless") == "dead", "the end of the hopeless job")
    reason = "Object missing required field `subject`"
    (letter,) = (letter for letter in letters(cloud) if letter["job_id"] == "hopeless")
    assert (letter["error_type"], reason in letter["reason"]) == ("InvalidRequestError", True)

    listed = jobs_cli(cloud, "list")
    assert {line.split()[0] for line in listed.splitlines()[1:]} == {"hopeless", "doomed"}
    assert reason in listed
    assert json.loads(jobs_cli(cloud, "show", "hopeless", "--json"))["data"] == {"to": "m***@example.com"}
    assert jobs_cli(cloud, "edit", "hopeless", json.dumps(mail("mended"))) == "Edited 1 job: hopeless\n"
    assert jobs_cli(cloud, "retry", "doomed") == "Retried 1 job: doomed\n"
    until_completed(cloud, "hopeless", "doomed")
    assert len(mails_to(cloud, "mended")) == len(mails_to(cloud, "doomed")) == 1
    assert count(cloud, "dead-letter") == 0


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


def test_logs_are_lines_for_people_and_events_as_json_for_programs(cloud: Cloud) -> None:
    told = [line.partition("Z ")[2] for line in logs_cli(cloud, "record_activity")]
    succeeded = [line for line in told if line.startswith("INFO    run succeeded task=record_activity run_id=")]
    assert any("scheduled_for=2026-02-01T00:05:00Z" in line for line in succeeded)
    assert [line for line in told if not line.startswith(("INFO    run ", "REPORT  ended after "))] == []
    assert messages(cloud, "record_activity").count(("record_activity", "run succeeded")) == len(succeeded)


def test_following_tells_what_comes_until_ctrl_c(cloud: Cloud, tmp_path: Path) -> None:
    # A shell has what it begins in the background ignore Ctrl-C, and all that this begins.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    printed = tmp_path / "printed"
    command = ("nightshift", "logs", "record_activity", "--follow", "--stage", STAGE)
    with cloud.started(*command, output=printed) as process:
        until(lambda: "run succeeded" in printed.read_text(), "what was there")
        assert "scheduled_for=2026-02-02T00:05:00Z" not in printed.read_text()
        cloud.invoke("record_activity", {"scheduled_for": "2026-02-02T00:05:00Z"})
        until(lambda: "scheduled_for=2026-02-02T00:05:00Z" in printed.read_text(), "what came")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    assert "Traceback" not in printed.read_text()


def test_the_rule_of_dispatch_sends_by_itself_what_is_only_in_the_database(cloud: Cloud) -> None:
    # Since these rows were written nobody has invoked dispatch but its rule.
    until_completed(cloud, "old", "urgent", "large", "report")
    for name in ("old", "urgent", "large"):
        assert len(mails_to(cloud, name)) == 1
    assert mails_to(cloud, "never") == []


def test_data_too_long_for_sqs_stays_in_its_row(cloud: Cloud) -> None:
    payloads = cloud.client("s3").list_objects_v2(Bucket=bucket_of(cloud), Prefix="payloads/").get("Contents", [])
    assert [payload for payload in payloads if payload["Size"] > LIMIT] == []
    assert mails_to(cloud, "large")[0]["BodyText"].count("x") >= LIMIT


def test_each_queue_has_its_own_worker(cloud: Cloud) -> None:
    def told_of(function: str, id_: str) -> bool:
        group = f"/aws/lambda/{name_of(function)}"
        return bool(cloud.client("logs").filter_log_events(logGroupName=group, filterPattern=f'"{id_}"')["events"])

    until(lambda: told_of("work_priority", "urgent") and told_of("work", "large"), "their logs")
    assert not told_of("work", "urgent")


def test_a_report_is_in_the_bucket_and_a_mail_links_to_it(cloud: Cloud) -> None:
    until(lambda: len(mails_to(cloud, "owner")) == 1, "the mail")
    link = re.search(r"https?://\S+/reports/\S+", mails_to(cloud, "owner")[0]["BodyText"])
    assert link
    with urllib.request.urlopen(link[0]) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "Slow Harbour" in answer.read().decode()
    # The emulator would take an older signature, which S3 refuses for what KMS encrypts.
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link[0]


def test_the_database_is_backed_up_to_the_bucket_and_read_back(cloud: Cloud) -> None:
    made = cloud.invoke("database_backup")
    assert (made["outcome"], made["failed"], made["succeeded"] > 20) == ("succeeded", 0, True)
    (listed,) = backup_cli(cloud, "list")
    assert (listed["id"], listed["keep"]) == (made["backup"], True)
    assert None not in (listed["finished_at"], listed["verified_at"])
    found = cloud.client("s3").list_objects_v2(Bucket=bucket_of(cloud), Prefix=f"backups/{made['backup']}/")
    assert {"manifest.json", "verified.json"} < {each["Key"].rpartition("/")[2] for each in found["Contents"]}
    drilled = cloud.invoke("backup_drill")
    assert (drilled["outcome"], drilled["failed"], drilled["succeeded"] > 20) == ("succeeded", 0, True)


def test_a_backup_is_verified_drilled_and_restored_into_a_schema_that_is_named(cloud: Cloud) -> None:
    (listed,) = backup_cli(cloud, "list")
    assert backup_cli(cloud, "verify")["rows"] > 0
    drilled = backup_cli(cloud, "drill", listed["id"])
    assert (drilled["differences"], drilled["tables"] > 20) == ([], True)
    restored = backup_cli(cloud, "restore", listed["id"], "--into", "restored", "--checksum")
    assert (restored["is_complete"], restored["differences"], restored["tables"]) == (True, [], drilled["tables"])
    for table in ("users", "posts", "digests", "deliveries", "alembic_version"):
        ours, theirs = cloud.query(f"CHECKSUM TABLE {table}, restored.{table}")
        assert ours.Checksum == theirs.Checksum is not None, table
    assert backup_cli(cloud, "list")[0]["drilled_at"] is not None
    schemas = [name for (name,) in cloud.query("SHOW DATABASES")]
    assert "restored" in schemas
    assert not [name for name in schemas if "drill" in name]


def test_a_damaged_backup_is_refused_with_a_sentence_before_anything_is_restored(cloud: Cloud) -> None:
    (listed,) = backup_cli(cloud, "list")
    s3, place = cloud.client("s3"), {"Bucket": bucket_of(cloud), "Key": f"backups/{listed['id']}/00002.sql.zst"}
    whole = s3.get_object(**place)["Body"].read()
    s3.put_object(**place, Body=whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        done = cloud.run("nightshift", "backup", "restore", "--into", "damaged", "--stage", STAGE)
    finally:
        s3.put_object(**place, Body=whole)
    assert (done.returncode, done.stdout) == (1, "")
    sentence = f"nightshift: nightshift-{STAGE}-operate failed: 00002.sql.zst of backup {listed['id']} is damaged: "
    assert done.stderr.startswith(sentence)
    assert (done.stderr.count("\n"), done.stderr.endswith("; use another backup\n")) == (1, True)
    assert ("damaged",) not in cloud.query("SHOW DATABASES")


def test_the_story_of_a_run_goes_through_every_function_that_had_to_do_with_it(cloud: Cloud) -> None:
    run_id = backup_cli(cloud, "create")["run_id"]
    # As one that was killed before it could record its end.
    killed = "UPDATE runs SET status = 'running', finished_at = NULL, lease_until = 0 WHERE id = :id"
    cloud.query(killed, id=run_id)
    cloud.invoke("watch")
    cloud.invoke("dispatch")
    expected = [
        ("operate", "run started"),
        ("operate", "run succeeded"),
        ("watch", "run rescued"),
        ("database_backup", "run started"),
        ("database_backup", "run succeeded"),
    ]
    story = ("database_backup", "--run", run_id)
    until(lambda: len(messages(cloud, *story)) >= len(expected), "the end of the story")
    assert messages(cloud, *story) == expected
    told = [line.partition("Z ")[2] for line in logs_cli(cloud, *story)]
    assert told[0].startswith(f"INFO    operate: run started task=database_backup run_id={run_id}")


def test_what_failed_first_is_done_by_itself_once_it_can_be(cloud: Cloud) -> None:
    ids = ("patient", "stays-plainly", "stays")
    until_completed(cloud, *ids)
    for row in (job(cloud, id_) for id_ in ids):
        assert row.attempts == 2
        # Its own message has led back to it: dispatch would have seen to it a quarter of an hour after it was due.
        assert row.completed_at < row.due_at + 600_000
    assert len(mails_to(cloud, "patient")) == 1
    until(lambda: count(cloud, "work") == 0, "an empty queue")


def test_an_asynchronous_fire_that_fails_is_repeated_and_sends_nothing_twice(cloud: Cloud) -> None:
    cloud.query("DELETE FROM runs")
    for reader in READERS:
        set_status(cloud, reader, "pending")
    before = digests_sent(cloud)
    moment = (NOW - timedelta(minutes=5)).replace(microsecond=0).isoformat()
    cloud.query("ALTER TABLE digests RENAME COLUMN post_count TO count_away")
    cloud.client("lambda").invoke(
        FunctionName=name_of("daily_digest"),
        InvocationType="Event",
        Payload=json.dumps({"scheduled_for": moment}).encode(),
    )
    until(lambda: [row.status for row in cloud.query("SELECT status FROM runs")] == ["failed"], "the failure")
    cloud.query("ALTER TABLE digests RENAME COLUMN count_away TO post_count")
    until(lambda: [row.status for row in cloud.query("SELECT status FROM runs")] == ["succeeded"], "the repetition")
    until(lambda: set(statuses(cloud).values()) == {"sent"}, "five mails")
    assert digests_sent(cloud) == before + 5


def test_an_error_that_has_no_name_is_logged_with_its_traceback_below(cloud: Cloud) -> None:
    told = logs_cli(cloud, "daily_digest")
    (place,) = (number for number, line in enumerate(told) if "ERROR   run failed: OperationalError: " in line)
    assert told[place + 1] == "    Traceback (most recent call last):"
    assert told[place + 2].startswith('      File "')


def test_a_changed_schedule_is_deployed_and_fires_by_itself(cloud: Cloud) -> None:
    cloud.set_environment(DAILY_DIGEST_SCHEDULE="every minute", RECORD_ACTIVITY_SCHEDULE="5 0 * * * Europe/Berlin")
    cloud.deploy()
    cloud.query("DELETE FROM runs")
    rules = [rule["ScheduleExpression"] for rule in cloud.client("events").list_rules()["Rules"]]
    assert rules.count("rate(1 minute)") == 2
    assert rules.count("cron(5 22,23 * * ? *)") == 1
    fired = "SELECT COUNT(*) AS n FROM runs WHERE `trigger` = 'schedule' AND status = 'succeeded'"
    until(lambda: cloud.query(fired)[0].n >= 1, "a fire of the rule")


def test_a_fire_that_did_not_come_is_made_up_for(cloud: Cloud) -> None:
    # It sees the schedule for the first time.
    cloud.invoke("watch")
    of_task = "WHERE task = 'record_activity'"
    # As if that schedule had been in force for longer.
    cloud.query(
        f"UPDATE schedules SET checked_until = :since, history = NULL {of_task}", since=now_ms() - 30 * 3_600_000
    )
    assert cloud.invoke("watch")["succeeded"] >= 1
    cloud.invoke("dispatch")
    made_up_for = f"SELECT `trigger`, status FROM runs {of_task}"
    until(lambda: ("catch_up", "succeeded") in map(tuple, cloud.query(made_up_for)), "the run that makes up for it")


def test_a_plain_chalice_deploy_works_and_loses_nothing(cloud: Cloud) -> None:
    def what_chalice_does_not_know() -> list[Any]:
        awslambda = cloud.client("lambda")
        mappings = awslambda.list_event_source_mappings()["EventSourceMappings"]
        invocations = [
            awslambda.get_function_event_invoke_config(FunctionName=name_of(function))
            for function in ("daily_digest", "dispatch")
        ]
        return [mapping["FunctionResponseTypes"] for mapping in mappings] + [
            (invocation["MaximumRetryAttempts"], invocation.get("DestinationConfig")) for invocation in invocations
        ]

    before = what_chalice_does_not_know()
    done = cloud.run("chalice", "deploy", "--stage", STAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert what_chalice_does_not_know() == before
    send(cloud, email("plain", to="plain"))
    until_completed(cloud, "plain")
    assert len(mails_to(cloud, "plain")) == 1


def test_a_teams_own_pipeline_gets_the_same_from_chalice_package(cloud: Cloud, tmp_path: Path) -> None:
    merge = f".chalice/merge-{STAGE}.json"
    done = cloud.run("chalice", "package", "--stage", STAGE, "--merge-template", merge, str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    resources = json.loads((tmp_path / "sam.json").read_text())["Resources"]
    assert set(resources) >= {"DailyDigest", "Work", "WorkPriority", "Dispatch", "Operate"}
    for worker in ("Work", "WorkPriority"):
        (trigger,) = resources[worker]["Properties"]["Events"].values()
        assert trigger["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert trigger["Properties"]["BatchSize"] == 10
    digest, dispatch = (resources[name]["Properties"]["EventInvokeConfig"] for name in ("DailyDigest", "Dispatch"))
    assert digest["MaximumRetryAttempts"] == 2
    assert digest["DestinationConfig"]["OnFailure"]["Type"] == "SQS"
    assert dispatch["MaximumRetryAttempts"] == 0


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "set AWS_PROFILE, or run `aws configure`"),
        ({"AWS_PROFILE": "nosuch"}, "The config profile (nosuch) could not be found"),
        ({"AWS_DEFAULT_REGION": ""}, "there is none: set AWS_DEFAULT_REGION"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS cannot be reached: "),
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


def test_the_doctor_finds_each_queue_that_returns_messages_too_early(cloud: Cloud) -> None:
    with (
        queue_settings(cloud, "work", visibility_seconds=30),
        queue_settings(cloud, "priority", visibility_seconds=45),
    ):
        done = cloud.run("nightshift", "doctor", "--stage", STAGE)
    assert done.returncode == 1
    for queue, seconds in (("work", 30), ("priority", 45)):
        told = f"✗ {queue + ' queue':24} visible again after {seconds} s; the worker's 60 s need 360 s"
        assert told in done.stdout


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
