"""The dashboard: everything that it shows exists, and nothing that alarms is missing from it."""

import json
import re
from itertools import combinations
from typing import Any

import pytest

from tests.infra.emitted import Emitted
from tests.infra.templates import GIVEN, PSEUDO, QUEUE_NAMES, deployed
from tests.infra.watching import FIELDS_OF_AWS, fields_of, searched, selects, shown_by, watched_by

WIDGETS: list[dict[str, Any]] = json.loads(deployed("dashboard")["Dashboard"]["DashboardBody"])["widgets"]
ALARMS = deployed("alarms")
of_metrics = pytest.mark.parametrize(
    "properties",
    [widget["properties"] for widget in WIDGETS if widget["type"] == "metric"],
    ids=lambda properties: properties["title"],
)


def titled(title: str) -> dict[str, Any]:
    """Return the properties of the one widget with this title."""
    (found,) = (widget["properties"] for widget in WIDGETS if widget["properties"]["title"] == title)
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
        widget["properties"]["title"]: {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        for widget in WIDGETS
    }
    assert len(boxes) == len(WIDGETS)
    assert [pair for pair in combinations(boxes, 2) if boxes[pair[0]] & boxes[pair[1]]] == []
    assert {x for box in boxes.values() for x, _ in box} == set(range(24))


def test_it_shows_each_alarm_or_the_metric_of_those_that_a_loop_makes() -> None:
    begin = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:"
    listed = [arn.removeprefix(begin) for arn in titled("Alarms")["alarms"]]
    assert len(set(listed)) == len(listed)
    assert set(listed) <= {alarm["AlarmName"] for alarm in ALARMS.values()}
    shown = {
        (metric.namespace, metric.name)
        for widget in WIDGETS
        if widget["type"] == "metric"
        for metric in shown_by(widget["properties"])
    }
    for alarm in ALARMS.values():
        if alarm["AlarmName"] not in listed:
            assert {(metric.namespace, metric.name) for metric in watched_by(alarm)} <= shown, alarm["AlarmName"]


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
