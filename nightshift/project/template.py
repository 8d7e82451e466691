"""The functions as CloudFormation makes them: Chalice's template, with what it leaves out merged into it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chalice.utils import to_cfn_resource_name

from nightshift.project import triggers
from nightshift.project.triggers import ROUTES, Trigger, name_of, reporting

# Lambda's own defaults, made explicit: two repetitions, for as long as six hours.
RETRIES, MAX_AGE_SECONDS = 2, 6 * 3600
RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
# Requests to routes that are answered at once, each with a connection to the database, and those of a second.
ROUTE_CONCURRENCY, ROUTE_RATE = 10, 20


def repetitions(known: Sequence[Trigger], outputs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return by function how often Lambda repeats a failed event, and where it puts one given up."""
    repeated = {
        "MaximumRetryAttempts": RETRIES,
        "MaximumEventAgeInSeconds": MAX_AGE_SECONDS,
        "DestinationConfig": {"OnFailure": {"Destination": outputs["FailedFiresQueueArn"]}},
    }
    # What a fire of these misses the next one does.
    rates = {each.function: RATE.fullmatch(each.text) for each in known if each.kind == "expression"}
    at_a_rate = {
        function: {
            "MaximumRetryAttempts": 0,
            "MaximumEventAgeInSeconds": min(int(rate[1]) * SECONDS[rate[2]], MAX_AGE_SECONDS),
        }
        for function, rate in rates.items()
        if rate
    }
    return dict.fromkeys(reporting(known), repeated) | at_a_rate


def merge_file(stage: str) -> str:
    """Return what a stage's merge template is called in `.chalice`."""
    return f"merge-{stage}.json"


def merge_template(
    known: Sequence[Trigger], outputs: Mapping[str, str], stage: str, *, has_routes: bool = False
) -> dict[str, Any]:
    """Return what `chalice package --merge-template` adds, so that the template makes what `chalice deploy` does."""
    repeated, names = repetitions(known, outputs), [trigger.function for trigger in known]
    properties: dict[str, dict[str, Any]] = {name: {} for name in [*names, *([ROUTES] if has_routes else [])]}
    for function, found in properties.items():
        # Commands, policies and alarms know functions by their names.
        found["FunctionName"] = name_of(function, stage)
        if function in repeated:
            found["EventInvokeConfig"] = _as_in_a_template(repeated[function])
    for function in triggers.functions_of(known, "task", "expression"):
        properties[function]["Events"] = {
            f"{to_cfn_resource_name(function)}Event": {"Properties": {"Name": f"{name_of(function, stage)}-event"}}
        }
    for function in triggers.functions_of(known, "queue"):
        properties[function]["Events"] = {
            f"{to_cfn_resource_name(function)}SqsEventSource": {
                "Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
            }
        }
    resources: dict[str, Any] = {}
    boundary = outputs.get("PermissionsBoundaryArn")
    for function, found in properties.items():
        log_group = f"{to_cfn_resource_name(function)}LogGroup"
        resources[log_group] = _log_group(found["FunctionName"])
        # Lambda makes a group of its own when a function logs before there is one, and the stack would fail.
        resources[resource_of(function)] = {"DependsOn": [log_group], "Properties": found}
        if boundary:
            role = to_cfn_resource_name(f"{function}_role")
            resources[role] = {"Properties": {"PermissionsBoundary": boundary}}
    if has_routes:
        limits = {"ThrottlingRateLimit": ROUTE_RATE, "ThrottlingBurstLimit": ROUTE_CONCURRENCY}
        method = {"HttpMethod": "*", "ResourcePath": "/*", **limits}
        resources["RestAPI"] = {"Properties": {"MethodSettings": [method]}}
    return {"Resources": resources}


def resource_of(function: str) -> str:
    """Return the name of a function's resource in the template."""
    return "APIHandler" if function == ROUTES else to_cfn_resource_name(function)


def _log_group(function_name: str) -> dict[str, Any]:
    return {
        "Type": "AWS::Logs::LogGroup",
        # As with `nightshift destroy`, what was logged outlives the functions.
        "DeletionPolicy": "RetainExceptOnCreate",
        "UpdateReplacePolicy": "Retain",
        "Properties": {"LogGroupName": f"/aws/lambda/{function_name}"},
    }


def _as_in_a_template(repetition: Mapping[str, Any]) -> dict[str, Any]:
    if "DestinationConfig" not in repetition:
        return dict(repetition)
    destination = {"Type": "SQS", **repetition["DestinationConfig"]["OnFailure"]}
    return {**repetition, "DestinationConfig": {"OnFailure": destination}}
