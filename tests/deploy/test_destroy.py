"""Destroying a stage: what AWS does not let go is named, and the rest is gone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightshift.deploy.deployment import Deployment
from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, REGION
from nightshift.project.configuration import Place
from nightshift.project.stage import Stage

WORK, HELD = "nightshift-dev-work", "nightshift-dev-watch"
DENIAL = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "s3:*", "Resource": "*"}}
TEMPLATE = json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})


@pytest.fixture
def deployment(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A stage with two functions, and a stack of alarms that infra/stages.json does not have here."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    (tmp_path / ".chalice").mkdir()
    configuration = {"version": "2.0", "app_name": "nightshift", "stages": {"dev": {}}}
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(configuration))
    iam, awslambda, cloudformation = (aws.client(name) for name in ("iam", "lambda", "cloudformation"))
    for name in (WORK, HELD):
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        awslambda.create_function(
            FunctionName=name, Role=role, Code={"ZipFile": b"x"}, Runtime="python3.13", Handler="app.work"
        )
    cloudformation.create_stack(StackName="nightshift-dev-alarms", TemplateBody=TEMPLATE)
    place = Place(stage="dev", region=REGION, account=ACCOUNT, partition="aws", caller="me")
    yield Deployment(
        project=tmp_path,
        stage=Stage(name="dev", stacks={}),
        place=place,
        client=aws.client,
        invoker=lambda: awslambda,
    )
    for name in [each["FunctionName"] for each in awslambda.list_functions()["Functions"]]:
        awslambda.delete_function(FunctionName=name)
    for name in [each["RoleName"] for each in iam.list_roles()["Roles"]]:
        iam.delete_role(RoleName=name)
    cloudformation.delete_stack(StackName="nightshift-dev-alarms")


def test_everything_goes_also_what_this_clone_s_stages_do_not_name(aws: LocalAws, deployment: Deployment) -> None:
    steps = list(deployment.destroy())
    assert "functions: 2 deleted" in steps
    assert "stack nightshift-dev-alarms: deleted" in steps
    assert aws.client("iam").list_roles()["Roles"] == []


def test_what_cannot_be_deleted_is_named_and_the_stacks_stay_until_it_can(
    aws: LocalAws, deployment: Deployment
) -> None:
    iam = aws.client("iam")
    policy = iam.create_policy(PolicyName="ours", PolicyDocument=json.dumps(DENIAL))
    arn = policy["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=HELD, PolicyArn=arn)
    with pytest.raises(ValueError, match=r"detach .*; still there: .*watch_role") as refused:
        list(deployment.destroy())
    assert aws.client("lambda").list_functions()["Functions"] == []
    assert aws.client("cloudformation").describe_stacks(StackName="nightshift-dev-alarms")["Stacks"]
    assert "run it again" in str(refused.value)
    iam.detach_role_policy(RoleName=HELD, PolicyArn=arn)
    assert "functions: 0 deleted" in list(deployment.destroy())
    iam.delete_policy(PolicyArn=arn)
