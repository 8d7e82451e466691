"""The functions: Chalice's own deploy, with what it leaves out set in its calls or right after them."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from chalice.awsclient import TypedAWSClient
from chalice.cli.factory import CLIFactory
from chalice.config import Config
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.deployer import (
    ChaliceDeploymentError,
    Deployer,
    NoopResultsRecorder,
    ResultsRecorder,
    create_build_stage,
)
from chalice.deploy.executor import Executor
from chalice.deploy.models import Application
from chalice.deploy.planner import PlanStage, RemoteState
from chalice.deploy.swagger import TemplatedSwaggerGenerator
from chalice.deploy.sweeper import ResourceSweeper
from chalice.utils import UI, OSUtils, to_cfn_resource_name

from chalicelib import errors
from nightshift import triggers
from nightshift.deploy.package import talk
from nightshift.deploy.refusal import refusal_of
from nightshift.stages import meant, stages_of
from nightshift.triggers import Trigger

# Lambda's own defaults, made explicit: two repetitions, for as long as six hours.
RETRIES, MAX_AGE_SECONDS = 2, 6 * 3600
RATE = re.compile(r"rate\((\d+) (minute|hour)s?\)")
SECONDS = {"minute": 60, "hour": 3600}
# Chalice's name for the one function that serves every route.
ROUTES = "api_handler"


def deploy(project: Path, stage: str) -> None:
    """Run Chalice's deploy of this stage. Raises ValueError with Chalice's own explanation."""
    factory = CLIFactory(str(project), environ=os.environ)
    session = factory.create_botocore_session()
    session.register("before-parameter-build.lambda.CreateEventSourceMapping", _report_partial_failures)
    config = factory.create_config_obj(chalice_stage_name=stage)
    _run(factory.create_default_deployer(session, config, talk()), config, stage)


class _OneFunction(ApplicationGraphBuilder):
    """Chalice's list of what an application is made of, cut down to one function."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self._function = function

    def build(self, config: Config, stage_name: str) -> Application:
        """Return it."""
        application = super().build(config, stage_name)
        application.resources = [
            each for each in application.resources if getattr(each, "resource_name", None) == self._function
        ]
        return application


class _NoSweeper(ResourceSweeper):
    """Deletes nothing: what is not in the plan is there to stay."""

    def execute(self, plan: Any, config: Any) -> None:
        """Do nothing."""


def deploy_one(project: Path, stage: str, function: str) -> None:
    """Deploy a function that nothing triggers as `deploy` would, and nothing else. Raises ValueError as that does."""
    factory = CLIFactory(str(project), environ=os.environ)
    config = factory.create_config_obj(chalice_stage_name=stage)
    client, osutils = TypedAWSClient(factory.create_botocore_session()), OSUtils()
    known = config.deployed_resources(stage)
    # Where more than this is recorded, this alone would be less than there is.
    recorder = NoopResultsRecorder if known.resource_names() else ResultsRecorder
    deployer = Deployer(
        application_builder=_OneFunction(function),
        deps_builder=DependencyBuilder(),
        build_stage=create_build_stage(osutils, UI(), TemplatedSwaggerGenerator(), config),
        plan_stage=PlanStage(osutils=osutils, remote_state=RemoteState(client, known)),
        sweeper=_NoSweeper(),
        executor=Executor(client, talk()),
        recorder=recorder(osutils=osutils),
    )
    _run(deployer, config, stage)


def _run(deployer: Deployer, config: Config, stage: str) -> None:
    try:
        deployer.deploy(config, chalice_stage_name=stage)
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
    deployer = factory.create_deletion_deployer(session=factory.create_botocore_session(), ui=talk())
    deployer.deploy(config, chalice_stage_name=stage)


def reporting(known: Sequence[Trigger]) -> list[str]:
    """Return the functions that report runs by their own names, and whose failed events must not get lost.

    Those are the tasks, and what a topic calls: Lambda repeats it as a schedule's fire.
    """
    return triggers.functions_of(known, "task", "topic")


def repetitions(known: Sequence[Trigger], outputs: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return by function how often Lambda repeats a failed event, and where it puts one given up."""
    repeated = {
        "MaximumRetryAttempts": RETRIES,
        "MaximumEventAgeInSeconds": MAX_AGE_SECONDS,
        "DestinationConfig": {"OnFailure": {"Destination": outputs["FailedFiresQueueArn"]}},
    }
    # What a fire of these misses the next one does.
    rates = {each.function: RATE.fullmatch(each.text) for each in known if each.kind == "rate"}
    at_a_rate = {
        function: {
            "MaximumRetryAttempts": 0,
            "MaximumEventAgeInSeconds": min(int(rate[1]) * SECONDS[rate[2]], MAX_AGE_SECONDS),
        }
        for function, rate in rates.items()
        if rate
    }
    return dict.fromkeys(reporting(known), repeated) | at_a_rate


def set_repetitions(awslambda: Any, stage: str, by_function: Mapping[str, Mapping[str, Any]]) -> None:
    """Say for each function how often Lambda repeats a failed event, as `repetitions` has it."""
    for function, repetition in by_function.items():
        awslambda.put_function_event_invoke_config(FunctionName=name_of(function, stage), **repetition)


def merge_template(known: Sequence[Trigger], outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return what `chalice package --merge-template` adds, for a pipeline that deploys with CloudFormation."""
    scheduled = {
        to_cfn_resource_name(name): {"Properties": {"EventInvokeConfig": _as_in_a_template(repetition)}}
        for name, repetition in repetitions(known, outputs).items()
    }
    trigger = {"Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}}
    workers = {
        to_cfn_resource_name(name): {"Properties": {"Events": {f"{to_cfn_resource_name(name)}SqsEventSource": trigger}}}
        for name in triggers.functions_of(known, "queue")
    }
    return {"Resources": scheduled | workers}


def _as_in_a_template(repetition: Mapping[str, Any]) -> dict[str, Any]:
    if "DestinationConfig" not in repetition:
        return dict(repetition)
    destination = {"Type": "SQS", **repetition["DestinationConfig"]["OnFailure"]}
    return {**repetition, "DestinationConfig": {"OnFailure": destination}}


def exists(awslambda: Any, name: str) -> bool:
    """Return whether there is a function of this name."""
    try:
        awslambda.get_function(FunctionName=name)
    except ClientError as error:
        if not is_absent(error):
            raise
        return False
    return True


def name_of(function: str, stage: str) -> str:
    """Return the name under which Chalice deploys a function; what serves routes has the application's own."""
    return f"nightshift-{stage}" if function == ROUTES else f"nightshift-{stage}-{function}"


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


def is_absent(error: BotoCoreError | ClientError) -> bool:
    """Return whether AWS says that there is no such thing."""
    return isinstance(error, ClientError) and error.response["Error"].get("Code") == "ResourceNotFoundException"


def absent(awslambda: Any, function: str, stage: str) -> ValueError:
    """Return the error of a function that is not there, which says what to do."""
    where, close = awslambda.meta.region_name, meant(stage, stages_of(Path.cwd()))
    return ValueError(
        f"{name_of(function, stage)} is not deployed in {where}{close or f': nightshift deploy --stage {stage}'}"
    )
