"""CloudFormation stacks of a stage: created, updated or left alone, with their outputs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, WaiterError


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

    Raises ValueError with CloudFormation's own reason when it fails; a failed first creation is removed again.
    """
    exists = describe(cloudformation, stack.name) is not None
    request = {
        "StackName": stack.name,
        "TemplateBody": stack.template.read_text(encoding="utf-8"),
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in sorted(stack.parameters.items())],
        # The second for the loops in alarms.yaml.
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": "app", "Value": "nightshift"}, {"Key": "stage", "Value": stack.stage}],
    }
    try:
        if exists:
            cloudformation.update_stack(**request)
            cloudformation.get_waiter("stack_update_complete").wait(StackName=stack.name)
            return "updated"
        cloudformation.create_stack(**request, OnFailure="DELETE", EnableTerminationProtection=False)
        cloudformation.get_waiter("stack_create_complete").wait(StackName=stack.name)
        return "created"
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return "unchanged"
        raise ValueError(f"the stack {stack.name} was refused: {error}") from error
    except WaiterError as error:
        raise ValueError(f"the stack {stack.name} failed: {_reason(cloudformation, stack.name)}") from error


def plan(cloudformation: Any, stack: Stack) -> str:
    """Return what `deploy` would do, without doing it: "create", "update" or "nothing"."""
    found = describe(cloudformation, stack.name)
    if found is None:
        return "create"
    # As it was sent: by default a template comes back with its loops unrolled.
    deployed = cloudformation.get_template(StackName=stack.name, TemplateStage="Original")["TemplateBody"]
    parameters = {p["ParameterKey"]: p["ParameterValue"] for p in found.get("Parameters", [])}
    same = str(deployed).strip() == stack.template.read_text(encoding="utf-8").strip()
    return "nothing" if same and stack.parameters.items() <= parameters.items() else "update"


def describe(cloudformation: Any, name: str) -> dict[str, Any] | None:
    """Return a stack's description, None when there is no such stack."""
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
    """Delete a stack; what its template retains stays."""
    cloudformation.delete_stack(StackName=name)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=name)


def _reason(cloudformation: Any, name: str) -> str:
    return next(_failures(cloudformation, name), "CloudFormation gives no reason")


def _failures(cloudformation: Any, name: str) -> Iterator[str]:
    try:
        events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    except ClientError:
        return
    for event in reversed(events):
        if event["ResourceStatus"].endswith("_FAILED"):
            yield f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', event['ResourceStatus'])}"
