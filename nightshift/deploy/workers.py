"""The workers of a stage: what takes messages from each queue for them, and how many at once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from nightshift.deploy.functions import absent, is_absent
from nightshift.project.triggers import name_of

# By queue: the function that works through it.
FUNCTIONS = {"work": "work", "priority": "work_priority"}


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker as it is deployed: what takes its messages, and whether; the limits are None where there is none."""

    function: str
    trigger_id: str
    queue_arn: str
    state: str
    limit: int | None
    reserved: int | None


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What SQS counts of a queue, about: messages that wait, that are delayed, and that a worker has."""

    waiting: int
    delayed: int
    in_work: int


def read(awslambda: Any, queue: str, stage: str) -> Worker:
    """Return the worker of a queue. Raises ValueError where it is not deployed, or nothing takes its messages."""
    function = name_of(FUNCTIONS[queue], stage)
    try:
        found = awslambda.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        reserved = awslambda.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
    except ClientError as error:
        if not is_absent(error):
            raise
        raise absent(awslambda, FUNCTIONS[queue], stage) from None
    triggers = [each for each in found if ":sqs:" in each["EventSourceArn"]]
    if not triggers:
        raise ValueError(f"{function} has no trigger that takes messages for it: nightshift deploy --stage {stage}")
    return Worker(
        function=function,
        trigger_id=triggers[0]["UUID"],
        queue_arn=triggers[0]["EventSourceArn"],
        state=triggers[0]["State"],
        limit=triggers[0].get("ScalingConfig", {}).get("MaximumConcurrency"),
        reserved=reserved,
    )


def count(sqs: Any, worker: Worker) -> Messages:
    """Return how many messages its queue has."""
    account, name = worker.queue_arn.split(":")[4:]
    url = sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return Messages(
        waiting=int(found["ApproximateNumberOfMessages"]),
        delayed=int(found["ApproximateNumberOfMessagesDelayed"]),
        in_work=int(found["ApproximateNumberOfMessagesNotVisible"]),
    )


def scale(awslambda: Any, worker: Worker, limit: int) -> None:
    """Let a worker do so many batches at once, and have Lambda reserve as many where it reserves any.

    Interrupted, it leaves a worker that works; the same again goes on.
    """

    def reserve() -> None:
        awslambda.put_function_concurrency(FunctionName=worker.function, ReservedConcurrentExecutions=limit)

    def take() -> None:
        awslambda.update_event_source_mapping(UUID=worker.trigger_id, ScalingConfig={"MaximumConcurrency": limit})

    steps: list[Callable[[], None]] = [take]
    if worker.reserved is not None:
        # What is taken beyond what is reserved is throttled, and each time counts as a delivery.
        steps = [reserve, take] if limit > worker.reserved else [take, reserve]
    for step in steps:
        step()
