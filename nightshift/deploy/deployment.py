"""Deploying, planning and destroying a stage, in the one order that works."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightshift import triggers
from nightshift.deploy import configuration, functions, login, package, route, stacks, watched
from nightshift.deploy.configuration import Place
from nightshift.deploy.refusal import advice_on
from nightshift.deploy.stacks import Stack
from nightshift.deploy.stage import CONCERNS, WATCHING, Stage
from nightshift.deploy.templates import parameters_of

# What holds data that nobody could bring back. Their templates retain it too.
KEPT = frozenset({"storage", "secrets", "data"})


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A stage of a project, and the account that it lives in."""

    project: Path
    stage: Stage
    place: Place
    client: Callable[[str], Any]
    # A client of Lambda that asks once, however long it takes.
    invoker: Callable[[], Any]

    def deploy(self) -> Iterator[str]:
        """Bring everything to what the project says, and tell each step. Raises ValueError with a sentence."""
        cloudformation = self.client("cloudformation")
        outputs: dict[str, str] = {}
        concerns = self._concerns()
        for concern in concerns:
            if concern not in WATCHING:
                yield self._deploy_stack(cloudformation, concern, outputs)
        configuration.write(self.project, self.place, outputs)
        yield ".chalice/config.json and its policies: written"
        path = package.build(self.project)
        yield f"package: {path.stat().st_size / 1e6:.1f} MB, compiled"
        # Nothing triggers this one, so nothing runs before the tables are there.
        functions.deploy_one(self.project, self.stage.name, "operate")
        yield "function operate: deployed"
        yield from login.require(self._operate("access"), stage=self.stage.name)
        yield self._migrate()
        functions.deploy(self.project, self.stage.name)
        yield "functions: deployed"
        repetitions = functions.repetitions(triggers.read(self.project), outputs)
        functions.set_repetitions(self.client("lambda"), self.stage.name, repetitions)
        yield "failed fires: repeated twice, then put on their queue"
        if route.is_served(configuration.read(self.project)["stages"][self.stage.name]):
            route.complete(self.client, self.project, self.stage.name)
            yield f"page to unsubscribe: at most {route.RATE} requests a second"
        for concern in concerns:
            if concern in WATCHING:
                yield self._deploy_stack(cloudformation, concern, outputs)
        for swept in package.sweep(path):
            yield f"swept {swept}"

    def plan(self) -> Iterator[str]:
        """Tell what `deploy` would do, and do nothing."""
        cloudformation = self.client("cloudformation")
        outputs: dict[str, str] = {}
        for concern in self._concerns():
            stack = self._stack(concern, outputs)
            yield f"stack {stack.name}: {stacks.plan(cloudformation, stack)}"
            outputs |= stacks.outputs(cloudformation, stack.name)
        for function in configuration.read(self.project)["stages"][self.stage.name]["lambda_functions"]:
            name = functions.name_of(function, self.stage.name)
            yield f"function {name}: {'update' if functions.exists(self.client('lambda'), name) else 'create'}"
        yield "database: migrate"

    def destroy(self) -> Iterator[str]:
        """Delete the functions and every stack that holds no data, and tell each step."""
        functions.delete(self.project, self.stage.name)
        yield "functions: deleted"
        cloudformation = self.client("cloudformation")
        for concern in reversed(self._concerns()):
            name = stacks.name_of(self.stage.name, concern)
            if concern in KEPT or (concern == "network" and "data" in self.stage.stacks):
                yield f"stack {name}: kept, with its data"
            else:
                stacks.delete(cloudformation, name)
                yield f"stack {name}: deleted"

    def _concerns(self) -> list[str]:
        return [concern for concern in CONCERNS if concern in self.stage.stacks]

    def _deploy_stack(self, cloudformation: Any, concern: str, outputs: dict[str, str]) -> str:
        """Bring a stack to its template, add its outputs to those known, and return what became of it."""
        stack = self._stack(concern, outputs)
        told = f"stack {stack.name}: {stacks.deploy(cloudformation, stack)}"
        outputs |= stacks.outputs(cloudformation, stack.name)
        return told

    def _stack(self, concern: str, outputs: dict[str, str]) -> Stack:
        template = self.project / "infra" / f"{concern}.yaml"
        known = {"Stage": self.stage.name, **outputs, **self.stage.stacks[concern]}
        known |= watched.parameters_of(self.project, self.stage.name)
        wanted = parameters_of(template)
        if "S3PrefixListId" in wanted - set(known):
            known["S3PrefixListId"] = self._find_s3_prefix_list()
        parameters = {name: value for name, value in known.items() if name in wanted}
        return Stack(concern=concern, stage=self.stage.name, template=template, parameters=parameters)

    def _find_s3_prefix_list(self) -> str:
        # The addresses of S3 in this region, which the functions' security group lets them reach.
        name = f"com.amazonaws.{self.place.region}.s3"
        filters = [{"Name": "prefix-list-name", "Values": [name]}]
        lists = self.client("ec2").describe_managed_prefix_lists(Filters=filters)["PrefixLists"]
        if not lists:
            raise ValueError(f"this region has no prefix list {name}; set S3PrefixListId in infra/stages.json")
        return str(lists[0]["PrefixListId"])

    def _migrate(self) -> str:
        answer = self._operate("migrate")
        advice = "".join(f"; {each}" for each in answer["advice"])
        return f"database: {answer['before'] or 'empty'} → {answer['after']}{advice}"

    def _operate(self, command: str) -> dict[str, Any]:
        try:
            return functions.invoke(self.invoker(), "operate", self.stage.name, {"command": command})
        except ValueError as error:
            raise ValueError(f"{error}{advice_on(str(error))}") from error
