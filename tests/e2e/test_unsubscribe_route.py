"""The page to unsubscribe, served by the API Gateway that a stage gets where it switches the route on."""

import json
from collections.abc import Iterator

import pytest

from nightshift.project.template import ROUTE_CONCURRENCY, ROUTE_RATE
from tests.e2e.cloud import STAGE, Cloud, until

GROUP = f"/aws/lambda/nightshift-{STAGE}"


@pytest.fixture(scope="module")
def served(cloud: Cloud) -> Iterator[Cloud]:
    """A stage with the page."""
    cloud.set_environment(UNSUBSCRIBE_ROUTE="on")
    # Chalice sends an empty text for none, and the emulator answers with that in place of a number.
    path = cloud.project / ".chalice" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"minimum_compression_size": 10_000_000}))
    told = cloud.deploy()
    assert f"page to unsubscribe: at most {ROUTE_RATE} requests a second" in told
    yield cloud
    cloud.set_environment(UNSUBSCRIBE_ROUTE="off")


def api_id(cloud: Cloud) -> str:
    (api,) = cloud.client("apigateway").get_rest_apis()["items"]
    return str(api["id"])


def status_of_pressing(cloud: Cloud, token: str) -> int:
    """Return the status that a press of the button gets, as API Gateway calls the function.

    The emulator makes the API without its paths.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "*/*"}
    proxied = {
        "resource": "/unsubscribe",
        "path": "/unsubscribe",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "multiValueQueryStringParameters": {"token": [token]},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": "/unsubscribe", "httpMethod": "POST", "path": "/api/unsubscribe"},
        "body": "List-Unsubscribe=One-Click",
        "isBase64Encoded": False,
    }
    answer = cloud.client("lambda").invoke(FunctionName=f"nightshift-{STAGE}", Payload=json.dumps(proxied).encode())
    return int(json.loads(answer["Payload"].read())["statusCode"])


def test_it_takes_so_many_requests_and_no_more(served: Cloud) -> None:
    settings = served.client("apigateway").get_stage(restApiId=api_id(served), stageName="api")["methodSettings"]["*/*"]
    assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (ROUTE_RATE, ROUTE_CONCURRENCY)
    reserved = served.client("lambda").get_function_concurrency(FunctionName=f"nightshift-{STAGE}")
    assert reserved["ReservedConcurrentExecutions"] == ROUTE_CONCURRENCY


def test_its_function_writes_to_the_log_that_was_made_for_it(served: Cloud) -> None:
    assert status_of_pressing(served, "forged") == 400
    logs = served.client("logs")
    (group,) = [each for each in logs.describe_log_groups()["logGroups"] if each["logGroupName"] == GROUP]
    assert group["retentionInDays"] == 30

    def is_logged() -> bool:
        events = logs.filter_log_events(logGroupName=GROUP)["events"]
        return any("has signed this link" in event["message"] for event in events)

    until(is_logged, "the line of the press")


def test_its_alarms_are_deployed_and_the_stage_is_found_well(served: Cloud) -> None:
    pages = served.client("cloudwatch").get_paginator("describe_alarms").paginate()
    names = {
        alarm["AlarmName"].removeprefix(f"nightshift-{STAGE}-") for page in pages for alarm in page["MetricAlarms"]
    }
    assert {"dead-unsubscribe", "errors-unsubscribe", "throttled-unsubscribe"} <= names
    done = served.run("nightshift", "doctor", "--stage", STAGE)
    assert done.returncode == 0, done.stdout + done.stderr
