"""The permissions boundary of the account's administrator: every role that a deployment creates has it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.stub import Stubber

from nightshift.deploy.deployer import bound_roles
from nightshift.deploy.deployment import Deployment
from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, REGION
from nightshift.project import triggers
from nightshift.project.configuration import Place
from nightshift.project.stage import Stage
from nightshift.project.template import merge_template

BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/nightshift-dev-boundary"
OPERATE = "nightshift-dev-operate"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ses:GetAccount", "Resource": "*"}]}
)
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def session(aws: LocalAws, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    return botocore.session.Session()


@pytest.fixture
def iam(aws: LocalAws) -> Iterator[Any]:
    """IAM, without roles when the test is over."""
    client = aws.client("iam")
    yield client
    for each in client.list_roles()["Roles"]:
        for name in client.list_role_policies(RoleName=each["RoleName"])["PolicyNames"]:
            client.delete_role_policy(RoleName=each["RoleName"], PolicyName=name)
        client.delete_role(RoleName=each["RoleName"])


def boundary_of(iam: Any, role: str) -> str | None:
    found: str | None = iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
    return found


def test_a_role_has_the_boundary_from_its_creation(session: Any, iam: Any) -> None:
    bound_roles(session, BOUNDARY)
    session.create_client("iam").create_role(RoleName=OPERATE, AssumeRolePolicyDocument=TRUST)
    assert boundary_of(iam, OPERATE) == BOUNDARY


def test_an_older_role_gets_the_boundary_with_its_next_policy(session: Any, iam: Any) -> None:
    iam.create_role(RoleName=OPERATE, AssumeRolePolicyDocument=TRUST)
    assert boundary_of(iam, OPERATE) is None
    bound_roles(session, BOUNDARY)
    session.create_client("iam").put_role_policy(RoleName=OPERATE, PolicyName=OPERATE, PolicyDocument=POLICY)
    assert boundary_of(iam, OPERATE) == BOUNDARY


def test_roles_that_cloudformation_makes_have_the_boundary_where_there_is_one() -> None:
    known, outputs = triggers.read(ROOT), {"FailedFiresQueueArn": "arn:q"}
    resources = merge_template(known, outputs | {"PermissionsBoundaryArn": BOUNDARY}, "dev", has_routes=True)[
        "Resources"
    ]
    roles = {name: each["Properties"] for name, each in resources.items() if name.endswith("Role")}
    # As Chalice names them in its template.
    assert {"WorkRole", "DailyDigestRole", "ApiHandlerRole"} <= roles.keys()
    assert {str(each) for each in roles.values()} == {str({"PermissionsBoundary": BOUNDARY})}
    assert not [name for name in merge_template(known, outputs, "dev")["Resources"] if name.endswith("Role")]


@pytest.fixture
def deployment(aws: LocalAws, iam: Any) -> Iterator[Deployment]:
    """A stage with the function operate, which the credentials may not call."""
    awslambda: Any = aws.client("lambda")
    invoker = botocore.session.Session().create_client("lambda", region_name=REGION)
    role = iam.create_role(RoleName=OPERATE, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    awslambda.create_function(
        FunctionName=OPERATE, Role=role, Code={"ZipFile": b"x"}, Runtime="python3.13", Handler="app.operate"
    )
    place = Place(stage="dev", region=REGION, account=ACCOUNT, partition="aws", caller="me")
    stage = Stage(name="dev", stacks={})
    with Stubber(invoker) as denying:
        denying.add_client_error("invoke", "AccessDeniedException", "not authorized to perform lambda:InvokeFunction")
        yield Deployment(project=ROOT, stage=stage, place=place, client=aws.client, invoker=lambda: invoker)
    awslambda.delete_function(FunctionName=OPERATE)


def test_a_plan_without_the_right_to_ask_the_database_tells_the_rest(deployment: Deployment) -> None:
    *others, last = deployment.plan()
    assert f"function {OPERATE}: update" in others
    assert last.startswith("database: → ")
    assert last.endswith("these credentials may not ask the function operate")
