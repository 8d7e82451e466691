"""The AWS account that the person at the keyboard is in."""

from functools import cache
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from nightshift.deploy.configuration import Place


@cache
def client(service: str) -> Any:
    """Return a client of this service. Raises ValueError without a usable profile or region."""
    try:
        return boto3.Session().client(service)  # type: ignore[call-overload]
    except BotoCoreError as error:
        raise ValueError(f"AWS cannot be used: {error}") from error


def region() -> str | None:
    """Return the region that is set, None when none is. Raises ValueError for a profile that does not exist."""
    try:
        return boto3.Session().region_name
    except BotoCoreError as error:
        raise ValueError(f"AWS cannot be used: {error}; set AWS_PROFILE to one that exists") from error


def place(stage: str) -> Place:
    """Return where a stage lives. Raises ValueError when AWS does not know who asks."""
    try:
        identity = client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise ValueError(f"AWS does not take these credentials: {error}") from error
    partition = identity["Arn"].split(":")[1]
    return Place(stage=stage, region=region() or "", account=identity["Account"], partition=partition)
