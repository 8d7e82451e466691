"""A deployment by the roles of infra/deploy-role.yaml, which a token of GitHub's gets, with IAM on."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from tests.e2e.cloud import ACCOUNT, FUNCTIONS, ROOT, STAGE, Cloud, name_of
from tests.e2e.conftest import new_cloud

SCHEMA, REPOSITORY = "by_role", "owner@1/application@2"
ISSUER = "token.actions.githubusercontent.com"
STACK = f"deploy-nightshift-{STAGE}"
# What the emulator asks for on "*", or without the key of a condition, and AWS asks for as the template has it.
ASKED_OTHERWISE = {
    "plan": ["events:DescribeRule", "events:ListTargetsByRule", "lambda:PutFunctionConcurrency"],
    "deploy": [
        "events:DeleteRule",
        "events:DescribeRule",
        "events:ListTargetsByRule",
        "events:PutRule",
        "events:PutTargets",
        "events:RemoveTargets",
        "iam:CreateRole",
        "iam:PutRolePermissionsBoundary",
        "iam:PutRolePolicy",
        "lambda:CreateEventSourceMapping",
        "lambda:CreateFunction",
    ],
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, deployed_url: str, redis_url: str) -> Iterator[Cloud]:
    """A cloud in which an administrator has deployed the roles, and nothing else."""
    administrator = create_engine(deployed_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with administrator.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA} CHARACTER SET utf8mb4")
        url = make_url(deployed_url).set(database=SCHEMA).render_as_string(hide_password=False)
        folder, engine = tmp_path_factory.mktemp("role"), create_engine(url, poolclass=NullPool)
        with new_cloud(folder, database_url=url, redis_url=redis_url, engine=engine) as cloud:
            create_roles(cloud)
            yield cloud
        connection.exec_driver_sql(f"DROP SCHEMA {SCHEMA}")


def create_roles(cloud: Cloud) -> None:
    cloudformation = cloud.client("cloudformation")
    given = {
        "Stage": STAGE,
        "Repository": REPOSITORY,
        # The emulator makes no provider.
        "OidcProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{ISSUER}",
    }
    cloudformation.create_stack(
        StackName=STACK,
        TemplateBody=(ROOT / "infra" / "deploy-role.yaml").read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})
    for kind, actions in ASKED_OTHERWISE.items():
        policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
        cloud.client("iam").put_role_policy(
            RoleName=f"{kind}-nightshift-{STAGE}", PolicyName="emulator", PolicyDocument=json.dumps(policy)
        )


def credentials(cloud: Cloud, kind: str, subject: str) -> dict[str, str]:
    """Return what a workflow gets for its token."""
    claims = {"iss": f"https://{ISSUER}", "aud": "sts.amazonaws.com", "sub": f"repo:{REPOSITORY}:{subject}"}
    parts = (json.dumps(each).encode() for each in ({"alg": "none"}, claims, {}))
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    found: Any = cloud.client("sts").assume_role_with_web_identity(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{kind}-nightshift-{STAGE}",
        RoleSessionName="github",
        WebIdentityToken=token,
    )["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"],
    }


def run(cloud: Cloud, kind: str, *command: str) -> str:
    """Run a command as a role, and return what it printed."""
    subject = {"plan": "pull_request", "deploy": f"environment:{STAGE}"}[kind]
    done = cloud.run("nightshift", *command, "--stage", STAGE, **credentials(cloud, kind, subject))
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_role_does_its_part_from_the_first_plan_to_the_end(cloud: Cloud) -> None:
    assert f"function {name_of('work')}: create" in run(cloud, "plan", "deploy", "--plan")
    assert "✗" not in run(cloud, "deploy", "deploy")
    iam = cloud.client("iam")
    for function in FUNCTIONS:
        boundary = iam.get_role(RoleName=name_of(function))["Role"]["PermissionsBoundary"]
        assert "Boundary" in boundary["PermissionsBoundaryArn"]
    assert "these credentials may not ask the function operate" in run(cloud, "plan", "deploy", "--plan")
    run(cloud, "deploy", "destroy", "--yes")
