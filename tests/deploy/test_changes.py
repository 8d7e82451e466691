"""Chalice's client of AWS: what is as it should be is left alone, and a plan changes nothing."""

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest

from nightshift.deploy.changes import ChangingClient
from nightshift.local.aws import LocalAws
from nightshift.local.environment import REGION

FUNCTION = {
    "type": "aws_proxy",
    "httpMethod": "POST",
    "uri": "arn:aws:apigateway:us-east-1:lambda:path/any/invocations",
}
ANSWER = {"responses": {"200": {"description": "the page"}}, "x-amazon-apigateway-integration": FUNCTION}
SWAGGER = {
    "openapi": "3.0.1",
    "info": {"title": "nightshift", "version": "1.0", "description": "routes"},
    "paths": {"/unsubscribe": {"get": ANSWER}},
}
RULE, GROUP = "nightshift-dev-work-event", "/aws/lambda/nightshift-dev-work"


@pytest.fixture
def session(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return botocore.session.Session()


@pytest.fixture(autouse=True)
def nothing_left(aws: LocalAws) -> Iterator[None]:
    yield
    for each in aws.client("apigateway").get_rest_apis()["items"]:
        aws.client("apigateway").delete_rest_api(restApiId=each["id"])
    for rule in aws.client("events").list_rules()["Rules"]:
        aws.client("events").delete_rule(Name=rule["Name"])
    for group in aws.client("logs").describe_log_groups()["logGroups"]:
        aws.client("logs").delete_log_group(logGroupName=group["logGroupName"])


def client(session: Any, *, is_plan: bool = False) -> ChangingClient:
    return ChangingClient(session, name_of_routes="nightshift-dev", is_plan=is_plan, tell=lambda _: None)


def deploy_api(client: ChangingClient, swagger: dict[str, Any], api: str | None = None) -> str:
    """Do what Chalice does for routes, and return the API's id."""
    if api is None:
        api = client.import_rest_api(swagger, "EDGE")
    else:
        client.update_api_from_swagger(api, swagger)
    client.deploy_rest_api(api, "api", xray=False)
    return api


def test_routes_that_are_live_are_left_alone(aws: LocalAws, session: Any) -> None:
    first, again, other = client(session), client(session), client(session)
    api = deploy_api(first, SWAGGER)
    deploy_api(again, SWAGGER, api)
    deploy_api(other, SWAGGER | {"basePath": "/x"}, api)
    assert [each.changes for each in (first, again, other)] == [
        {"nightshift-dev": ["API created"]},
        {},
        {"nightshift-dev": ["API"]},
    ]
    assert len(aws.client("apigateway").get_deployments(restApiId=api)["items"]) == 2


def test_routes_that_were_brought_and_never_became_live_are_deployed(aws: LocalAws, session: Any) -> None:
    api = client(session).import_rest_api(SWAGGER, "EDGE")
    after = client(session)
    deploy_api(after, SWAGGER, api)
    assert after.changes == {"nightshift-dev": ["API"]}
    assert len(aws.client("apigateway").get_deployments(restApiId=api)["items"]) == 1


def test_a_log_group_is_not_taken_for_another_whose_name_begins_with_it(session: Any) -> None:
    client(session).create_log_group(f"{GROUP}_priority")
    assert not client(session).log_group_exists(GROUP)


@pytest.mark.parametrize("other", ["rate(2 minutes)", "rate(1 minute)"])
def test_a_rule_is_written_where_its_schedule_differs(session: Any, other: str) -> None:
    client(session).get_or_create_rule_arn(RULE, "rate(1 minute)")
    second = client(session)
    arn = second.get_or_create_rule_arn(RULE, other)
    assert arn.endswith(f"rule/{RULE}")
    assert second.changes == ({} if other == "rate(1 minute)" else {"nightshift-dev-work": ["schedule"]})


def test_a_plan_knows_the_rule_that_is_there(aws: LocalAws, session: Any) -> None:
    arn = client(session).get_or_create_rule_arn(RULE, "rate(1 minute)")
    assert client(session, is_plan=True).get_or_create_rule_arn(RULE, "rate(2 minutes)") == arn
    assert aws.client("events").describe_rule(Name=RULE)["ScheduleExpression"] == "rate(1 minute)"


def test_a_rule_that_somebody_disabled_is_enabled(aws: LocalAws, session: Any) -> None:
    client(session).get_or_create_rule_arn(RULE, "rate(1 minute)")
    aws.client("events").disable_rule(Name=RULE)
    client(session).get_or_create_rule_arn(RULE, "rate(1 minute)")
    assert aws.client("events").describe_rule(Name=RULE)["State"] == "ENABLED"


def test_a_plan_notes_everything_and_makes_nothing(aws: LocalAws, session: Any) -> None:
    planned = client(session, is_plan=True)
    planned.create_log_group(GROUP)
    planned.put_retention_policy(GROUP, 30)
    planned.create_role("nightshift-dev-work", {}, {})
    function = planned.create_function("nightshift-dev-work", zip_contents="", role_arn="", runtime="", handler="")
    planned.put_function_concurrency("nightshift-dev-work", 5)
    planned.get_or_create_rule_arn(RULE, "rate(1 minute)")
    planned.connect_rule_to_lambda(RULE, function)
    deploy_api(planned, SWAGGER)
    assert planned.changes == {
        "nightshift-dev-work": [
            "log group created",
            "log retention",
            "role created",
            "created",
            "concurrency",
            "schedule",
        ],
        "nightshift-dev": ["API created"],
    }
    assert aws.client("logs").describe_log_groups()["logGroups"] == []
    assert aws.client("lambda").list_functions()["Functions"] == []
    assert aws.client("events").list_rules()["Rules"] == []
    assert aws.client("apigateway").get_rest_apis()["items"] == []
