"""Chalice's own deploy and delete, on what AWS has instead of what this clone remembers."""

import os
from io import StringIO
from pathlib import Path
from typing import Any

from botocore.session import Session
from chalice.cli.factory import CLIFactory
from chalice.config import Config
from chalice.deploy.appgraph import ApplicationGraphBuilder, DependencyBuilder
from chalice.deploy.deployer import (
    ChaliceDeploymentError,
    Deployer,
    NoopResultsRecorder,
    ResultsRecorder,
    create_build_stage,
    create_deletion_deployer,
)
from chalice.deploy.executor import Executor
from chalice.deploy.models import Application
from chalice.deploy.planner import PlanStage, RemoteState
from chalice.deploy.swagger import TemplatedSwaggerGenerator
from chalice.deploy.sweeper import ResourceSweeper
from chalice.utils import UI, OSUtils

from nightshift.deploy import record
from nightshift.deploy.changes import PARTIAL_FAILURES, ChangingClient
from nightshift.deploy.package import talk
from nightshift.deploy.record import Resource
from nightshift.project.triggers import ROUTES, name_of


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


def deploy(
    project: Path,
    stage: str,
    resources: list[Resource],
    *,
    is_plan: bool,
    boundary: str | None = None,
    only: str | None = None,
) -> dict[str, list[str]]:
    """Run Chalice's deploy of this stage; return by function what was changed, or in a plan would be.

    `resources` are those that are there; `boundary` is the permissions boundary of the functions' roles; `only` is a
    function that nothing triggers, and then the others stay as they are.
    Raises ValueError with Chalice's own explanation.
    """
    record.update(project, stage, resources)
    factory = CLIFactory(str(project), environ=os.environ)
    session = factory.create_botocore_session()
    session.register("before-parameter-build.lambda.CreateEventSourceMapping", _report_partial_failures)
    if boundary:
        bound_roles(session, boundary)
    config = factory.create_config_obj(chalice_stage_name=stage)
    client, system = _client(session, stage, is_plan=is_plan), OSUtils()
    state = RemoteState(client, config.deployed_resources(stage))
    deployer = Deployer(
        application_builder=_OneFunction(only) if only else ApplicationGraphBuilder(),
        deps_builder=DependencyBuilder(),
        build_stage=create_build_stage(system, talk(), TemplatedSwaggerGenerator(), config),
        plan_stage=PlanStage(osutils=system, remote_state=state),
        sweeper=_NoSweeper() if only else ResourceSweeper(),
        executor=Executor(client, UI(out=StringIO())),
        recorder=NoopResultsRecorder(system) if is_plan or only else ResultsRecorder(system),
    )
    _run(deployer, config, stage)
    return client.changes


def _client(session: Session, stage: str, *, is_plan: bool) -> ChangingClient:
    tell = UI(out=StringIO()) if is_plan else talk()
    return ChangingClient(session, name_of_routes=name_of(ROUTES, stage), is_plan=is_plan, tell=tell.write)


def _run(deployer: Deployer, config: Config, stage: str) -> None:
    try:
        deployer.deploy(config, chalice_stage_name=stage)
    except ChaliceDeploymentError as error:
        raise ValueError(f"Chalice was refused: {' '.join(str(error).split())}") from error


def bound_roles(session: Session, boundary: str) -> None:
    """Have each role that is created or gets a policy have the boundary first."""
    iam: Any = session.create_client("iam")

    def create(**call: Any) -> None:
        call["params"]["PermissionsBoundary"] = boundary

    def put_policy(**call: Any) -> None:
        # A role that was created before there was a boundary has none yet.
        iam.put_role_permissions_boundary(RoleName=call["params"]["RoleName"], PermissionsBoundary=boundary)

    session.register("before-parameter-build.iam.CreateRole", create)
    session.register("before-parameter-build.iam.PutRolePolicy", put_policy)


def _report_partial_failures(**call: Any) -> None:
    params = call["params"]
    # In the create call itself: between a create and an update, a batch could be taken without it.
    if ":sqs:" in params["EventSourceArn"]:
        params["FunctionResponseTypes"] = PARTIAL_FAILURES


def delete(project: Path, stage: str, resources: list[Resource]) -> None:
    """Run Chalice's delete of what is there of this stage. Raises ValueError with Chalice's own explanation."""
    record.update(project, stage, resources)
    factory = CLIFactory(str(project), environ=os.environ)
    config = factory.create_config_obj(chalice_stage_name=stage)
    client = _client(factory.create_botocore_session(), stage, is_plan=False)
    _run(create_deletion_deployer(client, UI(out=StringIO())), config, stage)
