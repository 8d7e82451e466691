"""Stacks in every state, against a CloudFormation that goes through the states which AWS documents."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.waiter
import pytest
from moto import mock_aws

from nightshift.deploy import stacks
from nightshift.deploy.stacks import Stack

NAME = "nightshift-dev-queues"
ID = f"arn:aws:cloudformation:eu-west-1:123456789012:stack/{NAME}/1"
TEMPLATE = "Resources: {Topic: {Type: 'AWS::SNS::Topic'}}"
# What each operation leads to, where nothing fails.
WELL = {
    "CreateStack": ["CREATE_IN_PROGRESS", "CREATE_COMPLETE"],
    "UpdateStack": ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"],
    "DeleteStack": ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"],
    "RollbackStack": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"],
    "ContinueUpdateRollback": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"],
}


class CloudFormation:
    """AWS's side of a client: one stack, whose state changes each time that it is asked for."""

    def __init__(self, *states: str, fails: dict[str, list[str]] | None = None) -> None:
        self.states = deque(states)
        self.leads_to = WELL | (fails or {})
        self.operations: list[str] = []
        self.events: list[dict[str, str]] = []
        # What becomes of the resources in the operation that fails.
        self.reasons: list[tuple[str, str, str]] = []
        self.client = boto3.client(
            "cloudformation", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        self.client.meta.events.register("before-call.cloudformation", self._answer)

    def _answer(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        asked = params["body"]
        match model.name:
            case "DescribeStacks":
                return self._describe(asked["StackName"])
            case "DescribeStackEvents":
                if asked["StackName"] != ID:
                    return _refused(f"Stack [{asked['StackName']}] does not exist")
                return _accepted({"StackEvents": self.events[::-1]})
        self.operations.append(model.name)
        self.states = deque(self.leads_to[model.name])
        for resource, status, reason in self.reasons:
            self.add_event(resource, status, reason, token=asked["ClientRequestToken"])
        return _accepted({"StackId": ID} if model.name in {"CreateStack", "UpdateStack"} else {})

    def _describe(self, name: str) -> tuple[Any, dict[str, Any]]:
        status = self.states[0] if self.states else "DELETE_COMPLETE"
        if len(self.states) > 1:
            self.states.popleft()
        if status == "DELETE_COMPLETE" and name != ID:
            return _refused(f"Stack with id {name} does not exist")
        described = {"StackId": ID, "StackName": NAME, "StackStatus": status, "StackStatusReason": "Not [Topic]."}
        return _accepted({"Stacks": [described]})

    def add_event(self, resource: str, status: str, reason: str, *, token: str) -> None:
        """Record what became of a resource."""
        event = {"LogicalResourceId": resource, "ResourceStatus": status, "ResourceStatusReason": reason}
        self.events.append(event | {"ClientRequestToken": token})


def _accepted(answer: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return SimpleNamespace(status_code=200), answer


def _refused(message: str) -> tuple[Any, dict[str, Any]]:
    return SimpleNamespace(status_code=400), {"Error": {"Code": "ValidationError", "Message": message}}


@pytest.fixture(autouse=True)
def _waiters_do_not_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.waiter, "time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    template = tmp_path / "queues.yaml"
    template.write_text(TEMPLATE)
    return Stack(concern="queues", stage="dev", template=template, parameters={})


@pytest.mark.parametrize(
    ("states", "operations"),
    [
        ([], ["CreateStack"]),
        (["CREATE_COMPLETE"], ["UpdateStack"]),
        (["UPDATE_COMPLETE"], ["UpdateStack"]),
        (["UPDATE_ROLLBACK_COMPLETE"], ["UpdateStack"]),
        (["IMPORT_COMPLETE"], ["UpdateStack"]),
        (["IMPORT_ROLLBACK_COMPLETE"], ["UpdateStack"]),
        # Somebody else deploys, or an interrupted deployment has left it so.
        (["CREATE_IN_PROGRESS", "CREATE_COMPLETE"], ["UpdateStack"]),
        (["CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"], ["CreateStack"]),
        (["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_COMPLETE"], ["UpdateStack"]),
        (["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"], ["UpdateStack"]),
        (["UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"], ["UpdateStack"]),
        (["IMPORT_IN_PROGRESS", "IMPORT_ROLLBACK_IN_PROGRESS", "IMPORT_ROLLBACK_COMPLETE"], ["UpdateStack"]),
        (["DELETE_IN_PROGRESS", "DELETE_COMPLETE"], ["CreateStack"]),
        (["ROLLBACK_IN_PROGRESS", "ROLLBACK_COMPLETE"], ["DeleteStack", "CreateStack"]),
        # It was never created.
        (["REVIEW_IN_PROGRESS"], ["DeleteStack", "CreateStack"]),
        (["CREATE_FAILED"], ["DeleteStack", "CreateStack"]),
        (["ROLLBACK_COMPLETE"], ["DeleteStack", "CreateStack"]),
        (["ROLLBACK_FAILED"], ["DeleteStack", "CreateStack"]),
        # Its update failed half-way.
        (["UPDATE_FAILED"], ["RollbackStack", "UpdateStack"]),
        (["UPDATE_ROLLBACK_FAILED"], ["ContinueUpdateRollback", "UpdateStack"]),
    ],
    ids=lambda value: "-".join(value) or "none",
)
def test_a_stack_is_deployed_from_whatever_state_it_is_in(
    stack: Stack, states: list[str], operations: list[str]
) -> None:
    aws = CloudFormation(*states)
    told = stacks.deploy(aws.client, stack)
    assert aws.operations == operations
    assert told == ("created" if operations[-1] == "CreateStack" else "updated")


@pytest.mark.parametrize("status", ["DELETE_FAILED", "IMPORT_ROLLBACK_FAILED"])
def test_a_stack_that_only_a_person_can_mend_is_refused_with_what_to_do(stack: Stack, status: str) -> None:
    aws = CloudFormation(status)
    with pytest.raises(ValueError, match=rf"{NAME} is in the state {status} \(Not \[Topic\]\): .+ deploy again"):
        stacks.deploy(aws.client, stack)
    assert aws.operations == []


def test_every_state_that_aws_knows_has_its_way(stack: Stack) -> None:
    shape = CloudFormation().client.meta.service_model.shape_for("StackStatus")
    for status in shape.enum:
        ends = [status] if not status.endswith("_IN_PROGRESS") else [status, "UPDATE_COMPLETE"]
        aws = CloudFormation(*ends)
        if status in stacks.STUCK:
            with pytest.raises(ValueError, match=status):
                stacks.deploy(aws.client, stack)
        else:
            assert stacks.deploy(aws.client, stack) in {"created", "updated"}


def test_a_failed_creation_tells_its_cause_although_the_stack_is_gone(stack: Stack) -> None:
    aws = CloudFormation(fails={"CreateStack": ["CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"]})
    aws.reasons = [
        ("Topic", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
        ("Topic", "CREATE_FAILED", "The name is taken"),
        ("Queue", "CREATE_FAILED", "Resource creation cancelled"),
        ("Key", "DELETE_FAILED", "It is in use"),
    ]
    with pytest.raises(ValueError, match=f"^the stack {NAME} failed: Topic: The name is taken$"):
        stacks.deploy(aws.client, stack)


def test_a_failed_update_tells_its_own_cause_and_not_that_of_an_earlier_one(stack: Stack) -> None:
    aws = CloudFormation(
        "UPDATE_ROLLBACK_COMPLETE",
        fails={"UpdateStack": ["UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]},
    )
    aws.add_event("Topic", "UPDATE_FAILED", "Of last year", token="another")
    aws.reasons = [("Topic", "UPDATE_FAILED", "Of today")]
    with pytest.raises(ValueError, match=f"^the stack {NAME} failed: Topic: Of today$"):
        stacks.deploy(aws.client, stack)


def test_a_rollback_that_fails_again_tells_why(stack: Stack) -> None:
    aws = CloudFormation(
        "UPDATE_ROLLBACK_FAILED",
        fails={"ContinueUpdateRollback": ["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_FAILED"]},
    )
    aws.reasons = [("Topic", "UPDATE_FAILED", "It was deleted by hand")]
    with pytest.raises(ValueError, match="Topic: It was deleted by hand"):
        stacks.deploy(aws.client, stack)
    assert aws.operations == ["ContinueUpdateRollback"]


@pytest.mark.parametrize(
    ("states", "operations"),
    [
        ([], []),
        (["CREATE_COMPLETE"], ["DeleteStack"]),
        (["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"], ["DeleteStack"]),
        (["DELETE_IN_PROGRESS", "DELETE_COMPLETE"], []),
        (["DELETE_FAILED"], ["DeleteStack"]),
    ],
    ids=lambda value: "-".join(value) or "none",
)
def test_a_stack_is_deleted_from_whatever_state_it_is_in(states: list[str], operations: list[str]) -> None:
    aws = CloudFormation(*states)
    stacks.delete(aws.client, NAME)
    assert aws.operations == operations


def test_a_failed_deletion_tells_its_cause() -> None:
    aws = CloudFormation("CREATE_COMPLETE", fails={"DeleteStack": ["DELETE_IN_PROGRESS", "DELETE_FAILED"]})
    aws.reasons = [("Topic", "DELETE_FAILED", "It is protected")]
    with pytest.raises(ValueError, match=f"^the stack {NAME} failed: Topic: It is protected$"):
        stacks.delete(aws.client, NAME)


@pytest.fixture
def cloudformation(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("cloudformation", region_name="eu-west-1")


def test_a_stack_is_planned_created_updated_and_deleted(cloudformation: Any, stack: Stack) -> None:
    assert stacks.plan(cloudformation, stack) == "create"
    assert stacks.deploy(cloudformation, stack) == "created"
    assert stacks.plan(cloudformation, stack) == "unchanged"
    stack.template.write_text(TEMPLATE + "\nOutputs: {TopicArn: {Value: !Ref Topic}}")
    assert stacks.plan(cloudformation, stack) == "update"
    assert stacks.deploy(cloudformation, stack) == "updated"
    assert stacks.outputs(cloudformation, stack.name)["TopicArn"].startswith("arn:aws:sns:")
    stacks.delete(cloudformation, stack.name)
    assert stacks.describe(cloudformation, stack.name) is None
