"""What is merged into Chalice's template."""

from pathlib import Path
from typing import Any

import pytest

import app
from nightshift.project import triggers
from nightshift.project.template import ROUTE_CONCURRENCY, ROUTE_RATE, merge_template, repetitions
from nightshift.project.triggers import ROUTES, name_of

KNOWN = triggers.read(Path(__file__).parent.parent.parent)
OUTPUTS = {"FailedFiresQueueArn": "arn:q"}


@pytest.fixture
def resources() -> dict[str, Any]:
    merged: dict[str, Any] = merge_template(KNOWN, OUTPUTS, "dev")["Resources"]
    return merged


def test_every_function_and_its_log_group_have_the_names_that_chalice_gives(resources: dict[str, Any]) -> None:
    named = {found["Properties"].get("FunctionName") for found in resources.values()} - {None}
    assert named == {name_of(trigger.function, "dev") for trigger in KNOWN}
    groups = {found["Properties"].get("LogGroupName") for found in resources.values()} - {None}
    assert groups == {f"/aws/lambda/{name}" for name in named}


def test_a_log_group_is_there_before_its_function_and_stays_after_it(resources: dict[str, Any]) -> None:
    assert resources["Work"]["DependsOn"] == ["WorkLogGroup"]
    assert resources["WorkLogGroup"]["DeletionPolicy"] == "RetainExceptOnCreate"


def test_the_function_of_routes_has_the_applications_own_name() -> None:
    assert "APIHandler" not in merge_template(KNOWN, OUTPUTS, "dev")["Resources"]
    resources = merge_template(KNOWN, OUTPUTS, "dev", has_routes=True)["Resources"]
    assert resources["APIHandler"]["Properties"]["FunctionName"] == name_of(ROUTES, "dev") == "nightshift-dev"
    assert resources["ApiHandlerLogGroup"]["Properties"]["LogGroupName"] == "/aws/lambda/nightshift-dev"


def test_the_page_to_unsubscribe_takes_as_many_requests_as_chalice_s(resources: dict[str, Any]) -> None:
    assert "RestAPI" not in resources
    page = merge_template(KNOWN, OUTPUTS, "dev", has_routes=True)["Resources"]["RestAPI"]
    (method,) = page["Properties"]["MethodSettings"]
    limits = (method["ThrottlingRateLimit"], method["ThrottlingBurstLimit"])
    assert limits == (ROUTE_RATE, ROUTE_CONCURRENCY)


def test_failed_events_are_repeated_as_chalice_s_deployment_has_it(resources: dict[str, Any]) -> None:
    digest, dispatch = (resources[name]["Properties"]["EventInvokeConfig"] for name in ("DailyDigest", "Dispatch"))
    assert digest["DestinationConfig"] == {"OnFailure": {"Type": "SQS", "Destination": "arn:q"}}
    assert dispatch == repetitions(KNOWN, OUTPUTS)["dispatch"]


def test_workers_report_partial_failures(resources: dict[str, Any]) -> None:
    for worker in ("Work", "WorkPriority"):
        (trigger,) = resources[worker]["Properties"]["Events"].values()
        assert trigger == {"Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}}


def test_rules_have_the_names_that_chalice_gives(resources: dict[str, Any]) -> None:
    for function in (*app.app.schedules, "dispatch", "watch"):
        name = function.title().replace("_", "")
        (rule,) = resources[name]["Properties"]["Events"].values()
        assert rule == {"Properties": {"Name": f"nightshift-dev-{function}-event"}}
