"""What the libraries of AWS read or work out for every client and every request, once for a whole process."""

import gc
from functools import cache
from typing import Any, cast

import boto3
import moto.backends
import moto.core.responses
import moto.sqs.models
from botocore.loaders import JSONFileLoader
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

SERVICES = ("cloudformation", "cloudwatch", "events", "lambda", "logs", "rds", "s3", "ses", "sesv2", "sqs", "sts")

# Who imports moto's function of this name that the requests of tests pass through.
NAMING: tuple[Any, ...] = (moto.core.responses, moto.sqs.models)

_load = JSONFileLoader.load_file
_modules = list(moto.backends.list_of_moto_modules())


@cache
def _read(path: str) -> Any:
    return _load(JSONFileLoader(), path)


def read_once() -> None:
    """Keep the descriptions of services, which botocore parses for each session, and what moto finds for a request."""
    JSONFileLoader.load_file = lambda self, file_path: _read(file_path)  # type: ignore[method-assign]
    moto.backends.list_of_moto_modules = lambda: _modules
    dispatcher, responses = cast("Any", DomainDispatcherApplication), cast("Any", moto.core.responses)
    dispatcher.get_backend_for_host = cache(dispatcher.get_backend_for_host)
    responses.method_names_from_class = cache(responses.method_names_from_class)
    for module in NAMING:
        module.camelcase_to_underscores = cache(module.camelcase_to_underscores)


def read_now() -> None:
    """Read what most clients need, for the processes that are forked from this one, and count it as nobody's waste."""
    read_once()
    session = boto3.Session(aws_access_key_id="any", aws_secret_access_key="any")
    for service in SERVICES:
        client: Any = session.client
        client(service, region_name="eu-central-1", endpoint_url="http://127.0.0.1:9")
    gc.freeze()
