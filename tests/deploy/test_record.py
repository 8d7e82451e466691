"""What Chalice is told of a stage: what is there, by what AWS has."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nightshift.deploy import record
from nightshift.local.aws import LocalAws

TRUST = {"Version": "2012-10-17", "Statement": []}


@pytest.fixture
def make(aws: LocalAws) -> Iterator[Callable[[str], str]]:
    """Make functions, and delete them afterwards."""
    iam, awslambda = aws.client("iam"), aws.client("lambda")

    def make(name: str) -> str:
        is_of_routes = not name.endswith("-work")
        role = iam.create_role(
            RoleName=f"{name}-api_handler" if is_of_routes else name, AssumeRolePolicyDocument=json.dumps(TRUST)
        )
        made = awslambda.create_function(
            FunctionName=name,
            Role=role["Role"]["Arn"],
            Code={"ZipFile": b"x"},
            Runtime="python3.13",
            Handler="app.app" if is_of_routes else "app.work",
        )
        return str(made["FunctionArn"])

    yield make
    for each in awslambda.list_functions()["Functions"]:
        awslambda.delete_function(FunctionName=each["FunctionName"])
    for each in iam.list_roles()["Roles"]:
        iam.delete_role(RoleName=each["RoleName"])


def names(aws: LocalAws, stage: str) -> set[str]:
    return {each["name"] for each in record.read(aws.client, stage)}


def test_a_stage_is_not_taken_for_another_whose_name_begins_with_it(aws: LocalAws, make: Callable[[str], str]) -> None:
    for name in ("nightshift-prod-work", "nightshift-prod-eu-work", "nightshift-prod-eu", "other-prod-work"):
        make(name)
    assert names(aws, "prod") == {"work", "work_role"}
    assert names(aws, "prod-eu") == {"work", "work_role", "api_handler", "api_handler_role"}


def test_a_role_without_its_function_is_found_too(aws: LocalAws, make: Callable[[str], str]) -> None:
    make("nightshift-prod-work")
    aws.client("lambda").delete_function(FunctionName="nightshift-prod-work")
    assert names(aws, "prod") == {"work_role"}


def test_the_api_is_that_which_may_call_the_stage_s_function(aws: LocalAws, make: Callable[[str], str]) -> None:
    gateway = aws.client("apigateway")
    ids = {}
    for stage in ("prod", "dev"):
        ids[stage] = gateway.create_rest_api(name="nightshift")["id"]
        make(f"nightshift-{stage}")
        aws.client("lambda").add_permission(
            FunctionName=f"nightshift-{stage}",
            StatementId="api",
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:us-east-1:123456789012:{ids[stage]}/*",
        )
    found = {each["name"]: each for each in record.read(aws.client, "prod")}
    assert found["rest_api"]["rest_api_id"] == ids["prod"]


def test_a_trigger_that_is_there_twice_has_once_a_name_that_chalice_knows(
    aws: LocalAws, make: Callable[[str], str]
) -> None:
    make("nightshift-prod-work")
    awslambda, sqs = aws.client("lambda"), aws.client("sqs")
    for name in ("nightshift-prod-work", "another"):
        queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        awslambda.create_event_source_mapping(EventSourceArn=arn, FunctionName="nightshift-prod-work")
    known, surplus = sorted(name for name in names(aws, "prod") if name.startswith("work-sqs"))
    assert known == "work-sqs-event-source"
    assert surplus.startswith("work-sqs-event-source-")


def test_the_record_is_written_only_where_it_says_something_else(tmp_path: Path) -> None:
    resources = [{"name": "work", "resource_type": "lambda_function"}, {"name": "role", "resource_type": "iam_role"}]
    assert record.update(tmp_path, "prod", resources)
    assert not record.update(tmp_path, "prod", resources[::-1])
    assert record.update(tmp_path, "prod", resources[:1])
    document = json.loads((tmp_path / ".chalice" / "deployed" / "prod.json").read_text())
    assert (document["resources"], document["schema_version"]) == (resources[:1], "2.0")


@pytest.mark.parametrize("damaged", ["", "{", "[]", "{}"])
def test_a_damaged_record_is_written_afresh(tmp_path: Path, damaged: str) -> None:
    path = tmp_path / ".chalice" / "deployed" / "prod.json"
    path.parent.mkdir(parents=True)
    path.write_text(damaged)
    assert record.update(tmp_path, "prod", [])
