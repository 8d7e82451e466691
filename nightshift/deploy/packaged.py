"""The functions as CloudFormation makes them: Chalice's template, with what it leaves out merged into it."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chalice.cli.factory import CLIFactory
from chalice.utils import to_cfn_resource_name

from nightshift.deploy import route, triggers
from nightshift.deploy.functions import ROUTES, name_of, repetitions
from nightshift.deploy.triggers import Trigger


def merge_file(stage: str) -> str:
    """Return what a stage's merge template is called in `.chalice`."""
    return f"merge-{stage}.json"


def write(project: Path, stage: str, folder: Path, *, function: str | None = None) -> None:
    """Write `sam.json` and `deployment.zip`, of which CloudFormation makes the functions, or one of them."""
    factory = CLIFactory(str(project), environ=os.environ)
    config = factory.create_config_obj(chalice_stage_name=stage)
    merge_template = str(project / ".chalice" / merge_file(stage))
    packager = factory.create_app_packager(
        config, factory.create_package_options(), "cloudformation", "json", merge_template
    )
    packager.package_app(config, str(folder), stage)
    if function:
        path = folder / "sam.json"
        template = json.loads(path.read_text(encoding="utf-8"))
        name = _resource_of(function)
        resources = {each: template["Resources"][each] for each in (name, f"{name}Role", f"{name}LogGroup")}
        path.write_text(json.dumps(template | {"Resources": resources, "Outputs": {}}, indent=2), encoding="utf-8")


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
        resources[_resource_of(function)] = {"DependsOn": [log_group], "Properties": found}
        if boundary:
            role = to_cfn_resource_name(f"{function}_role")
            resources[role] = {"Properties": {"PermissionsBoundary": boundary}}
    if has_routes:
        limits = {"ThrottlingRateLimit": route.RATE, "ThrottlingBurstLimit": route.CONCURRENCY}
        method = {"HttpMethod": "*", "ResourcePath": "/*", **limits}
        resources["RestAPI"] = {"Properties": {"MethodSettings": [method]}}
    return {"Resources": resources}


def _resource_of(function: str) -> str:
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
