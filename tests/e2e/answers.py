"""What AWS answers about a stage's functions, so that two ways of deploying can be compared."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from tests.e2e.cloud import STAGE, Cloud

# Both ways may differ in these alone.
DIFFERENT = {
    "Role": "CloudFormation makes up the names of roles, and only functions refer to them",
    "RoleArn": "as above",
    "UUID": "every trigger is another one",
    "EventSourceMappingArn": "as above",
    "SubscriptionArn": "as above",
    "Id": "a rule's target has a name that only the rule knows",
    "RevisionId": "counts changes",
    "Version": "as above",
    "LastModified": "when it was made",
    "CodeSha256": "CloudFormation takes the same package from a bucket",
    "CodeSize": "as above",
    "StartingPosition": "of streams, which a queue is not",
    "StateTransitionReason": "a sentence for people",
    "lambda:createdBy": "the tag that CloudFormation's transform gives",
    "ResponseMetadata": "of the call, not of what it asks after",
}
PREFIX = f"nightshift-{STAGE}"


def settings_of(answer: Any) -> Any:
    """Return an answer without what may differ, and without what is empty or left out; a pure function."""
    if isinstance(answer, Mapping):
        settings = {
            name: settings_of(value)
            for name, value in answer.items()
            if name not in DIFFERENT and not name.startswith("aws:cloudformation:")
        }
        return {name: value for name, value in settings.items() if value not in ("", [], {}, None)}
    return [settings_of(each) for each in answer] if isinstance(answer, list) else answer


def differences(one: Any, other: Any, *, at: str = "") -> list[str]:
    """Return where two descriptions differ, and in what; a pure function."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return [line for name in names for line in differences(one.get(name), other.get(name), at=f"{at}/{name}")]
    return [] if one == other else [f"{at}: {one} != {other}"]


def describe(cloud: Cloud) -> dict[str, Any]:
    """Return by kind and name what AWS has of the stage's functions, as `settings_of` each."""
    awslambda, events = cloud.client("lambda"), cloud.client("events")
    names = sorted(each["FunctionName"] for each in awslambda.list_functions()["Functions"])
    rules = {each["Name"]: each for each in events.list_rules()["Rules"]}
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{PREFIX}")["logGroups"]
    alarms = cloud.client("cloudwatch").describe_alarms(AlarmNamePrefix=PREFIX)["MetricAlarms"]
    subscriptions = cloud.client("sns").list_subscriptions()["Subscriptions"]
    found = {
        "functions": {name: _function(cloud, name) for name in names},
        "triggers": {name: awslambda.list_event_source_mappings(FunctionName=name) for name in names},
        "repetitions": {name: _repetitions(awslambda, name) for name in names},
        "concurrency": {name: awslambda.get_function_concurrency(FunctionName=name) for name in names},
        "rules": rules,
        "targets": {name: events.list_targets_by_rule(Rule=name)["Targets"] for name in rules},
        "retention": {each["logGroupName"]: each.get("retentionInDays") for each in groups},
        "alarms": sorted(each["AlarmName"] for each in alarms),
        "subscriptions": sorted((each["TopicArn"], each["Protocol"], each["Endpoint"]) for each in subscriptions),
    }
    described: dict[str, Any] = settings_of(found)
    return described


def _function(cloud: Cloud, name: str) -> dict[str, Any]:
    found = cloud.client("lambda").get_function(FunctionName=name)
    return {
        "configuration": found["Configuration"],
        "tags": found.get("Tags"),
        "callers": _callers(cloud, name),
        "policies": _policies(cloud, found["Configuration"]["Role"].rpartition("/")[2]),
    }


def _callers(cloud: Cloud, name: str) -> list[str]:
    awslambda = cloud.client("lambda")
    try:
        policy = json.loads(awslambda.get_policy(FunctionName=name)["Policy"])
    except awslambda.exceptions.ResourceNotFoundException:
        return []
    # Chalice repeats a statement of the same caller for each of its deployments.
    callers = [json.dumps([each["Principal"], each["Action"], each.get("Condition")]) for each in policy["Statement"]]
    return sorted(set(callers))


def _policies(cloud: Cloud, role: str) -> list[Any]:
    iam = cloud.client("iam")
    inline = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in inline]
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return [documents, attached, iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]]


def _repetitions(awslambda: Any, name: str) -> dict[str, Any] | None:
    # AWS takes these two for the same; the emulator does when it invokes, not when it is asked.
    for qualifier in ({}, {"Qualifier": "$LATEST"}):
        with suppress(awslambda.exceptions.ResourceNotFoundException):
            answer = awslambda.get_function_event_invoke_config(FunctionName=name, **qualifier)
            return {each: value for each, value in answer.items() if each != "FunctionArn"}
    return None
