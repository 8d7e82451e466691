"""The dashboard: everything that it shows exists, and nothing that alarms is missing from it."""

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.infra.emitted import Emitted
from tests.infra.templates import GIVEN, PSEUDO, QUEUE_NAMES, STAGE, deployed
from tests.infra.watching import FIELDS_OF_AWS, fields_of, searched, selects, shown_by, watched_by

WIDGETS: list[dict[str, Any]] = json.loads(deployed("dashboard")["Dashboard"]["DashboardBody"])["widgets"]
ALARMS = deployed("alarms")
# In one widget; CloudWatch refuses a dashboard with more.
MOST_ALARMS = 100
of_metrics = pytest.mark.parametrize(
    "properties",
    [widget["properties"] for widget in WIDGETS if widget["type"] == "metric"],
    ids=lambda properties: properties["title"],
)


def title_of(widget: dict[str, Any]) -> str:
    """Return what a widget is called; text has no title."""
    return str(widget["properties"].get("title", widget["type"]))


def titled(title: str) -> dict[str, Any]:
    """Return the properties of the one widget with this title."""
    (found,) = (widget["properties"] for widget in WIDGETS if title_of(widget) == title)
    return dict(found)


@of_metrics
def test_each_widget_shows_metrics_that_exist(properties: dict[str, Any], emitted: Emitted) -> None:
    metrics = list(shown_by(properties))
    assert metrics
    assert [metric.why_not(emitted.metrics) for metric in metrics if metric.why_not(emitted.metrics)] == []
    assert properties["region"] == PSEUDO["AWS::Region"]


@of_metrics
def test_what_a_search_leaves_out_exists_too(properties: dict[str, Any], emitted: Emitted) -> None:
    left_out = set(re.findall(r'NOT (\w+)="(\w+)"', json.dumps(properties).replace('\\"', '"')))
    assert left_out <= {pair for metric in emitted.metrics for pair in metric.dimensions}


@pytest.mark.parametrize(
    "mistaken",
    [
        "SEARCH('{Nightshift,service,task} service=\"nightshift-prod\" MetricName=\"run_deda\"', 'Sum', 3600)",
        "SEARCH('{Nightshift,service} service=\"nightshift-prod\" MetricName=\"run_dead\"', 'Sum', 3600)",
        "SEARCH('{Nightshift,service,type} service=\"nightshift-prod\" MetricName=\"run_dead\"', 'Sum', 3600)",
        "SEARCH('{Nightshift,service,task} service=\"nightshift\" MetricName=\"run_dead\"', 'Sum', 3600)",
        'SEARCH(\'{Nightshift,service,task} task=("watch" OR "wotch") MetricName="run_dead"\', \'Sum\', 3600)',
        "SEARCH('{Nightshift,service,task} MetricName=(\"run_dead\" OR \"run_daed\")', 'Sum', 3600)",
        "SEARCH('{Nightshift,service,task} MetricName=\"run_duration\"', 'Sum', 3600)",
    ],
)
def test_a_search_that_finds_nothing_is_noticed(mistaken: str, emitted: Emitted) -> None:
    assert any(metric.why_not(emitted.metrics) for metric in searched(mistaken))


def test_no_two_widgets_lie_on_each_other_and_none_sticks_out() -> None:
    boxes = {
        title_of(widget): {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        for widget in WIDGETS
    }
    assert len(boxes) == len(WIDGETS)
    assert [pair for pair in combinations(boxes, 2) if boxes[pair[0]] & boxes[pair[1]]] == []
    assert {x for box in boxes.values() for x, _ in box} == set(range(24))


def listed_in(properties: dict[str, Any]) -> list[str]:
    """Return the names of the alarms that a widget lists."""
    begin = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:"
    return [arn.removeprefix(begin) for arn in properties["alarms"]]


def test_it_shows_each_alarm_or_just_what_it_watches_of_those_that_a_loop_makes() -> None:
    listed = listed_in(titled("Alarms of the whole stage"))
    assert len(set(listed)) == len(listed) <= MOST_ALARMS
    assert set(listed) <= {alarm["AlarmName"] for alarm in ALARMS.values()}
    # With its dimensions, which a search has not all of: what told nothing for two weeks it does not find.
    shown = {
        (metric.namespace, metric.name, metric.dimensions)
        for widget in WIDGETS
        if widget["type"] == "metric"
        for metric in shown_by(widget["properties"])
    }
    for alarm in ALARMS.values():
        if alarm["AlarmName"] not in listed:
            watched = {(metric.namespace, metric.name, metric.dimensions) for metric in watched_by(alarm)}
            assert watched <= shown, alarm["AlarmName"]


@pytest.mark.parametrize("title", ["Runs given up, by day", "Fires missed, by day"])
def test_what_became_of_a_monthly_task_is_shown_until_it_runs_again(title: str) -> None:
    assert titled(title)["start"] == "-P35D"
    # Which CloudWatch keeps for longer than that only by the hour and longer.
    assert titled(title)["period"] >= 3600


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"Backups": "off", "Drills": "off"}, {"verified-backup", "backup-drill"}),
        ({"Drills": "off"}, {"backup-drill"}),
        ({}, set()),
    ],
)
def test_a_project_without_backups_or_drills_has_no_alarm_on_them_and_lists_none(
    off: dict[str, str], gone: set[str]
) -> None:
    alarms = {alarm["AlarmName"] for alarm in deployed("alarms", **off).values()}
    assert {alarm["AlarmName"] for alarm in ALARMS.values()} - alarms == {f"nightshift-{STAGE}-{name}" for name in gone}
    (body,) = (each["DashboardBody"] for each in deployed("dashboard", **off).values())
    (listing,) = (widget for widget in json.loads(body)["widgets"] if widget["type"] == "alarm")
    assert set(listed_in(listing["properties"])) <= alarms


@pytest.mark.parametrize(
    ("switch", "title"), [("Backups", "Backups, hours ago"), ("Mails", "Mails by outcome")], ids=["backups", "mails"]
)
def test_it_shows_nothing_of_a_part_that_is_left_out(switch: str, title: str) -> None:
    (body,) = (each["DashboardBody"] for each in deployed("dashboard", **{switch: "off"}).values())
    titles = [widget["properties"].get("title") for widget in json.loads(body)["widgets"]]
    assert titled(title)
    assert title not in titles


def test_it_lists_the_alarm_on_the_storage_of_a_database_that_rds_has() -> None:
    (body,) = (each["DashboardBody"] for each in deployed("dashboard", DatabaseIdentifier="db").values())
    (listing,) = (widget for widget in json.loads(body)["widgets"] if widget["type"] == "alarm")
    storage = deployed("alarms", DatabaseIdentifier="db")["DatabaseStorageAlarm"]["AlarmName"]
    assert storage in listed_in(listing["properties"])


def test_it_shows_every_queue_and_every_function() -> None:
    waiting = {value for metric in shown_by(titled("Messages waiting")) for _, value in metric.dimensions}
    assert waiting == set(QUEUE_NAMES.values())
    for title in ("Failed invocations", "Invocations turned away", "Longest invocation, ms", "Invocations at once"):
        assert [value for metric in shown_by(titled(title)) for _, value in metric.dimensions] == GIVEN["FunctionNames"]


def test_its_lines_are_of_all_functions_and_their_fields_exist(emitted: Emitted) -> None:
    parts = titled("What failed last")["query"].split(" | ")
    groups = [part for part in parts if part.startswith("SOURCE ")]
    assert groups == [f"SOURCE '/aws/lambda/{name}'" for name in GIVEN["FunctionNames"]]
    query = " | ".join(parts[len(groups) :])
    selected = [line for line in emitted.lines if selects(query, line)]
    assert fields_of(query) <= {key for line in selected for key in line} | FIELDS_OF_AWS
