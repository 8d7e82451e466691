"""Deploying, planning and destroying a stage, in the one order that works."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from chalicelib.core.grants import PLACEHOLDER
from chalicelib.migrations import newest
from nightshift.deploy import deployer, functions, lock, package, record, stacks
from nightshift.deploy.changes import CREATED, DELETED
from nightshift.deploy.refusal import advice_on, is_denied
from nightshift.deploy.stacks import Stack
from nightshift.project import configuration, triggers
from nightshift.project.configuration import Place
from nightshift.project.stage import CONCERNS, WATCHING, Stage
from nightshift.project.template import ROUTE_RATE, repetitions
from nightshift.project.triggers import APPLICATION, name_of

# What holds data that nobody could bring back. Their templates retain it too.
KEPT = frozenset({"storage", "secrets", "data"})

# What a migration and each function cannot do without.
NEEDED_RIGHTS = frozenset({"tasks", "migrations"})

# How a change of a whole function is named; without a name of its own it is an update of parts.
DONE = {CREATED: "created", DELETED: "deleted", "": "updated"}
PLANNED = {CREATED: "create", DELETED: "delete", "": "update"}


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
        """Bring everything to what the project says, and tell each step.

        What was interrupted goes on where it was. Raises ValueError with a sentence, also where somebody else deploys.
        """
        functions.check_maker(self.client("lambda"), self.stage.name)
        yield from self._alone(self._deploy)

    def package(self, folder: Path) -> Iterator[str]:
        """Do all that `deploy` does but for the functions, and write into a folder what CloudFormation makes those of.

        While there is no function `operate`, which migrates, that is this function alone. Raises as `deploy` does.
        """
        yield from self._alone(lambda outputs: self._package(folder, outputs))

    def _alone(self, steps: Callable[[dict[str, str]], Iterator[str]]) -> Iterator[str]:
        """Yield the steps that follow the stack with the bucket, in which the lock is."""
        outputs = self._role_outputs()
        yield self._deploy_stack("storage", outputs)
        with self._locked(outputs) as check:
            for step in steps(outputs):
                yield step
                check()

    def _locked(self, outputs: Mapping[str, str]) -> AbstractContextManager[Callable[[], None]]:
        return lock.held(self.client("s3"), outputs["BucketName"], stage=self.stage.name, who=self.place.caller)

    def _deploy(self, outputs: dict[str, str]) -> Iterator[str]:
        path = yield from self._prepare(outputs)
        resources = record.read(self.client, self.stage.name)
        boundary = outputs.get("PermissionsBoundaryArn")
        # Nothing triggers this one, so nothing runs before the tables are there.
        operate = deployer.deploy(
            self.project, self.stage.name, resources, is_plan=False, boundary=boundary, only="operate"
        )
        yield from self._update_database(again=f"nightshift deploy --stage {self.stage.name}")
        changes = operate | deployer.deploy(self.project, self.stage.name, resources, is_plan=False, boundary=boundary)
        for function in self._functions(changes):
            yield f"function {function}: {_describe(changes.get(function, []), DONE)}"
        missing = self._missing_repetitions(outputs)
        for function, repetition in missing.items():
            functions.set_repetition(self.client("lambda"), function, self.stage.name, repetition)
        yield f"failed fires: {'repeated twice, then put on their queue' if missing else 'unchanged'}"
        if configuration.has_route(configuration.read(self.project)["stages"][self.stage.name]):
            is_new = functions.limit_route(self.client, self.project, self.stage.name)
            yield f"page to unsubscribe: {f'at most {ROUTE_RATE} requests a second' if is_new else 'unchanged'}"
        yield from self._watch(outputs)
        yield from self._sweep(path)

    def _package(self, folder: Path, outputs: dict[str, str]) -> Iterator[str]:
        path = yield from self._prepare(outputs)
        awslambda, operate = self.client("lambda"), name_of("operate", self.stage.name)
        again = f"nightshift package {folder} --stage {self.stage.name}"
        if not functions.exists(awslambda, operate):
            package.write_template(self.project, self.stage.name, folder, function="operate")
            yield f"{folder}: the function operate alone, which migrates; make the stack of it, then: {again}"
            return
        functions.update_code(awslambda, operate, path.read_bytes())
        yield f"function {operate}: updated (code)"
        yield from self._update_database(again=again)
        yield from self._watch(outputs)
        package.write_template(self.project, self.stage.name, folder)
        yield f"{folder}: sam.json and deployment.zip, of which CloudFormation makes the functions"
        if functions.stack_of(awslambda, operate) is None:
            yield "functions: Chalice has made those that are there; docs/deploy.md says how to change over"
        yield from self._sweep(path)

    def _prepare(self, outputs: dict[str, str]) -> Generator[str, None, Path]:
        """Make what functions need, add its outputs to those known, and return the package."""
        for concern in self._concerns():
            if concern not in WATCHING and concern != "storage":
                yield self._deploy_stack(concern, outputs)
        changed = configuration.write(self.project, self.place, outputs)
        yield f"configuration: {f'written, {len(changed)} files of .chalice' if changed else 'unchanged'}"
        path = package.build(self.project)
        yield f"package: {path.stat().st_size / 1e6:.1f} MB, compiled"
        return path

    def _update_database(self, *, again: str) -> Iterator[str]:
        yield from _require_database_user(self._operate("access"), again=again)
        yield self._migrate()

    def _watch(self, outputs: dict[str, str]) -> Iterator[str]:
        for concern in self._concerns():
            if concern in WATCHING:
                yield self._deploy_stack(concern, outputs)

    def _sweep(self, path: Path) -> Iterator[str]:
        for swept in package.sweep(path):
            yield f"swept {swept}"

    def plan(self) -> Iterator[str]:
        """Tell what `deploy` would do, and do nothing."""
        functions.check_maker(self.client("lambda"), self.stage.name)
        cloudformation = self.client("cloudformation")
        outputs = self._role_outputs()
        for concern in self._concerns():
            stack = self._stack(concern, outputs)
            yield f"stack {stack.name}: {stacks.plan(cloudformation, stack)}"
            outputs |= stacks.outputs(cloudformation, stack.name)
        if set(configuration.derived(triggers.parts(self.project)).values()) <= outputs.keys():
            yield from self._plan_functions(outputs)
        else:
            # What its stacks will give is part of every function, so each will be made or changed.
            for function in self._functions():
                is_there = functions.exists(self.client("lambda"), function)
                yield f"function {function}: {'update' if is_there else 'create'}"
        yield self._plan_migration()

    def _plan_functions(self, outputs: Mapping[str, str]) -> Iterator[str]:
        resources = record.read(self.client, self.stage.name)
        with package.copied(self.project) as copy:
            configuration.write(copy, self.place, outputs)
            package.build(copy)
            changes = deployer.deploy(copy, self.stage.name, resources, is_plan=True)
        for function in self._functions(changes):
            yield f"function {function}: {_describe(changes.get(function, []), PLANNED)}"
        yield f"failed fires: {', '.join(self._missing_repetitions(outputs)) or 'unchanged'}"

    def _missing_repetitions(self, outputs: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
        wanted = repetitions(triggers.read(self.project), outputs)
        return functions.missing_repetitions(self.client("lambda"), self.stage.name, wanted)

    def _plan_migration(self) -> str:
        if not functions.exists(self.client("lambda"), name_of("operate", self.stage.name)):
            return f"database: → {newest()}"
        try:
            found = functions.invoke(self.invoker(), "operate", self.stage.name, {"command": "check"})["database"]
        except ValueError as error:
            # Who may call operate may do anything, so a role that only plans may not.
            if not is_denied(error.__cause__):
                raise
            return f"database: → {newest()}, if it is older: these credentials may not ask the function operate"
        if not found["ok"]:
            return f"database: → {newest()}, and the deployed functions do not reach it now: {found['error']}"
        return _migration(found["revision"], newest())

    def _functions(self, others: Iterable[str] = ()) -> list[str]:
        """Return how the functions of app.py are called when they are deployed, then the others."""
        known = [name_of(each.function, self.stage.name) for each in triggers.read(self.project)]
        return list(dict.fromkeys([*known, *others]))

    def destroy(self, *, is_all: bool = True) -> Iterator[str]:
        """Delete the functions and every stack that holds no data, or the functions alone, and tell each step.

        Raises ValueError, which names what is left, when something is, and where CloudFormation made the functions.
        """
        functions.check_maker(self.client("lambda"), self.stage.name)
        outputs = stacks.outputs(self.client("cloudformation"), stacks.name_of(self.stage.name, "storage"))
        steps = [self._destroy_functions(), *([self._destroy_stacks()] if is_all else [])]
        with self._locked(outputs) if "BucketName" in outputs else nullcontext(lambda: None) as check:
            for step in chain.from_iterable(steps):
                yield step
                check()

    def _destroy_functions(self) -> Iterator[str]:
        stage, refusal = self.stage.name, ""
        there = record.read(self.client, stage)
        try:
            deployer.delete(self.project, stage, there)
        except ValueError as error:
            refusal = f"{error}; "
        # Logs are kept.
        left = [each["name"] for each in record.read(self.client, stage) if each["resource_type"] != "log_group"]
        if left or refusal:
            # The queues and secrets that they use stay as long as they are there.
            names = ", ".join(sorted(left)) or "nothing"
            raise ValueError(f"{refusal}still there: {names}. Remove what holds it, and run it again")
        deleted = sum(each["resource_type"] == "lambda_function" for each in there)
        yield f"functions: {deleted} deleted"
        yield f"logs: kept until their days are over, /aws/lambda/{APPLICATION}-{stage}-*"

    def _destroy_stacks(self) -> Iterator[str]:
        cloudformation = self.client("cloudformation")
        # Of all, since another clone may have had more than infra/stages.json has here.
        names = {concern: stacks.name_of(self.stage.name, concern) for concern in reversed(CONCERNS)}
        there = {concern for concern, name in names.items() if stacks.describe(cloudformation, name)}
        for concern in names:
            if concern not in there:
                continue
            if concern in KEPT or (concern == "network" and "data" in there):
                yield f"stack {names[concern]}: kept, with its data"
            else:
                stacks.delete(cloudformation, names[concern])
                yield f"stack {names[concern]}: deleted"

    def _role_outputs(self) -> dict[str, str]:
        """Return the outputs of the stack of deploy-role.yaml, which is an administrator's; empty if there is none."""
        return stacks.outputs(self.client("cloudformation"), f"deploy-{APPLICATION}-{self.stage.name}")

    def _concerns(self) -> list[str]:
        return [concern for concern in CONCERNS if concern in self.stage.stacks]

    def _deploy_stack(self, concern: str, outputs: dict[str, str]) -> str:
        """Bring a stack to its template, add its outputs to those known, and return what became of it."""
        cloudformation = self.client("cloudformation")
        stack = self._stack(concern, outputs)
        told = f"stack {stack.name}: {stacks.deploy(cloudformation, stack)}"
        outputs |= stacks.outputs(cloudformation, stack.name)
        return told

    def _stack(self, concern: str, outputs: dict[str, str]) -> Stack:
        template = self.project / "infra" / f"{concern}.yaml"
        known = {"Stage": self.stage.name, **outputs, **self.stage.stacks[concern]}
        known |= configuration.stack_parameters(self.project, self.stage.name)
        wanted = stacks.parameters_of(template)
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
        return f"{_migration(answer['before'], answer['after'])}{advice}"

    def _operate(self, command: str) -> dict[str, Any]:
        try:
            return functions.invoke(self.invoker(), "operate", self.stage.name, {"command": command})
        except ValueError as error:
            raise ValueError(f"{error}{advice_on(str(error))}") from error


def _describe(changes: list[str], words: Mapping[str, str]) -> str:
    """Return in one line what changed of a function; `words` are DONE or PLANNED."""
    if not changes:
        return "unchanged"
    return next((words[each] for each in changes if each in words), f"{words['']} ({', '.join(changes)})")


def _migration(before: str | None, after: str | None) -> str:
    return f"database: unchanged, {after}" if before == after else f"database: {before or 'empty'} → {after}"


def _require_database_user(access: Mapping[str, Any], *, again: str) -> Iterator[str]:
    """Yield what the database's administrator has to do, where a first deployment cannot go on without.

    `access` is the function's own answer, `again` the command that goes on. Raises ValueError, which says so.
    """
    if access["refusal"] is None and (access["is_migrated"] or NEEDED_RIGHTS.isdisjoint(access["lacks"])):
        return
    yield "database: run these statements as its administrator"
    yield from (f"  {statement};" for statement in access["statements"])
    if access["refusal"] is not None:
        yield from _explain_password(access["secret"])
    reason = access["refusal"] or f"its user's rights are not enough for {' and '.join(access['lacks'])}"
    raise ValueError(f"{reason}; no schedule or worker has been deployed. Run the statements above, then: {again}")


def _explain_password(secret: str | None) -> Iterator[str]:
    if secret is None:
        yield f"{PLACEHOLDER} is the password in DATABASE_URL."
    else:
        name = secret.rpartition(":")[2].rpartition("-")[0]
        yield f"{PLACEHOLDER} is the password in the secret {name}. This prints it:"
        yield f"  aws secretsmanager get-secret-value --secret-id {name} --query SecretString --output text"
    yield "If the user exists already, use ALTER USER in place of CREATE USER, or put its password into the secret."
