"""The alarms: each watches what exists, rings when it should, tells someone, and knows what silence means."""

import re
from dataclasses import replace
from typing import Any

import pytest

import app
from chalicelib.core.context import RESERVE_MS
from nightshift.project.configuration import LEAST_SECONDS_LEFT
from nightshift.project.triggers import ROUTES, name_of
from tests.infra.emitted import Emitted
from tests.infra.templates import FUNCTIONS, GIVEN, INFRA, REPORTING, STAGE, TASKS, TEMPLATES, deployed, resources, the
from tests.infra.watching import DATABASE, Watched, watched_by

ALARMS = deployed("alarms")
ALL = deployed("alarms", DatabaseIdentifier=DATABASE, UnsubscribeRoute="on")
# One that rings for anything above nought.
FIRST = {"Statistic": "Sum", "EvaluationPeriods": 1, "Threshold": 0, "ComparisonOperator": "GreaterThanThreshold"}


def of_metric(metric: str) -> list[tuple[str, dict[str, Any]]]:
    """Return each alarm on a metric, with its name."""
    alarms = resources("AWS::CloudWatch::Alarm")
    return [(name, alarm) for name, alarm in alarms if alarm["Properties"].get("MetricName") == metric]


@pytest.mark.parametrize("name", ALL)
def test_each_alarm_watches_metrics_that_exist(name: str, emitted: Emitted) -> None:
    metrics = list(watched_by(ALL[name]))
    assert metrics
    assert [metric.why_not(emitted.metrics) for metric in metrics if metric.why_not(emitted.metrics)] == []


OURS = Watched(
    namespace="Nightshift",
    name="run_dead",
    dimensions=frozenset({("task", "daily_digest"), ("service", "nightshift-prod")}),
    statistic="Sum",
    period=60,
)
AWSS = Watched(
    namespace="AWS/Lambda",
    name="Errors",
    dimensions=frozenset({("FunctionName", "nightshift-prod-work")}),
    statistic="Sum",
    period=60,
)


@pytest.mark.parametrize(
    "mistaken",
    [
        replace(OURS, namespace="nightshift"),
        replace(OURS, name="runs_dead"),
        replace(OURS, dimensions=frozenset({("task", "daily_digest")})),
        replace(OURS, dimensions=frozenset({("Task", "daily_digest"), ("service", "nightshift-prod")})),
        replace(OURS, dimensions=frozenset({("task", "daily-digest"), ("service", "nightshift-prod")})),
        replace(OURS, dimensions=frozenset({("task", "daily_digest"), ("service", "nightshift")})),
        replace(OURS, name="fires_missed", dimensions=frozenset({("task", "watch"), ("service", "nightshift-prod")})),
        replace(OURS, statistic="Minimum"),
        replace(OURS, unit="Milliseconds"),
        replace(OURS, period=90),
        replace(AWSS, dimensions=frozenset({("Function", "nightshift-prod-work")})),
        replace(AWSS, dimensions=frozenset({("FunctionName", "nightshift-prod-worker")})),
        replace(AWSS, dimensions=frozenset()),
        replace(AWSS, statistic="Average"),
    ],
    ids=lambda mistaken: f"{mistaken.namespace}-{mistaken.name}-{mistaken.statistic}-{sorted(mistaken.dimensions)}",
)
def test_what_does_not_exist_is_noticed(mistaken: Watched, emitted: Emitted) -> None:
    assert OURS.why_not(emitted.metrics) is None
    assert AWSS.why_not(emitted.metrics) is None
    assert mistaken.why_not(emitted.metrics)


@pytest.mark.parametrize(("name", "alarm"), resources("AWS::CloudWatch::Alarm"))
def test_each_alarm_tells_someone_and_says_what_no_data_means(name: str, alarm: dict[str, Any]) -> None:
    properties = alarm["Properties"]
    assert properties["AlarmActions"] == properties["OKActions"] == [{"Ref": "AlertsTopicArn"}]
    assert properties.get("ActionsEnabled", True) is True
    # What is due every few minutes has failed when nothing is heard of it, as a backup has that has no age; a task that
    # died is dead until it has succeeded.
    without_data = dict.fromkeys(("Silentdispatch", "Silentwatch", "VerifiedBackupAlarm"), "breaching")
    without_data |= dict.fromkeys(dict(of_metric("run_dead")), "ignore")
    assert properties["TreatMissingData"] == without_data.get(name, "notBreaching")
    assert properties["AlarmDescription"]


@pytest.mark.parametrize(
    ("metric", "verb", "subject", "watched"),
    [("run_dead", "dead", "A run", REPORTING), ("fires_missed", "missed", "A fire", TASKS)],
)
def test_each_function_that_reports_runs_has_its_own_alarm_on_what_was_given_up_and_each_task_on_what_was_missed(
    metric: str, verb: str, subject: str, watched: list[str]
) -> None:
    alarms = [alarm["Properties"] for _, alarm in of_metric(metric)]
    assert [dict(_dimensions(alarm))["task"] for alarm in alarms] == watched
    for task, alarm in zip(watched, alarms, strict=True):
        assert alarm["AlarmName"] == {"Fn::Sub": f"nightshift-${{Stage}}-{verb}-{task}"}
        assert f"{subject} of {task} " in alarm["AlarmDescription"]["Fn::Sub"]
    assert set(app.app.schedules) == set(TASKS) == set(REPORTING) - {"mail_feedback"}


def _dimensions(alarm: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(each["Name"], each["Value"]) for each in alarm["Dimensions"]]


def test_one_fire_that_did_not_come_alarms_until_the_watch_has_looked_again() -> None:
    for _, alarm in of_metric("fires_missed"):
        assert alarm["Properties"].items() >= FIRST.items()
        # As often as the watch comes.
        assert alarm["Properties"]["Period"] == 300


def test_one_run_that_was_given_up_alarms_and_only_a_success_ends_it() -> None:
    for _, alarm in of_metric("run_dead"):
        assert alarm["Properties"].items() >= FIRST.items()
        # The shortest there is, since a success in the same period is summed up with the death, and nothing later ends
        # the alarm. Their minimum would let the success hide the death, which is worse.
        assert alarm["Properties"]["Period"] == 60


def test_each_function_that_is_turned_away_again_and_again_alarms_and_one_that_is_once_does_not() -> None:
    alarms = [alarm for alarm in ALARMS.values() if alarm.get("MetricName") == "Throttles"]
    assert [_dimensions(alarm) for alarm in alarms] == [[("FunctionName", name)] for name in GIVEN["FunctionNames"]]
    for function, alarm in zip(FUNCTIONS, alarms, strict=True):
        assert alarm["AlarmName"] == f"nightshift-{STAGE}-throttled-{function}"
        # Lambda repeats what it turned away within five minutes.
        rings = FIRST | {"Period": 300, "EvaluationPeriods": 3, "DatapointsToAlarm": 2}
        assert alarm.items() >= rings.items()


def test_each_function_alarms_where_it_ends_later_than_work_is_handed_on_and_jobs_are_stopped() -> None:
    alarms = {alarm["AlarmName"]: alarm for name, alarm in ALARMS.items() if name.startswith("NearTimeout")}
    configured = TEMPLATES["queues"]["Parameters"]["WorkerTimeoutSeconds"]["Default"]
    assert f"nightshift-{STAGE}-time-out-work-{int(configured) - LEAST_SECONDS_LEFT}" in alarms
    for function, alarm in zip(FUNCTIONS, alarms.values(), strict=True):
        seconds = alarm["AlarmName"].removeprefix(f"nightshift-{STAGE}-time-out-{function}-")
        assert (alarm["MetricName"], _dimensions(alarm)) == ("Duration", [("FunctionName", name_of(function, STAGE))])
        assert (alarm["Statistic"], int(alarm["Threshold"])) == ("Maximum", 1000 * int(seconds))
        assert (alarm["ComparisonOperator"], alarm["EvaluationPeriods"]) == ("GreaterThanThreshold", 1)
    # chalicelib.queue.worker stops a job with half of the reserve left.
    assert 0 < 1000 * LEAST_SECONDS_LEFT < RESERVE_MS / 2


def test_messages_that_wait_too_long_alarm_on_either_queue_and_sooner_on_the_priority_queue() -> None:
    parameters = TEMPLATES["alarms"]["Parameters"]
    limits = {}
    for _, alarm in of_metric("ApproximateAgeOfOldestMessage"):
        (queue,) = alarm["Properties"]["Dimensions"]
        limits[queue["Value"]["Ref"]] = parameters[alarm["Properties"]["Threshold"]["Ref"]]["Default"]
    assert set(limits) == {"WorkQueueName", "PriorityQueueName"}
    # Longer than a killed worker hides its messages, or each would alarm.
    default = TEMPLATES["queues"]["Parameters"]["WorkerTimeoutSeconds"]["Default"]
    assert limits["WorkQueueName"] > TEMPLATES["queues"]["Mappings"]["Visibility"][default]["Seconds"]
    assert limits["PriorityQueueName"] < limits["WorkQueueName"]


@pytest.mark.parametrize("queue", ["DeadLetterQueueName", "FailedFiresQueueName"])
def test_one_message_that_was_given_up_alarms(queue: str) -> None:
    (alarm,) = (
        alarm["Properties"]
        for _, alarm in of_metric("ApproximateNumberOfMessagesVisible")
        if _dimensions(alarm["Properties"]) == [("QueueName", {"Ref": queue})]
    )
    assert alarm.items() >= (FIRST | {"Statistic": "Maximum"}).items()


@pytest.mark.parametrize(("function", "minutes", "told"), [("dispatch", 10, "ten"), ("watch", 20, "twenty")])
def test_what_comes_every_few_minutes_alarms_after_some_without_a_success_heard_of_or_not(
    function: str, minutes: int, told: str
) -> None:
    alarm = the(f"Silent{function}")["Properties"]
    assert f"did not succeed once in {told} minutes" in alarm["AlarmDescription"]
    assert alarm["AlarmName"] == {"Fn::Sub": f"nightshift-${{Stage}}-{function}"}
    assert alarm["MetricName"] == "run_succeeded"
    assert _dimensions(alarm)[0] == ("task", function)
    assert (alarm["Statistic"], alarm["Period"] * alarm["EvaluationPeriods"]) == ("Sum", 60 * minutes)
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)


@pytest.mark.parametrize(
    ("name", "metric", "parameter", "every"),
    [
        ("VerifiedBackupAlarm", "backup_verified_age", "VerifiedBackupHours", 24),
        ("BackupDrillAlarm", "backup_drilled_age", "BackupDrillHours", 7 * 24),
    ],
)
def test_a_backup_or_a_drill_that_is_missed_alarms_and_one_that_is_late_does_not(
    name: str, metric: str, parameter: str, every: int
) -> None:
    alarm = the(name)["Properties"]
    assert (alarm["MetricName"], alarm["Threshold"]) == (metric, {"Ref": parameter})
    assert every + 4 <= TEMPLATES["alarms"]["Parameters"][parameter]["Default"] < 2 * every
    # The watch tells it every five minutes, and one that it misses is no alarm.
    assert (alarm["Statistic"], alarm["Period"], alarm["EvaluationPeriods"]) == ("Minimum", 3600, 1)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert ("task", "database_backup") in _dimensions(alarm)


def test_the_database_of_the_data_stack_alarms_before_it_is_full_and_after_rds_would_have_made_it_larger() -> None:
    (alarm,) = (alarm["Properties"] for _, alarm in of_metric("FreeStorageSpace"))
    least = TEMPLATES["data"]["Parameters"]["DatabaseStorageGiB"]["MinValue"] * 2**30
    assert 0 < TEMPLATES["alarms"]["Parameters"]["DatabaseFreeBytes"]["Default"] < least / 10
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", {"Ref": "DatabaseFreeBytes"})
    assert alarm["Statistic"] == "Minimum"
    assert alarm["Period"] * alarm["EvaluationPeriods"] > 300


def test_the_page_to_unsubscribe_alarms_when_it_fails_or_lambda_refuses_a_request() -> None:
    alarms = [ALL[name] for name in ("UnsubscribeErrorsAlarm", "UnsubscribeThrottledAlarm")]
    assert [alarm["MetricName"] for alarm in alarms] == ["Errors", "Throttles"]
    for alarm in alarms:
        assert _dimensions(alarm) == [("FunctionName", name_of(ROUTES, STAGE))]
        assert alarm.items() >= FIRST.items()


def test_an_alarm_is_made_for_what_there_is_alone() -> None:
    assert set(ALL) - set(ALARMS) == {"DatabaseStorageAlarm", "UnsubscribeErrorsAlarm", "UnsubscribeThrottledAlarm"}


def test_no_alarm_needs_metric_math() -> None:
    assert [name for name, alarm in ALL.items() if "MetricName" not in alarm] == []


def test_the_page_tells_of_every_alarm() -> None:
    page = (INFRA / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"## Alarms\n(.*?)\n## ", page, re.DOTALL)
    # As the table has it for those that a loop makes.
    told = {re.sub(r"<\w+>(-<\w+>)?", ".+", name) for name in re.findall(r"`([\w<>-]+)`", table)}
    names = [alarm["AlarmName"].removeprefix(f"nightshift-{STAGE}-") for alarm in ALL.values()]
    assert [name for name in names if not any(re.fullmatch(pattern, name) for pattern in told)] == []
