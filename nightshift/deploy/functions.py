"""The functions as they are deployed: invoke them, and set what Chalice leaves out."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core import errors
from nightshift.deploy.refusal import refusal_of
from nightshift.project.stage import meant, stages_of
from nightshift.project.template import ROUTE_CONCURRENCY, ROUTE_RATE
from nightshift.project.triggers import ROUTES, name_of


def missing_repetitions(
    awslambda: Any, stage: str, by_function: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """Return those of `repetitions` that Lambda does not have yet."""
    return {
        function: wanted
        for function, wanted in by_function.items()
        if _repetition(awslambda, function, stage) != wanted
    }


def set_repetition(awslambda: Any, function: str, stage: str, repetition: Mapping[str, Any]) -> None:
    """Say how often Lambda repeats a failed event of a function, as `repetitions` has it."""
    awslambda.put_function_event_invoke_config(FunctionName=name_of(function, stage), **repetition)


def _repetition(awslambda: Any, function: str, stage: str) -> dict[str, Any]:
    try:
        found = awslambda.get_function_event_invoke_config(FunctionName=name_of(function, stage))
    except ClientError as error:
        if not is_absent(error):
            raise
        return {}
    names = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
    destination = found.get("DestinationConfig", {}).get("OnFailure")
    return {name: found[name] for name in names if name in found} | (
        {"DestinationConfig": {"OnFailure": destination}} if destination else {}
    )


def exists(awslambda: Any, name: str) -> bool:
    """Return whether there is a function of this name."""
    return describe(awslambda, name) is not None


def describe(awslambda: Any, name: str) -> dict[str, Any] | None:
    """Return the configuration of the function of this name, None where there is none."""
    try:
        found: dict[str, Any] = awslambda.get_function_configuration(FunctionName=name)
    except ClientError as error:
        if not is_absent(error):
            raise
        return None
    return found


def check_maker(awslambda: Any, stage: str) -> None:
    """Raise ValueError where CloudFormation made the functions of a stage: Chalice would take them from its stack."""
    name = name_of("operate", stage)
    if exists(awslambda, name) and (stack := stack_of(awslambda, name)):
        raise ValueError(
            f"CloudFormation made the functions, by its stack {stack}: use nightshift package, or delete it first; "
            "docs/deploy.md says how to change over"
        )


def stack_of(awslambda: Any, name: str) -> str | None:
    """Return the CloudFormation stack that made the function of this name, None where none did."""
    tags = awslambda.get_function(FunctionName=name).get("Tags", {})
    stack: str | None = tags.get("aws:cloudformation:stack-name")
    return stack


def update_code(awslambda: Any, name: str, package: bytes) -> None:
    """Give the function of this name the code of a package, and wait until it has it."""
    awslambda.update_function_code(FunctionName=name, ZipFile=package)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=name)


def invoke(awslambda: Any, function: str, stage: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Invoke a function of a stage and return its answer. Raises ValueError, with its own sentence, when it fails."""
    name = name_of(function, stage)
    try:
        answer = awslambda.invoke(FunctionName=name, Payload=json.dumps(request).encode())
    except (BotoCoreError, ClientError) as error:
        if is_absent(error):
            raise absent(awslambda, function, stage) from None
        raise ValueError(f"{name} cannot be invoked: {refusal_of(error)}") from error
    try:
        payload: dict[str, Any] = json.loads(answer["Payload"].read())
    except ValueError:
        raise ValueError(f"what answers for {name} is not Lambda: look at AWS_ENDPOINT_URL and at proxies") from None
    if "FunctionError" not in answer:
        return payload
    told = str(payload.get("errorMessage", payload))
    # What Nightshift names is a sentence by itself; of anything else it helps to know where it comes from.
    raise ValueError(told if hasattr(errors, str(payload.get("errorType"))) else f"{name} failed: {told}")


def find_log_group(logs: Any, name: str) -> dict[str, Any] | None:
    """Return the log group of exactly this name, None where there is none."""
    groups: list[dict[str, Any]] = logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return next((each for each in groups if each["logGroupName"] == name), None)


def is_absent(error: BotoCoreError | ClientError) -> bool:
    """Return whether AWS says that there is no such thing."""
    return isinstance(error, ClientError) and error.response["Error"].get("Code") == "ResourceNotFoundException"


def absent(awslambda: Any, function: str, stage: str) -> ValueError:
    """Return the error of a function that is not there, which says what to do."""
    where, close = awslambda.meta.region_name, meant(stage, stages_of(Path.cwd()))
    return ValueError(
        f"{name_of(function, stage)} is not deployed in {where}{close or f': nightshift deploy --stage {stage}'}"
    )


def limit_route(client: Callable[[str], Any], project: Path, stage: str) -> bool:
    """Limit how many requests the page takes, give its function a log, and return whether any of it was new."""
    from chalice.cli.factory import CLIFactory

    config = CLIFactory(str(project), environ=os.environ).create_config_obj(chalice_stage_name=stage)
    api = config.deployed_resources(stage).resource_values("rest_api")["rest_api_id"]
    is_limited = _limit(client("apigateway"), api, config.api_gateway_stage)
    # Chalice makes one for a function of another name.
    group = f"/aws/lambda/{name_of(ROUTES, stage)}"
    return _keep_log(client("logs"), group, config.log_retention_in_days) or is_limited


def _limit(gateway: Any, api: str, stage: str) -> bool:
    found = gateway.get_stage(restApiId=api, stageName=stage).get("methodSettings", {}).get("*/*", {})
    if (found.get("throttlingRateLimit"), found.get("throttlingBurstLimit")) == (ROUTE_RATE, ROUTE_CONCURRENCY):
        return False
    gateway.update_stage(
        restApiId=api,
        stageName=stage,
        patchOperations=[
            {"op": "replace", "path": f"/*/*/throttling/{limit}", "value": str(value)}
            for limit, value in {"rateLimit": ROUTE_RATE, "burstLimit": ROUTE_CONCURRENCY}.items()
        ],
    )
    return True


def _keep_log(logs: Any, group: str, days: int) -> bool:
    found = find_log_group(logs, group)
    if found is None:
        logs.create_log_group(logGroupName=group)
    elif found.get("retentionInDays") == days:
        return False
    logs.put_retention_policy(logGroupName=group, retentionInDays=days)
    return True
