"""The AWS account that the person at the keyboard is in."""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nightshift.deploy.refusal import refusal_of
from nightshift.project.configuration import Place

# A function may take fifteen minutes, and botocore would ask for the same once more after one. Its answer is the first
# thing that is heard of it, so the connection is kept alive for whatever lies between and forgets idle ones.
PATIENCE = Config(read_timeout=910, tcp_keepalive=True, retries={"total_max_attempts": 1})


@cache
def client(service: str) -> Any:
    """Return a client of this service. Raises ValueError without a usable profile or region."""
    return _client(service)


@cache
def invoker() -> Any:
    """Return a client of Lambda that asks once and waits for as long as a function may run. Raises ValueError too."""
    return _client("lambda", PATIENCE)


def _client(service: str, config: Config | None = None) -> Any:
    try:
        return boto3.Session().client(service, config=config)  # type: ignore[call-overload]
    except BotoCoreError as error:
        raise ValueError(refusal_of(error)) from error


def region() -> str | None:
    """Return the region that is set, None when none is. Raises ValueError for a profile that does not exist."""
    try:
        return boto3.Session().region_name
    except BotoCoreError as error:
        raise ValueError(refusal_of(error)) from error


def place(stage: str) -> Place:
    """Return where a stage lives. Raises ValueError when AWS does not know who asks."""
    try:
        identity = client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise ValueError(refusal_of(error)) from error
    partition = identity["Arn"].split(":")[1]
    return Place(
        stage=stage,
        region=region() or "",
        account=identity["Account"],
        partition=partition,
        caller=identity["Arn"],
    )
