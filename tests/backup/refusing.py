"""A bucket whose client fails at a chosen call."""

from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET


class Refusal:
    """Has a client's n-th call of an operation fail, before it is sent or when its answer comes."""

    def __init__(self, aws: LocalAws, operation: str, nth: int, moment: str) -> None:
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 1})
        client = session.client("s3", endpoint_url=aws.endpoint, config=config)
        client.meta.events.register(f"{moment}-call.s3.{operation}", self._count)
        self.store = Store(client, bucket=BUCKET)
        self._left = nth

    def _count(self, **_: Any) -> None:
        self._left -= 1
        if self._left == 0:
            raise ConnectionClosedError(endpoint_url="https://s3.example")
