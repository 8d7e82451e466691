"""Commands of the AWS CLI, and whether a service has what they ask for."""

from collections.abc import Sequence
from functools import cache

import botocore.session
from botocore import xform_name

# The AWS CLI's own, which are no operations of the service.
CUSTOMIZED = {("s3", "cp"), *(("cloudformation", each) for each in ("deploy", "package", "wait"))}
OPTIONS = {"query", "output", "region", "profile"}


class UnknownError(Exception):
    """A command asks for what there is not."""


def aws(words: Sequence[str]) -> None:
    """Raise UnknownError where an AWS service has no such operation, or the operation no such option."""
    service, operation, *rest = words
    if (service, operation) in CUSTOMIZED:
        return
    options = _operations(service).get(operation)
    if options is None:
        raise UnknownError(f"AWS's {service} has no operation {operation}")
    for word in rest:
        name = word.removeprefix("--")
        if word.startswith("--") and name not in options | OPTIONS:
            raise UnknownError(f"aws {service} {operation} has no option {word}")


@cache
def _operations(service: str) -> dict[str, set[str]]:
    model = botocore.session.get_session().get_service_model(service)
    shapes = {xform_name(name, "-"): model.operation_model(name).input_shape for name in model.operation_names}
    return {
        name: {xform_name(each, "-") for each in (shape.members if shape else ())} for name, shape in shapes.items()
    }
