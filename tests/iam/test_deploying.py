"""The policies of who deploys, held against every call that deploying makes: each is allowed, and nothing else is."""

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

from nightshift.deploy import stacks
from nightshift.project.policies import listed
from tests.iam.authorization import actions_like, exists, is_read, keys_of, may_be_one, resources_of
from tests.iam.calls import actions_of, calls_in, services_of
from tests.iam.deploying import BOUNDARY, policies, resources
from tests.iam.test_calls import DEPLOYING, ROOT

POLICIES = policies()
ROLES = resources()
STATEMENTS = [statement for name, statements in POLICIES.items() if name != "Boundary" for statement in statements]
INDIRECT = [each for each in STATEMENTS if "aws:CalledVia" in str(each) or each in POLICIES["NetworkPolicy"]]
DIRECT = [each for each in STATEMENTS if each not in INDIRECT]
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
# What is asked for and no call names.
BESIDES = {
    "cloudformation:TagResource": "Each stack has tags.",
    "cloudformation:CreateChangeSet": "CloudFormation asks for it on each transform of a template.",
    # The AWS CLI's `cloudformation deploy`, for those whose pipeline makes the functions of what `package` writes.
    "cloudformation:DescribeChangeSet": "cloudformation deploy",
    "cloudformation:ExecuteChangeSet": "cloudformation deploy",
    "cloudformation:GetTemplateSummary": "cloudformation deploy",
    "s3:ListBucket": "Without it S3 says of a lock that is not there that it is forbidden.",
}
# The types of the template that `package` writes; those of infra/ are read from there.
PACKAGED = {
    "AWS::ApiGateway::Deployment",
    "AWS::ApiGateway::RestApi",
    "AWS::ApiGateway::Stage",
    "AWS::Events::Rule",
    "AWS::IAM::Role",
    "AWS::Lambda::EventInvokeConfig",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Function",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogGroup",
    "AWS::SNS::Subscription",
}
# What CloudFormation's own tables name of a kind of resource for properties that our templates do not set.
NOT_SET = re.compile(
    r"(autoscaling|elasticfilesystem|firehose|s3files|s3tables|vpc-lattice|vpce):.*"
    r"|apigateway:UpdateRestApiPolicy"
    r"|ec2:(AcceptAddressTransfer|CreateVpcEncryptionControl|ModifyVpcTenancy|(Attach|Detach)VpnGateway)"
    r"|ec2:.*(PrivateNatGatewayAddress|SubnetCidrBlock|ssociateNatGatewayAddress)"
    r"|elasticache:(.*ReplicaCount|CreateSnapshot|ModifyReplicationGroupShardConfiguration)"
    r"|iam:((Attach|Detach)RolePolicy|DeleteRolePermissionsBoundary)"
    r"|lambda:(AssociateRuntimeAlias|GetCodeSigningConfig|GetLayerVersion|PassCapacityProvider|PublishVersion)"
    r"|lambda:(Delete|Put)(FunctionCodeSigning|FunctionRecursion|FunctionScaling|RuntimeManagement)Config"
    r"|logs:((Delete|Put)(DataProtection|Index)Policy|PutBearerTokenAuthentication|PutLogGroupDeletionProtection)"
    r"|logs:(Associate|Disassociate)KmsKey"
    r"|rds:((Add|Remove)RoleToDBInstance|RemoveRoleFromDBInstance|CreateDBInstanceReadReplica|PromoteReadReplica)"
    r"|rds:(RestoreDBInstance.*|.*AutomatedBackupsReplication)"
    r"|s3:(DeleteObject|GetObject.*|PutObjectAcl|.*BucketMetadata.*)"
    r"|s3:Put(Accelerate|Analytics|IntelligentTiering|Inventory|Metrics|Replication)Configuration"
    r"|s3:(Delete|Put)Bucket(Abac|Acl|CORS|Logging|Notification|Website)"
    r"|secretsmanager:(RemoveRegionsFromReplication|ReplicateSecretToRegions)"
    r"|sns:PutDataProtectionPolicy"
)
TYPE = re.compile(r"^\s+Type: (AWS::\w+::\w+)$", re.MULTILINE)
# What reads more than how a stage is set up: data, or a log.
DATA = {"logs:FilterLogEvents", "s3:GetObject", "s3:ListBucket"}


@cache
def is_allowed(action: str, *, by_cloudformation: bool) -> bool:
    """Return whether a statement allows an action on something that it is done to."""
    return any(is_done_to(action, resource) for resource in given(action, by_cloudformation=by_cloudformation))


def is_done_to(action: str, resource: str) -> bool:
    return resource == "*" or any(may_be_one(kind, resource) for kind in resources_of(action).values())


def given(action: str, *, by_cloudformation: bool) -> Iterator[str]:
    """Yield the resources on which statements allow an action."""
    for statement in [*DIRECT, *(INDIRECT if by_cloudformation else [])]:
        if any(fnmatchcase(action, each) for each in listed(statement["Action"])):
            yield from listed(statement["Resource"])


def asked_of_us() -> set[str]:
    """Return what our calls and Chalice's ask for."""
    calls = [*OUR_CALLS, *(call for call in CHALICES_CALLS if not NOT_CAUSED.fullmatch(call.name))]
    asked = {action for call in calls for action in actions_of(call.service, call.operation)}
    operations = {"".join(word.title() for word in name.split("_")) for name in stacks.SUCCESSES}
    return asked | {f"cloudformation:{operation}" for operation in operations} | BESIDES.keys()


def asked_of_cloudformation() -> set[str]:
    """Return what is asked for when a resource of a stage's templates is made, read, changed or deleted."""
    texts = [path.read_text() for path in (ROOT / "infra").glob("*.yaml") if path.stem != "deploy-role"]
    types, found = {name for text in texts for name in TYPE.findall(text)} | PACKAGED, set()
    folder = files("cfnlint") / "data" / "schemas"
    of_region = json.loads((folder / "providers" / "us-east-1.json").read_text())
    for name in sorted(types):
        handlers = json.loads((folder / "resources" / f"{of_region[name]}.json").read_text())["handlers"]
        found |= {each for step, handler in handlers.items() if step != "list" for each in handler["permissions"]}
    # CloudFormation's tables name some actions of S3 that IAM does not have.
    return {action for action in found if exists(action) and not NOT_SET.fullmatch(action)}


def allowed_by(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in listed(statement["Action"])}


def test_every_call_of_the_deployers_and_chalices_is_allowed() -> None:
    assert {action for action in asked_of_us() if not is_allowed(action, by_cloudformation=False)} == set()


def test_whatever_a_resource_of_the_templates_takes_is_allowed() -> None:
    assert {action for action in asked_of_cloudformation() if not is_allowed(action, by_cloudformation=True)} == set()


def test_nothing_is_allowed_that_no_call_asks_for() -> None:
    assert allowed_by(DIRECT) - asked_of_us() == set()
    assert allowed_by(INDIRECT) - asked_of_cloudformation() == set()
    assert not [action for action in allowed_by(DIRECT + INDIRECT) if "*" in action]


def test_what_only_cloudformation_calls_is_allowed_through_it_alone() -> None:
    alone = {"ForAnyValue:StringEquals": {"aws:CalledVia": "cloudformation.amazonaws.com"}}
    others = [statement["Sid"] for statement in INDIRECT if statement["Condition"] != alone]
    # It has a condition of its own: on the service whose role it is.
    assert others == ["FirstDatabaseAndCacheOfAnAccount"]
    assert allowed_by(DIRECT) & allowed_by(INDIRECT) == set()


def test_a_plan_reads_what_a_deployment_reads_and_no_data() -> None:
    reads = {action for action in asked_of_us() - DATA if is_read(action)}
    assert allowed_by(POLICIES["ReadPolicy"]) == reads
    assert ROLES["PlanRole"]["ManagedPolicyArns"] == ["ReadPolicy"]


def test_a_stage_without_network_and_database_changes_neither() -> None:
    assert "NetworkPolicy" not in policies(NetworkAndDatabase="no")
    assert ROLES["DeployRole"]["ManagedPolicyArns"] == ["ReadPolicy", "DeployPolicy", "StacksPolicy", "NetworkPolicy"]


def sid_of(each: str | dict[str, Any]) -> str:
    return each if isinstance(each, str) else str(each["Sid"])


EVERY_STATEMENT = [(name, statement) for name, statements in POLICIES.items() for statement in statements]


@pytest.mark.parametrize(("policy", "statement"), EVERY_STATEMENT, ids=sid_of)
def test_a_statement_names_actions_resources_and_keys_that_iam_knows(policy: str, statement: dict[str, Any]) -> None:
    meant = {pattern: actions_like(pattern) for pattern in listed(statement["Action"])}
    assert [pattern for pattern, actions in meant.items() if not actions] == []
    of_each = [action for actions in meant.values() for action in actions]
    for resource in listed(statement["Resource"]):
        assert any(is_done_to(action, resource) for action in of_each), resource
    for pattern, actions in meant.items():
        done_to = listed(statement["Resource"])
        assert any(is_done_to(action, resource) for action in actions for resource in done_to), pattern
    keys = {key for keys in statement.get("Condition", {}).values() for key in keys}
    assert keys <= {key for action in of_each for key in keys_of(action)} | {"aws:CalledVia"}


@pytest.mark.parametrize("name", POLICIES)
def test_each_fits_into_one_managed_policy(name: str) -> None:
    # With the longest name of a stage, and of a region.
    statements = policies(**{"Stage": "a" * 16, "AWS::Region": "ap-southeast-1"})[name]
    assert len(json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))) <= MOST


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:GetObject", "arn:aws:s3:::nightshift-prod/backups/1"),
        ("s3:PutObject", "arn:aws:s3:::nightshift-prod/payloads/1"),
        ("s3:DeleteBucket", "arn:aws:s3:::nightshift-prod-1"),
        ("sqs:DeleteQueue", "arn:aws:sqs:eu-west-1:1:another"),
        ("lambda:UpdateFunctionCode", "arn:aws:lambda:eu-west-1:1:function:nightshift-dev-work"),
        ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-west-1:1:secret:nightshift-prod-database"),
        ("iam:PutRolePolicy", "arn:aws:iam::1:role/admin"),
        ("iam:PutRolePolicy", "arn:aws:iam::123456789012:role/deploy-nightshift-prod"),
        ("iam:CreatePolicyVersion", BOUNDARY),
        ("iam:DeleteRolePermissionsBoundary", "arn:aws:iam::123456789012:role/nightshift-prod-work"),
        (
            "cloudformation:UpdateStack",
            "arn:aws:cloudformation:eu-central-1:123456789012:stack/deploy-nightshift-prod/1",
        ),
        ("kms:ScheduleKeyDeletion", "arn:aws:kms:eu-west-1:1:key/k"),
        ("ec2:DeleteVpc", "arn:aws:ec2:eu-west-1:1:vpc/v"),
        ("rds:DeleteDBInstance", "arn:aws:rds:eu-west-1:1:db:nightshift-prod-database"),
    ],
)
def test_what_is_not_a_stages_own_is_out_of_reach_but_through_cloudformation(action: str, resource: str) -> None:
    assert not any(each == "*" or may_be_one(each, resource) for each in given(action, by_cloudformation=False))


def test_a_role_is_created_and_given_rights_only_within_the_boundary() -> None:
    by_action = {action: statement for statement in DIRECT for action in listed(statement["Action"])}
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary"):
        assert by_action[action]["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": BOUNDARY}}


@pytest.mark.parametrize(
    ("role", "repository", "subject"),
    [
        ("DeployRole", "owner/application", "repo:owner/application:environment:prod"),
        ("PlanRole", "owner/application", "repo:owner/application:pull_request"),
        ("DeployRole", "owner@1/application@2", "repo:owner@1/application@2:environment:prod"),
    ],
)
def test_a_role_trusts_this_repository_alone_and_in_its_environment(role: str, repository: str, subject: str) -> None:
    (trust,) = resources(Repository=repository)[role]["AssumeRolePolicyDocument"]["Statement"]
    issuer = "token.actions.githubusercontent.com"
    assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert trust["Condition"] == {"StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": subject}}


def test_an_account_that_has_githubs_provider_gets_no_second_one() -> None:
    arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    there = resources(OidcProviderArn=arn)
    assert "GitHub" in ROLES
    assert "GitHub" not in there
    (trust,) = there["DeployRole"]["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Federated": arn}


def test_without_a_repository_there_are_policies_for_people_and_no_roles() -> None:
    found = resources(Repository="")
    assert found.keys() == POLICIES.keys()
