"""The functions: Chalice's own deploy, with what it leaves out set in its calls or right after them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from chalice.cli.factory import CLIFactory
from chalice.deploy.deployer import ChaliceDeploymentError
from chalice.utils import UI, to_cfn_resource_name

# Lambda's own defaults, made explicit: two repetitions, for as long as six hours.
RETRIES, MAX_AGE_SECONDS = 2, 6 * 3600
WORKERS = ("work", "work_priority")
SCHEDULED = (
    "daily_digest",
    "record_activity",
    "database_cleanup",
    "monthly_report",
    "cache_warming",
    "external_sync",
    # By a topic, and repeated by Lambda as a schedule's fire is.
    "mail_feedback",
)
# What a fire of dispatch misses the next one does, a minute later.
EVERY_MINUTE = {"dispatch": {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}}


def deploy(project: Path, stage: str) -> None:
    """Run Chalice's deploy of this stage. Raises ValueError with Chalice's own explanation."""
    factory = CLIFactory(str(project), environ=os.environ)
    session = factory.create_botocore_session()
    session.register("before-parameter-build.lambda.CreateEventSourceMapping", _report_partial_failures)
    config = factory.create_config_obj(chalice_stage_name=stage)
    try:
        factory.create_default_deployer(session, config, UI()).deploy(config, chalice_stage_name=stage)
    except ChaliceDeploymentError as error:
        raise ValueError(f"Chalice could not deploy: {' '.join(str(error).split())}") from error


def _report_partial_failures(**call: Any) -> None:
    params = call["params"]
    # In the create call itself: between a create and an update, a batch could be taken without it.
    if ":sqs:" in params["EventSourceArn"]:
        params["FunctionResponseTypes"] = ["ReportBatchItemFailures"]


def delete(project: Path, stage: str) -> None:
    """Run Chalice's delete of this stage."""
    factory = CLIFactory(str(project), environ=os.environ)
    config = factory.create_config_obj(chalice_stage_name=stage)
    deployer = factory.create_deletion_deployer(session=factory.create_botocore_session(), ui=UI())
    deployer.deploy(config, chalice_stage_name=stage)


def set_failure_destinations(awslambda: Any, stage: str, outputs: Mapping[str, str]) -> None:
    """Say for each scheduled function how often Lambda repeats a failed fire, and where it puts one given up."""
    for task in SCHEDULED:
        awslambda.put_function_event_invoke_config(
            FunctionName=name_of(task, stage),
            MaximumRetryAttempts=RETRIES,
            MaximumEventAgeInSeconds=MAX_AGE_SECONDS,
            DestinationConfig={"OnFailure": {"Destination": outputs["FailedFiresQueueArn"]}},
        )
    for function, repetition in EVERY_MINUTE.items():
        awslambda.put_function_event_invoke_config(FunctionName=name_of(function, stage), **repetition)


def merge_template(outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what `chalice package --merge-template` adds, for a pipeline that deploys with CloudFormation."""
    destination = {"OnFailure": {"Type": "SQS", "Destination": outputs["FailedFiresQueueArn"]}}
    repeated = {
        "MaximumRetryAttempts": RETRIES,
        "MaximumEventAgeInSeconds": MAX_AGE_SECONDS,
        "DestinationConfig": destination,
    }
    scheduled = {
        to_cfn_resource_name(name): {"Properties": {"EventInvokeConfig": repetition}}
        for name, repetition in (dict.fromkeys(SCHEDULED, repeated) | EVERY_MINUTE).items()
    }
    trigger = {"Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}}
    workers = {
        to_cfn_resource_name(name): {"Properties": {"Events": {f"{to_cfn_resource_name(name)}SqsEventSource": trigger}}}
        for name in WORKERS
    }
    return {"Resources": scheduled | workers}


def exists(awslambda: Any, name: str) -> bool:
    """Return whether there is a function of this name."""
    try:
        awslambda.get_function(FunctionName=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return False
    return True


def name_of(function: str, stage: str) -> str:
    """Return the name under which Chalice deploys a function."""
    return f"nightshift-{stage}-{function}"


def invoke(awslambda: Any, function: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Invoke a function and return its answer. Raises ValueError, with its own sentence, when it fails."""
    try:
        answer = awslambda.invoke(FunctionName=function, Payload=json.dumps(request).encode())
    except (BotoCoreError, ClientError) as error:
        raise ValueError(f"{function} cannot be invoked: {error}") from error
    payload: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise ValueError(f"{function} failed: {payload.get('errorMessage', payload)}")
    return payload
