"""The policy for who deploys, as the page has it, held against every call that deploying makes."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import chalice
import pytest

from nightshift.deploy.policies import listed
from tests.iam.authorization import actions_like, exists, keys_of, may_be_one, resources_of
from tests.iam.calls import actions_of, calls_in, services_of
from tests.iam.deploying import policy
from tests.iam.test_calls import DEPLOYING, ROOT

STATEMENTS: list[dict[str, Any]] = policy()["Statement"]
# Characters of a managed policy, white space not counted.
MOST = 6144
CHALICE = Path(chalice.__file__).parent / "awsclient.py"
OUR_CALLS = calls_in(ROOT, DEPLOYING, services_of(DEPLOYING))
CHALICES_CALLS = calls_in(CHALICE.parent, [CHALICE], services_of([CHALICE]))

# What Chalice calls for what Nightshift has none of.
NOT_CAUSED = re.compile(
    r"apigatewayv2\..*"  # websockets and domains
    r"|apigateway\..*(BasePathMapping|DomainName)s?"
    r"|lambda\..*LayerVersion.*"
    r"|s3\..*BucketNotificationConfiguration"
)
# What CloudFormation's own tables name of a kind of resource for properties that our templates do not set.
NOT_SET = re.compile(
    r"(autoscaling|firehose|s3tables|vpc-lattice|vpce):.*"
    r"|iam:.*PermissionsBoundary"
    r"|s3:(DeleteObject|GetObject|PutObjectAcl)|s3:.*BucketMetadata.*"
)
TYPE = re.compile(r"^\s+Type: (AWS::\w+::\w+)$", re.MULTILINE)


@cache
def is_allowed(action: str, *, by_cloudformation: bool) -> bool:
    """Return whether a statement allows an action on something that it is done to."""
    kinds = list(resources_of(action).values())
    return any(
        resource == "*" or any(may_be_one(kind, resource) for kind in kinds)
        for resource in given(action, by_cloudformation=by_cloudformation)
    )


def given(action: str, *, by_cloudformation: bool) -> Iterator[str]:
    """Yield the resources on which statements allow an action."""
    for statement in STATEMENTS:
        is_indirect = "aws:CalledVia" in str(statement.get("Condition"))
        if (by_cloudformation or not is_indirect) and any(fnmatchcase(action, each) for each in statement["Action"]):
            yield from listed(statement["Resource"])


def asked_by_cloudformation() -> set[str]:
    """Return what is asked for when a resource of our templates is made, read, changed or deleted."""
    texts = [path.read_text() for path in sorted((ROOT / "infra").glob("*.yaml"))]
    types, found = {name for text in texts for name in TYPE.findall(text)}, set()
    folder = files("cfnlint") / "data" / "schemas"
    of_region = json.loads((folder / "providers" / "us-east-1.json").read_text())
    for name in sorted(types):
        handlers = json.loads((folder / "resources" / f"{of_region[name]}.json").read_text())["handlers"]
        found |= {each for step, handler in handlers.items() if step != "list" for each in handler["permissions"]}
    return found


def test_every_call_of_the_deployers_own_is_allowed() -> None:
    asked = {action for call in OUR_CALLS for action in actions_of(call.service, call.operation)}
    assert {action for action in asked if not is_allowed(action, by_cloudformation=False)} == set()


def test_every_call_of_chalices_is_allowed() -> None:
    caused = [call for call in CHALICES_CALLS if not NOT_CAUSED.fullmatch(call.name)]
    assert {call.service for call in caused} == {"apigateway", "events", "iam", "lambda", "logs", "sns"}
    asked = {action for call in caused for action in actions_of(call.service, call.operation)}
    assert {action for action in asked if not is_allowed(action, by_cloudformation=False)} == set()


def test_whatever_a_resource_of_the_templates_takes_is_allowed() -> None:
    asked = {action for action in asked_by_cloudformation() if not NOT_SET.fullmatch(action)}
    # CloudFormation's tables name some actions of S3 that IAM does not have.
    assert {action for action in asked if exists(action) and not is_allowed(action, by_cloudformation=True)} == set()


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda each: each["Sid"])
def test_a_statement_names_actions_resources_and_keys_that_iam_knows(statement: dict[str, Any]) -> None:
    meant = {pattern: actions_like(pattern) for pattern in statement["Action"]}
    assert [pattern for pattern, actions in meant.items() if not actions] == []
    kinds = {kind for actions in meant.values() for action in actions for kind in resources_of(action).values()}
    for resource in listed(statement["Resource"]):
        assert resource == "*" or any(may_be_one(kind, resource) for kind in kinds), resource
    keys = {key for keys in statement.get("Condition", {}).values() for key in keys}
    known = {key for actions in meant.values() for action in actions for key in keys_of(action)}
    assert keys <= known | {"aws:CalledVia"}


def test_it_fits_into_one_managed_policy() -> None:
    assert len("".join(json.dumps(policy()).split())) <= MOST


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", "arn:aws:s3:::nightshift-prod/backups/1"),
        ("s3:PutObject", "arn:aws:s3:::nightshift-prod/payloads/1"),
        ("s3:DeleteBucket", "arn:aws:s3:::another"),
        ("sqs:DeleteQueue", "arn:aws:sqs:eu-west-1:1:another"),
        ("iam:PutRolePolicy", "arn:aws:iam::1:role/admin"),
        ("kms:ScheduleKeyDeletion", "arn:aws:kms:eu-west-1:1:key/k"),
        ("ec2:DeleteVpc", "arn:aws:ec2:eu-west-1:1:vpc/v"),
        ("rds:DeleteDBInstance", "arn:aws:rds:eu-west-1:1:db:nightshift-prod-database"),
    ],
)
def test_what_is_not_a_stages_own_is_out_of_reach_but_through_cloudformation(action: str, resource: str) -> None:
    assert not any(each == "*" or may_be_one(each, resource) for each in given(action, by_cloudformation=False))
