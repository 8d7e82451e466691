"""A bad night and the morning after: the status, its page and alarms tell what went wrong, and commands mend it."""

import json
import operator
import re
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

import pytest

from chalicelib.core.clock import iso, to_ms
from nightshift.local.invocation import scheduled_event
from tests.e2e.cloud import SENDER, STAGE, Cloud, function_settings, name_of, rule_settings, until

# A fire that is over long enough to be missed, and whose next is far enough away.
DUE = (datetime.now(UTC) - timedelta(hours=1)).replace(second=0, microsecond=0)
DAILY = f"{DUE.minute} {DUE.hour} * * *"
DAY_MS = 24 * 3_600_000
# Within so long of the last trouble all must tell.
TELLS_SECONDS = 120
MAIL = {"to": "late@example.com", "subject": "Hello", "text": "Hello."}

# As CloudWatch tells them apart: namespace, name and dimensions.
Metric = tuple[str, str, frozenset[tuple[str, str]]]

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}
VISIBLE = "ApproximateNumberOfMessages"
TOOK = re.compile(r"REPORT .*\tDuration: (?P<milliseconds>[\d.]+) ms\t")


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong: how the status and its page call it, and the alarms that ring."""

    told: str
    alarms: tuple[str, ...]


TROUBLES = [
    Trouble(told="record_activity was given up on", alarms=("dead-record_activity", "failed-fires")),
    Trouble(told=f"database_cleanup missed its fire of {DUE:%-d %b %H:%M}", alarms=("missed-database_cleanup",)),
    Trouble(told="the newest verified backup is of", alarms=("verified-backup",)),
    Trouble(told="1 job was given up", alarms=("dead-letters",)),
]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm as it was deployed: what it watches, and at which values it rings."""

    name: str
    metric: Metric
    comparison: str
    threshold: float

    def rings_at(self, value: float) -> bool:
        """Return whether it rings at a value."""
        return COMPARISONS[self.comparison](value, self.threshold)


@dataclass(frozen=True, kw_only=True)
class Night:
    """A bad night: the moment when it began, and by this machine's own clock when the last trouble was made."""

    began: datetime
    spoilt: float

    def is_told(self, by: Callable[[], bool], what: str) -> None:
        """Wait until something tells of all troubles, as long as it may take."""
        deadline = self.spoilt + TELLS_SECONDS
        until(by, what, seconds=deadline - time.monotonic())
        # What is told at the first look may be told too late.
        assert time.monotonic() < deadline, what


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


def deployed(cloud: Cloud) -> Iterator[Alarm]:
    """Yield the alarms of the stage."""
    prefix = f"nightshift-{STAGE}-"
    pages = cloud.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    for alarm in (each for page in pages for each in page["MetricAlarms"]):
        dimensions = frozenset((each["Name"], each["Value"]) for each in alarm["Dimensions"])
        yield Alarm(
            name=alarm["AlarmName"].removeprefix(prefix),
            metric=(alarm["Namespace"], alarm["MetricName"], dimensions),
            comparison=alarm["ComparisonOperator"],
            threshold=float(alarm["Threshold"]),
        )


def metrics(cloud: Cloud, *, since: datetime) -> dict[Metric, list[float]]:
    """Return the values of each metric in order of time: of those in any log since then, and of queues as they are.

    There are none of throttling and the age of messages, which the emulator does not tell CloudWatch. That dispatch and
    the watch are silent is known only after ten minutes, so no value of theirs rings.
    """
    logs, found = cloud.client("logs"), defaultdict[Metric, list[float]](list)
    lines = list[tuple[int, str, str]]()
    for group in logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name_of('')}")["logGroups"]:
        name = group["logGroupName"]
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=name, startTime=to_ms(since)):
            lines += [(event["timestamp"], name.rpartition("/")[2], event["message"]) for event in page["events"]]
    for _, function, line in sorted(lines, key=itemgetter(0)):
        if took := TOOK.match(line):
            milliseconds = float(took["milliseconds"])
            found["AWS/Lambda", "Duration", frozenset({("FunctionName", function)})].append(milliseconds)
        elif '"_aws"' in line:
            for metric, value in emitted(json.loads(line)):
                found[metric].append(value)
    for queue in ("dead-letter", "failed-fires"):
        # As SQS itself tells CloudWatch, which the emulator does not.
        dimensions = frozenset({("QueueName", f"nightshift-{STAGE}-{queue}")})
        found["AWS/SQS", "ApproximateNumberOfMessagesVisible", dimensions] = [waiting(cloud, queue)]
    return found


def waiting(cloud: Cloud, queue: str) -> int:
    """Return how many messages wait on a queue."""
    asked = {"QueueUrl": cloud.queue_url(queue), "AttributeNames": [VISIBLE]}
    return int(cloud.client("sqs").get_queue_attributes(**asked)["Attributes"][VISIBLE])


def emitted(line: dict[str, Any]) -> Iterator[tuple[Metric, float]]:
    """Yield the metrics of a line, as CloudWatch takes them from it."""
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, line[name]) for name in names)
            for told in directive["Metrics"]:
                yield (directive["Namespace"], told["Name"], dimensions), float(line[told["Name"]][-1])


def rang(cloud: Cloud, *, since: datetime) -> set[str]:
    """Return the alarms that a value since then lets ring."""
    told = metrics(cloud, since=since)
    return {alarm.name for alarm in deployed(cloud) if any(map(alarm.rings_at, told[alarm.metric]))}


def ring_on(cloud: Cloud, *, since: datetime) -> set[str]:
    """Return the alarms that the latest value since then lets ring."""
    told = metrics(cloud, since=since)
    return {alarm.name for alarm in deployed(cloud) if any(map(alarm.rings_at, told[alarm.metric][-1:]))}


def failed_fire(cloud: Cloud) -> Any:
    """Take a fire that failed to its end off its queue, as somebody who has looked at it does."""
    sqs, url = cloud.client("sqs"), cloud.queue_url("failed-fires")
    (message,) = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return json.loads(message["Body"])["requestPayload"]


@pytest.fixture(scope="module")
def stage(cloud: Cloud) -> Iterator[Cloud]:
    """A stage that begins anew with a backup, and is well; some of its tasks were due an hour ago."""
    if not cloud.client("lambda").list_functions()["Functions"]:
        cloud.deploy()
    for table in ("runs", "jobs", "schedules", "backups", "pauses"):
        cloud.query(f"DELETE FROM {table}")
    for queue in ("dead-letter", "failed-fires"):
        cloud.client("sqs").purge_queue(QueueUrl=cloud.queue_url(queue))
    due = {f"{task}_SCHEDULE": DAILY for task in ("RECORD_ACTIVITY", "DATABASE_CLEANUP", "DATABASE_BACKUP")}
    with ExitStack() as settings:
        for function in ("record_activity", "watch", "dispatch", "operate", "look"):
            settings.enter_context(function_settings(cloud, function, **due))
        # What only the watch finds or leaves, a missed fire and the page, may be as late as its own five minutes. The
        # emulator fires at those too, but then the limit would be of them and not of what is tested.
        settings.enter_context(rule_settings(cloud, "watch", rate="rate(1 minute)"))
        nightshift(cloud, "backup", "create")
        cloud.invoke("watch")
        assert "All is well" in nightshift(cloud, "status")
        yield cloud


@pytest.fixture(scope="module")
def night(stage: Cloud) -> Night:
    """A bad night, from whose beginning on nothing runs but by its trigger."""
    began, ses = datetime.now(UTC), stage.client("sesv2")
    stage.query("RENAME TABLE sessions TO sessions_away")
    ses.delete_email_identity(EmailIdentity=SENDER)
    try:
        # As EventBridge hands a fire over to Lambda, which repeats it.
        fire = json.dumps(scheduled_event(DUE)).encode()
        record_activity = name_of("record_activity")
        stage.client("lambda").invoke(FunctionName=record_activity, InvocationType="Event", Payload=fire)
        message = {"type": "send_email", "data": MAIL, "id": "late"}
        stage.client("sqs").send_message(QueueUrl=stage.queue_url("work"), MessageBody=json.dumps(message))
        until(lambda: became(stage, "late") == "failed", "its first attempt")
        # As hours later, after its ninth attempt; the message of the tenth comes from dispatch.
        stage.query("UPDATE jobs SET attempts = 9, due_at = 0, dispatch_at = 0 WHERE id = 'late'")
        until(lambda: became(stage, "late") == "dead", "its last attempt")
        until(lambda: waiting(stage, "failed-fires") == 1, "the last attempt of the fire")
    finally:
        ses.create_email_identity(EmailIdentity=SENDER)
        stage.query("RENAME TABLE sessions_away TO sessions")
    stage.query("UPDATE backups SET taken_at = taken_at - :days", days=3 * DAY_MS)
    before = to_ms(DUE) - 60_000
    stage.query("UPDATE schedules SET checked_until = :before WHERE task = 'database_cleanup'", before=before)
    return Night(began=began, spoilt=time.monotonic())


def tells_of_all(told: str) -> bool:
    """Return whether a text tells of every trouble, and of nothing else."""
    return "4 things are not well" in told and all(trouble.told in told for trouble in TROUBLES)


def test_the_page_that_the_watch_leaves_tells_of_each_trouble_in_time(stage: Cloud, night: Night) -> None:
    night.is_told(lambda: tells_of_all(stored_page(stage)), "the page")


def test_the_status_and_the_page_that_it_opens_do_and_exit_with_4(stage: Cloud, night: Night) -> None:
    night.is_told(lambda: tells_of_all(nightshift(stage, "status", code=4)), "the status")
    night.is_told(lambda: tells_of_all(opened_page(stage, code=4)), "the opened page")


def test_for_each_those_alarms_ring_in_time_that_were_deployed_and_no_other_does(stage: Cloud, night: Night) -> None:
    expected = {alarm for trouble in TROUBLES for alarm in trouble.alarms}
    night.is_told(lambda: rang(stage, since=night.began) == expected, "the metrics")
    heard = metrics(stage, since=night.began)
    silent = {alarm.name for alarm in deployed(stage) if not heard[alarm.metric]}
    assert not silent & {*expected, "backup-drill", "dispatch", "watch", "time-out-watch-57", "time-out-work-57"}


def test_commands_mend_each_and_all_is_well(stage: Cloud, night: Night) -> None:
    for task in ("record_activity", "database_cleanup"):
        nightshift(stage, "run", task, "--for", iso(DUE))
    assert nightshift(stage, "jobs", "retry", "late") == "Retried 1 job: late"
    nightshift(stage, "backup", "create")
    until(lambda: became(stage, "late") == "completed", "the job")
    assert failed_fire(stage)["time"] == iso(DUE)
    assert "All is well" in nightshift(stage, "status")
    until(lambda: "All is well" in stored_page(stage), "the page", seconds=TELLS_SECONDS)
    assert "All is well" in opened_page(stage, code=0)
    until(lambda: ring_on(stage, since=night.began) == set(), "the end of every alarm", seconds=TELLS_SECONDS)
