"""What the deployment adds to the page to unsubscribe, in an API Gateway of moto's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from nightshift.deploy.functions import limit_route
from nightshift.project.configuration import has_route
from nightshift.project.template import ROUTE_CONCURRENCY, ROUTE_RATE

GROUP = "/aws/lambda/nightshift-dev"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client


@pytest.fixture
def api_id(aws: Any) -> str:
    """An API with a stage, as Chalice has deployed it."""
    gateway = aws("apigateway")
    api_id: str = gateway.create_rest_api(name="nightshift")["id"]
    root = gateway.get_resources(restApiId=api_id)["items"][0]["id"]
    gateway.put_method(restApiId=api_id, resourceId=root, httpMethod="GET", authorizationType="NONE")
    gateway.put_integration(restApiId=api_id, resourceId=root, httpMethod="GET", type="MOCK")
    gateway.create_deployment(restApiId=api_id, stageName="api")
    return api_id


@pytest.fixture
def project(tmp_path: Path, api_id: str) -> Path:
    (tmp_path / ".chalice" / "deployed").mkdir(parents=True)
    configuration = {"version": "2.0", "app_name": "nightshift", "log_retention_in_days": 30, "stages": {"dev": {}}}
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(configuration))
    deployed = {"resources": [{"name": "rest_api", "resource_type": "rest_api", "rest_api_id": api_id}]}
    (tmp_path / ".chalice" / "deployed" / "dev.json").write_text(json.dumps(deployed | {"schema_version": "2.0"}))
    return tmp_path


def test_a_stage_serves_the_page_only_where_the_setting_is_on() -> None:
    assert has_route({"environment_variables": {"UNSUBSCRIBE_ROUTE": "on"}})
    assert not has_route({"environment_variables": {"UNSUBSCRIBE_ROUTE": "off"}})
    assert not has_route({})


def test_requests_are_limited_and_the_function_has_a_log_that_ends(aws: Any, api_id: str, project: Path) -> None:
    # Again and again, as each deployment does.
    for _ in range(2):
        limit_route(aws, project, "dev")
    settings = aws("apigateway").get_stage(restApiId=api_id, stageName="api")["methodSettings"]["*/*"]
    assert (settings["throttlingRateLimit"], settings["throttlingBurstLimit"]) == (ROUTE_RATE, ROUTE_CONCURRENCY)
    (group,) = aws("logs").describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == (GROUP, 30)
