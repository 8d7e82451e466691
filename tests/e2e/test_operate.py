"""A bad night and the morning after: the status, its page and alarms tell what went wrong, and commands mend it."""

import json
import re
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.clock import iso, to_ms
from nightshift.local.invocation import scheduled_event
from tests.e2e.cloud import SENDER, STAGE, Cloud, function_settings, name_of, until

# A fire that is over long enough to be missed, and whose next is far enough away.
DUE = (datetime.now(UTC) - timedelta(hours=1)).replace(second=0, microsecond=0)
DAILY = f"{DUE.minute} {DUE.hour} * * *"
DAY_MS = 24 * 3_600_000
# Within so long all must tell.
TELLS_SECONDS = 120
MAIL = {"to": "late@example.com", "subject": "Hello", "text": "Hello."}

# As CloudWatch tells them apart: namespace, name and dimensions.
Metric = tuple[str, str, frozenset[tuple[str, str]]]


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong: how the status and its page call it, and the alarm that rings."""

    told: str
    alarm: str


TROUBLES = [
    Trouble(told="record_activity was given up on", alarm="dead-record_activity"),
    Trouble(told=f"database_cleanup missed its fire of {DUE:%-d %b %H:%M}", alarm="missed-database_cleanup"),
    Trouble(told="the newest verified backup is of", alarm="verified-backup"),
    Trouble(told="1 job was given up", alarm="dead-letters"),
]


def call(cloud: Cloud, function: str, payload: object = None) -> Any:
    """Invoke a function as its rule does, and return what it answers, or its error."""
    given = json.dumps(payload or {}).encode()
    answer = cloud.client("lambda").invoke(FunctionName=name_of(function), Payload=given)
    return json.loads(answer["Payload"].read())


def nightshift(cloud: Cloud, *arguments: str, code: int = 0) -> str:
    """Run a command on the stage, which exits with this code, and return what it printed, on one line."""
    done = cloud.run("nightshift", *arguments, "--stage", STAGE)
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def became(cloud: Cloud, job_id: str) -> str | None:
    """Return the status of a job."""
    rows = cloud.query("SELECT status FROM jobs WHERE id = :id", id=job_id)
    return str(rows[0].status) if rows else None


def texts(page: str) -> str:
    """Return what a page says, without its elements."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def opened_page(cloud: Cloud, *, code: int) -> str:
    """Have the page stored anew, and return what a browser finds behind the link."""
    with urllib.request.urlopen(nightshift(cloud, "status", "--open", code=code)) as answer:
        return texts(answer.read().decode())


def stored_page(cloud: Cloud) -> str:
    """Return the page that lies in the bucket."""
    (bucket,) = cloud.client("s3").list_buckets()["Buckets"]
    found = cloud.client("s3").get_object(Bucket=bucket["Name"], Key="status/index.html")
    return texts(found["Body"].read().decode())


def alarms(cloud: Cloud) -> dict[Metric, tuple[str, float]]:
    """Return the name and the threshold of each alarm that was deployed and rings above one, by what it watches."""
    prefix, found = f"nightshift-{STAGE}-", {}
    pages = cloud.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    for alarm in (each for page in pages for each in page["MetricAlarms"]):
        if alarm["ComparisonOperator"] == "GreaterThanThreshold":
            dimensions = frozenset((each["Name"], each["Value"]) for each in alarm["Dimensions"])
            metric = (alarm["Namespace"], alarm["MetricName"], dimensions)
            found[metric] = alarm["AlarmName"].removeprefix(prefix), float(alarm["Threshold"])
    return found


def metrics(cloud: Cloud, *, since: datetime) -> dict[Metric, list[float]]:
    """Return the values of each metric: of those in the logs since then, and of the dead letters' queue as it is."""
    found: dict[Metric, list[float]] = defaultdict(list)
    for function in ("record_activity", "watch"):
        asked = {"logGroupName": f"/aws/lambda/{name_of(function)}", "startTime": to_ms(since)}
        for page in cloud.client("logs").get_paginator("filter_log_events").paginate(**asked, filterPattern='"_aws"'):
            for metric, value in (told for event in page["events"] for told in emitted(json.loads(event["message"]))):
                found[metric].append(value)
    url, visible = cloud.queue_url("dead-letter"), "ApproximateNumberOfMessages"
    waiting = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[visible])["Attributes"][visible]
    # As SQS itself tells CloudWatch, which the emulator does not.
    queue = frozenset({("QueueName", url.rpartition("/")[2])})
    found["AWS/SQS", "ApproximateNumberOfMessagesVisible", queue].append(float(waiting))
    return found


def emitted(line: dict[str, Any]) -> Iterator[tuple[Metric, float]]:
    """Yield the metrics of a line, as CloudWatch takes them from it."""
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, line[name]) for name in names)
            for told in directive["Metrics"]:
                yield (directive["Namespace"], told["Name"], dimensions), float(line[told["Name"]][-1])


def rang(cloud: Cloud, *, since: datetime) -> set[str]:
    """Return the alarms that a value since then lets ring."""
    told, deployed = metrics(cloud, since=since), alarms(cloud)
    return {name for metric, (name, threshold) in deployed.items() if max(told.get(metric, [0])) > threshold}


def ring_on(cloud: Cloud, *, since: datetime) -> set[str]:
    """Return the alarms that the latest values let ring."""
    told, deployed = metrics(cloud, since=since), alarms(cloud)
    return {name for metric, (name, threshold) in deployed.items() if told.get(metric, [0])[-1] > threshold}


@pytest.fixture(scope="module")
def stage(cloud: Cloud) -> Iterator[Cloud]:
    """A stage that begins anew with a backup, and is well; some of its tasks were due an hour ago."""
    if not cloud.client("lambda").list_functions()["Functions"]:
        cloud.deploy()
    for table in ("runs", "jobs", "schedules", "backups", "pauses"):
        cloud.query(f"DELETE FROM {table}")
    cloud.client("sqs").purge_queue(QueueUrl=cloud.queue_url("dead-letter"))
    due = {f"{task}_SCHEDULE": DAILY for task in ("RECORD_ACTIVITY", "DATABASE_CLEANUP", "DATABASE_BACKUP")}
    with ExitStack() as settings:
        for function in ("record_activity", "watch", "operate"):
            settings.enter_context(function_settings(cloud, function, **due))
        nightshift(cloud, "backup", "create")
        call(cloud, "watch")
        assert "All is well" in nightshift(cloud, "status")
        yield cloud


@pytest.fixture(scope="module")
def night(stage: Cloud) -> datetime:
    """A bad night; the moment when it began."""
    began, ses = datetime.now(UTC), stage.client("sesv2")
    stage.query("RENAME TABLE sessions TO sessions_away")
    ses.delete_email_identity(EmailIdentity=SENDER)
    try:
        # As Lambda repeats a fire that fails.
        for _ in range(3):
            assert "errorMessage" in call(stage, "record_activity", scheduled_event(DUE))
        message = {"type": "send_email", "data": MAIL, "id": "late"}
        stage.client("sqs").send_message(QueueUrl=stage.queue_url("work"), MessageBody=json.dumps(message))
        until(lambda: became(stage, "late") == "failed", "its first attempt")
        # As hours later, after its ninth attempt; the message of the tenth comes from dispatch.
        stage.query("UPDATE jobs SET attempts = 9, due_at = 0, dispatch_at = 0 WHERE id = 'late'")
        call(stage, "dispatch")
        until(lambda: became(stage, "late") == "dead", "its last attempt")
    finally:
        ses.create_email_identity(EmailIdentity=SENDER)
        stage.query("RENAME TABLE sessions_away TO sessions")
    stage.query("UPDATE backups SET taken_at = taken_at - :days", days=3 * DAY_MS)
    before = to_ms(DUE) - 60_000
    stage.query("UPDATE schedules SET checked_until = :before WHERE task = 'database_cleanup'", before=before)
    call(stage, "watch")
    return began


def test_the_status_tells_of_each_trouble_and_exits_with_2(stage: Cloud, night: datetime) -> None:
    told = nightshift(stage, "status", code=2)
    assert "4 things are not well" in told
    assert [trouble for trouble in TROUBLES if trouble.told not in told] == []


def test_the_page_tells_of_each_as_the_watch_has_left_it_and_as_it_is_opened(stage: Cloud, night: datetime) -> None:
    for page in (stored_page(stage), opened_page(stage, code=2)):
        assert "4 things are not well" in page
        assert [trouble for trouble in TROUBLES if trouble.told not in page] == []


def test_for_each_an_alarm_rings_that_was_deployed_and_no_other_does(stage: Cloud, night: datetime) -> None:
    expected = {trouble.alarm for trouble in TROUBLES}
    until(lambda: rang(stage, since=night) == expected, "the metrics", seconds=TELLS_SECONDS)


def test_commands_mend_each_and_all_is_well(stage: Cloud, night: datetime) -> None:
    mended = datetime.now(UTC)
    for task in ("record_activity", "database_cleanup"):
        nightshift(stage, "run", task, "--for", iso(DUE))
    assert nightshift(stage, "jobs", "retry", "late") == "Retried 1 job: late"
    nightshift(stage, "backup", "create")
    until(lambda: became(stage, "late") == "completed", "the job")
    call(stage, "watch")
    assert "All is well" in nightshift(stage, "status")
    assert "All is well" in opened_page(stage, code=0)
    until(lambda: ring_on(stage, since=mended) == set(), "the end of every alarm", seconds=TELLS_SECONDS)
