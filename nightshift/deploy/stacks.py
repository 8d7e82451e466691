"""CloudFormation stacks of a stage: created, updated, deleted or left alone, from whatever state they are in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import yaml
from botocore.exceptions import ClientError, WaiterError
from botocore.waiter import WaiterModel, create_waiter_with_client

# Their creation never ended well, so nothing was ever used of what is in them: they are deleted and created again.
NEVER_CREATED = frozenset({"REVIEW_IN_PROGRESS", "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"})
# By the state of a stack whose update failed: what brings it back to where it was before.
ROLLED_BACK_BY = {"UPDATE_FAILED": "rollback_stack", "UPDATE_ROLLBACK_FAILED": "continue_update_rollback"}
# Only a person can decide what becomes of what is in these.
STUCK = frozenset({"DELETE_FAILED", "IMPORT_ROLLBACK_FAILED"})
# By operation: the state of a stack where it succeeded, None where there is no stack then.
SUCCESSES = {
    "create_stack": "CREATE_COMPLETE",
    "update_stack": "UPDATE_COMPLETE",
    "rollback_stack": "UPDATE_ROLLBACK_COMPLETE",
    "continue_update_rollback": "UPDATE_ROLLBACK_COMPLETE",
    "delete_stack": None,
}
WAIT_HOURS = 2
POLL_SECONDS = 2

# None of botocore's own waits for whatever somebody else has begun.
_WAITER = {
    "operation": "DescribeStacks",
    "delay": POLL_SECONDS,
    "maxAttempts": WAIT_HOURS * 3600 // POLL_SECONDS,
    "acceptors": [
        {
            "matcher": "path",
            "argument": "ends_with(Stacks[0].StackStatus, '_IN_PROGRESS')",
            "expected": False,
            "state": "success",
        },
        {"matcher": "error", "expected": "ValidationError", "state": "success"},
    ],
}
_WAITERS = WaiterModel({"version": 2, "waiters": {"StackIdle": _WAITER}})


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One template of `infra/` for one stage."""

    concern: str
    stage: str
    template: Path
    parameters: Mapping[str, str]

    @property
    def name(self) -> str:
        """The stack's name."""
        return name_of(self.stage, self.concern)


def name_of(stage: str, concern: str) -> str:
    """Return the name of the stack of a concern."""
    return f"nightshift-{stage}-{concern}"


def deploy(cloudformation: Any, stack: Stack) -> str:
    """Bring a stack to its template, and return "created", "updated" or "unchanged".

    It first waits for another deployment of the stack, or for what an interrupted one has begun. Raises ValueError with
    CloudFormation's own reason when it fails; a failed first creation is removed again.
    """
    exists = _prepare(cloudformation, stack.name)
    request = {
        "StackName": stack.name,
        "TemplateBody": stack.template.read_text(encoding="utf-8"),
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(stack.parameters.items())],
        # The second for the loops in alarms.yaml.
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": "app", "Value": "nightshift"}, {"Key": "stage", "Value": stack.stage}],
    }
    if exists:
        return "updated" if _operate(cloudformation, "update_stack", **request) else "unchanged"
    _operate(cloudformation, "create_stack", **request, OnFailure="DELETE", EnableTerminationProtection=False)
    return "created"


def plan(cloudformation: Any, stack: Stack) -> str:
    """Return what `deploy` would do, without doing it: "create", "update" or "unchanged"."""
    found = describe(cloudformation, stack.name)
    if found is None or found["StackStatus"] in NEVER_CREATED:
        return "create"
    # As it was sent: by default a template comes back with its loops unrolled.
    deployed = cloudformation.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in found.get("Parameters", [])}
    same = str(deployed).strip() == stack.template.read_text(encoding="utf-8").strip()
    return "unchanged" if same and stack.parameters.items() <= parameters.items() else "update"


def describe(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """Return a stack's description by its name or id, None when there is no such stack."""
    try:
        found: dict[str, Any] = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] == "DELETE_COMPLETE" else found


def outputs(cloudformation: Any, name: str) -> dict[str, str]:
    """Return a stack's outputs by key."""
    found = describe(cloudformation, name) or {}
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def delete(cloudformation: Any, name: str) -> None:
    """Delete a stack; what its template retains stays. Raises ValueError with CloudFormation's reason when it fails."""
    if found := _find_idle(cloudformation, name):
        _operate(cloudformation, "delete_stack", StackName=found["StackId"])


def _prepare(cloudformation: Any, name: str) -> bool:
    """Bring a stack into a state that allows an update, or away; return whether there is one to update."""
    found = _find_idle(cloudformation, name)
    if found is None:
        return False
    status, stack_id = found["StackStatus"], found["StackId"]
    if status in STUCK:
        reason = found.get("StackStatusReason", "CloudFormation gives no reason").rstrip(".")
        raise ValueError(
            f"the stack {name} is in the state {status} ({reason}): delete what it names, or allow its deletion, "
            f"then run aws cloudformation delete-stack --stack-name {name} and deploy again"
        )
    if status in NEVER_CREATED:
        _operate(cloudformation, "delete_stack", StackName=stack_id)
        return False
    if status in ROLLED_BACK_BY:
        _operate(cloudformation, ROLLED_BACK_BY[status], StackName=stack_id)
    return True


def _find_idle(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """Return a stack's description once nobody works on it, None when there is no such stack then."""
    found = describe(cloudformation, name)
    if found is None or found["StackStatus"] in NEVER_CREATED or not found["StackStatus"].endswith("_IN_PROGRESS"):
        return found
    _wait(cloudformation, found["StackId"])
    return describe(cloudformation, name)


def _operate(cloudformation: Any, operation: str, **request: Any) -> bool:
    """Run an operation to its end, and return whether there was anything to do. Raises ValueError with the reason."""
    token = f"nightshift-{uuid4()}"
    try:
        answer = getattr(cloudformation, operation)(**request, ClientRequestToken=token)
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return False
        raise ValueError(f"the stack {_plain(request['StackName'])} was refused: {error}") from error
    # By its id, since a stack that is gone has no name.
    stack_id = answer.get("StackId", request["StackName"])
    _wait(cloudformation, stack_id)
    found = describe(cloudformation, stack_id)
    if (found and found["StackStatus"]) != SUCCESSES[operation]:
        reason = next(_failures(cloudformation, stack_id, token), "CloudFormation gives no reason")
        raise ValueError(f"the stack {_plain(stack_id)} failed: {reason}")
    return True


def _wait(cloudformation: Any, stack_id: str) -> None:
    try:
        create_waiter_with_client("StackIdle", _WAITERS, cloudformation).wait(StackName=stack_id)
    except WaiterError as error:
        sentence = (
            f"waiting for the stack {_plain(stack_id)} ended ({error.kwargs['reason']}): deploy again to continue"
        )
        raise ValueError(sentence) from error


def _plain(stack: str) -> str:
    """Return a stack's name, given that or its id."""
    return stack.split("/")[1] if stack.startswith("arn:") else stack


def _failures(cloudformation: Any, stack_id: str, token: str) -> Iterator[str]:
    """Yield what failed in the operation with this token, the cause first."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    events = [event for page in pages for event in page["StackEvents"] if event.get("ClientRequestToken") == token]
    for event in reversed(events):
        reason = event.get("ResourceStatusReason", event["ResourceStatus"])
        # What was under way when something else failed is cancelled, and fails for that.
        if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
            yield f"{event['LogicalResourceId']}: {reason}"


class _Loader(yaml.SafeLoader):
    """Reads short forms such as !Ref as their plain values."""


def _construct(loader: yaml.SafeLoader, _suffix: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(cast("yaml.MappingNode", node), deep=True)


_Loader.add_multi_constructor("!", _construct)


def parameters_of(template: Path) -> frozenset[str]:
    """Return the names of a template's parameters."""
    return frozenset(yaml.load(template.read_text(encoding="utf-8"), _Loader).get("Parameters", {}))  # noqa: S506
