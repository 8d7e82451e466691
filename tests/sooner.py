"""What the libraries of AWS read from the disk for every client and every request, read once for a whole process."""

import gc
from functools import cache
from typing import Any

import boto3
import moto.backends
from botocore.loaders import JSONFileLoader

SERVICES = ("cloudformation", "cloudwatch", "events", "lambda", "logs", "rds", "s3", "ses", "sesv2", "sqs", "sts")

_load = JSONFileLoader.load_file
_modules = list(moto.backends.list_of_moto_modules())


@cache
def _read(path: str) -> Any:
    return _load(JSONFileLoader(), path)


def read_once() -> None:
    """Keep the descriptions of services, which botocore parses anew for each session, and the list of moto's own."""
    JSONFileLoader.load_file = lambda self, file_path: _read(file_path)  # type: ignore[method-assign]
    moto.backends.list_of_moto_modules = lambda: _modules


def read_now() -> None:
    """Read what most clients need, for the processes that are forked from this one, and count it as nobody's waste."""
    read_once()
    session = boto3.Session(aws_access_key_id="any", aws_secret_access_key="any")
    for service in SERVICES:
        client: Any = session.client
        client(service, region_name="eu-central-1", endpoint_url="http://127.0.0.1:9")
    gc.freeze()
