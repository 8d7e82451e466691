"""The boundary of the roles that deploying creates covers what each of them may do, and nothing else."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from nightshift.project.policies import listed
from tests.iam.deploying import policies
from tests.iam.test_authorization import TEMPLATES, permissions, rendered
from tests.infra.templates import the, worked_out
from tests.project.test_configuration import DEV

# A fixture of that module.
__all__ = ["rendered"]

Statements = list[dict[str, Any]]
HERE = {"Stage": DEV.stage, "AWS::Region": DEV.region, "AWS::AccountId": DEV.account}
BOUNDARY = policies(**HERE)["Boundary"]
TRAFFIC = f"arn:aws:logs:{DEV.region}:{DEV.account}:log-group:nightshift-dev-refused-traffic:*"


def permitted() -> Iterator[tuple[str, str]]:
    for statement in BOUNDARY:
        yield from ((action, each) for action in listed(statement["Action"]) for each in listed(statement["Resource"]))


def is_within(action: str, resource: str) -> bool:
    """Return whether the boundary allows an action on whatever a resource of a policy means."""
    # The fixture's bucket, and its secrets' names, are shorter than a deployment's.
    resource = resource.replace("arn:aws:s3:::nightshift-dev", "arn:aws:s3:::nightshift-dev-1")
    return any(
        fnmatchcase(action, allowed) and (each == "*" or fnmatchcase(resource, each)) for allowed, each in permitted()
    )


def of_stacks() -> Statements:
    """Return the statements of the roles that the stacks network and exports have."""
    (exports,) = worked_out(the("ExportRole")["Properties"]["Policies"], {"BucketArn": "arn:aws:s3:::nightshift-dev"})
    (traffic,) = the("RefusedTrafficRole")["Properties"]["Policies"]
    found: Statements = exports["PolicyDocument"]["Statement"]
    return [*found, *({**each, "Resource": TRAFFIC} for each in traffic["PolicyDocument"]["Statement"])]


def given(rendered: dict[str, Statements]) -> list[tuple[str, str]]:
    return list(permissions([*of_stacks(), *(each for found in rendered.values() for each in found)]))


@pytest.mark.parametrize("function", TEMPLATES)
def test_the_boundary_covers_each_functions_policy(rendered: dict[str, Statements], function: str) -> None:
    # Add what is missing to the boundary in infra/deploy-role.yaml, or the function is denied it.
    assert [each for each in permissions(rendered[function]) if not is_within(*each)] == []


def test_the_boundary_covers_the_roles_of_the_stacks() -> None:
    assert [each for each in permissions(of_stacks()) if not is_within(*each)] == []


def test_the_boundary_allows_nothing_that_no_role_has(rendered: dict[str, Statements]) -> None:
    used = {action for action, _ in given(rendered)}
    assert [action for action, _ in permitted() if action not in used] == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("iam:PassRole", "arn:aws:iam::123456789012:role/admin"),
        ("s3:GetObject", "arn:aws:s3:::another/backups/1"),
        ("s3:GetObject", "arn:aws:s3:::nightshift-prod-1/backups/1"),
        ("lambda:UpdateFunctionCode", "arn:aws:lambda:eu-west-1:123456789012:function:nightshift-dev-work"),
        ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-west-1:210987654321:secret:nightshift-dev"),
    ],
)
def test_the_boundary_leaves_out_what_is_not_the_stages_own(action: str, resource: str) -> None:
    assert not is_within(action, resource)


@pytest.mark.parametrize("role", ["ExportRole", "RefusedTrafficRole"])
def test_a_role_of_a_stack_has_the_boundary_where_there_is_one(role: str) -> None:
    boundary = the(role)["Properties"]["PermissionsBoundary"]
    assert boundary["Fn::If"][:2] == ["HasBoundary", {"Ref": "PermissionsBoundaryArn"}]
