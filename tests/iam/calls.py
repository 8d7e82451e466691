"""The calls of AWS in a program's source, as botocore names them, and what IAM asks for when each is made."""

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from botocore import xform_name
from botocore.exceptions import UnknownServiceError
from botocore.model import OperationModel
from botocore.session import Session
from botocore.validate import ParamValidator

# A service's operations, or its waiters', by the names that clients give them.
Operations = Callable[[str], Mapping[str, str]]

# Ours, by the same names as operations; so are what `super()` has, which are Chalice's.
NOT_OF_AWS = frozenset({"functions.invoke"})
# What a call is asked to do with an operation that it names in a text.
BY_NAME = frozenset({"get_paginator", "generate_presigned_url"})
OF_PAGINATORS = frozenset({"PaginationConfig"})

# Lambda asks whether who attaches a function to a network may see what it is attached to.
NETWORK = {"ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs", "ec2:GetSecurityGroupsForVpc"}
# What IAM asks for when an operation is called, where that is not the action of its name alone.
ACTIONS = {
    "lambda.CreateFunction": {"lambda:CreateFunction", "lambda:TagResource", "iam:PassRole", *NETWORK},
    "lambda.UpdateFunctionConfiguration": {"lambda:UpdateFunctionConfiguration", "iam:PassRole", *NETWORK},
    "lambda.Invoke": {"lambda:InvokeFunction"},
    "sqs.SendMessageBatch": {"sqs:SendMessage"},
    "sqs.DeleteMessageBatch": {"sqs:DeleteMessage"},
    "sqs.ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
    # SES asks for the second where the content is raw, and on every call in bulk.
    "sesv2.SendEmail": {"ses:SendEmail", "ses:SendRawEmail"},
    "sesv2.SendBulkEmail": {"ses:SendBulkEmail", "ses:SendBulkTemplatedEmail"},
    # How an object is locked S3 tells only to who may know.
    "s3.HeadObject": {"s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectLegalHold"},
    "s3.ListObjectsV2": {"s3:ListBucket"},
    "s3.ListMultipartUploads": {"s3:ListBucketMultipartUploads"},
    "s3.DeleteObjects": {"s3:DeleteObject"},
    "s3.CreateMultipartUpload": {"s3:PutObject"},
    "s3.UploadPart": {"s3:PutObject"},
    "s3.CompleteMultipartUpload": {"s3:PutObject"},
    "s3.GetBucketNotificationConfiguration": {"s3:GetBucketNotification"},
    "s3.PutBucketNotificationConfiguration": {"s3:PutBucketNotification"},
}
# API Gateway is asked for by the method of HTTP.
BY_METHOD = frozenset({"apigateway", "apigatewayv2"})


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call in the source: `arguments` are its keywords, whose values are None unless they are written out."""

    file: str
    line: int
    service: str
    operation: str
    arguments: dict[str, Any]
    positional: int
    has_more: bool

    @property
    def name(self) -> str:
        """The operation with its service."""
        return f"{self.service}.{self.operation}"


@cache
def model(service: str) -> Any:
    """Return what botocore knows of a service."""
    return Session().get_service_model(service)


@cache
def _operations(service: str) -> dict[str, str]:
    return {xform_name(name): name for name in model(service).operation_names}


@cache
def _waiters(service: str) -> dict[str, str]:
    try:
        waiters = Session().get_waiter_model(service)
    except UnknownServiceError:
        return {}
    return {xform_name(name): waiters.get_waiter(name).operation for name in waiters.waiter_names}


def actions_of(service: str, operation: str) -> set[str]:
    """Return what IAM asks for when an operation is called."""
    found: OperationModel = model(service).operation_model(operation)
    if service in BY_METHOD:
        return {f"apigateway:{found.http['method']}"}
    return ACTIONS.get(f"{service}.{operation}", {f"{model(service).signing_name}:{operation}"})


def services_of(paths: Iterable[Path]) -> set[str]:
    """Return the services that clients are made of, wherever their names are written out."""
    return {name for path in paths for node in ast.walk(ast.parse(path.read_text())) for name in _clients(node)}


def _clients(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and node.args:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        first = node.args[0] if name in {"client", "_client"} else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def calls_in(root: Path, paths: Iterable[Path], services: Iterable[str]) -> list[Call]:
    """Return the calls of these services in the files; a method that is only named counts as called."""
    known = frozenset(services)
    return [call for path in paths for call in _calls(path.relative_to(root).as_posix(), path.read_text(), known)]


def _calls(file: str, source: str, services: frozenset[str]) -> Iterator[Call]:
    nodes = list(ast.walk(ast.parse(source)))
    calls = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if not isinstance(node, ast.Attribute):
            continue
        name, receiver, operations, call = _asked(node, calls.get(id(node)))
        found = {service for service in services if name in operations(service)}
        if not found or ast.unparse(node) in NOT_OF_AWS or ast.unparse(receiver) == "super()":
            continue
        if len(found) > 1:
            text, near = ast.unparse(receiver), _made_near(node, nodes)
            # By the client that is made on the spot, by what the function makes, or by what the receiver is called.
            hints = (
                {each for each in found if f"('{each}')" in text},
                found & near,
                {each for each in found if each in text},
            )
            found = next((hint for hint in hints if len(hint) == 1), found)
        for service in sorted(found):
            arguments = {each.arg: _literal(each.value) for each in call.keywords if each.arg} if call else {}
            yield Call(
                file=file,
                line=node.lineno,
                service=service,
                operation=operations(service)[name],
                arguments=arguments,
                positional=len(call.args) if call else 0,
                has_more=call is None or len(arguments) < len(call.keywords),
            )


def _made_near(node: ast.Attribute, nodes: Iterable[ast.AST]) -> set[str]:
    """Return what the function in which an attribute is makes clients of."""
    around = [each for each in nodes if isinstance(each, ast.FunctionDef) and _contains(each, node.lineno)]
    inner = max(around, key=lambda each: each.lineno, default=None)
    return {name for each in ast.walk(inner) for name in _clients(each)} if inner else set()


def _contains(function: ast.FunctionDef, line: int) -> bool:
    return function.lineno <= line <= (function.end_lineno or line)


def _asked(node: ast.Attribute, call: ast.Call | None) -> tuple[str, ast.expr, Operations, ast.Call | None]:
    """Return what an attribute calls: its name, the receiver, where it is looked up, and the call of it."""
    name, asked = node.attr, node.value
    if name == "paginate" and isinstance(asked, ast.Call) and isinstance(asked.func, ast.Attribute):
        return _text(asked.args[0]), asked.func.value, _operations, call
    if call and name in BY_NAME:
        return _text(call.args[0]), asked, _operations, None
    if call and name == "get_waiter":
        return _text(call.args[0]), asked, _waiters, None
    return name, asked, _operations, call


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ""


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def mistakes_in(call: Call) -> list[str]:
    """Return what botocore would refuse of a call, as far as it is written out."""
    shape = model(call.service).operation_model(call.operation).input_shape
    members, required = (shape.members, set(shape.required_members)) if shape else ({}, set())
    wrong = [f"there is no {name}" for name in call.arguments if name not in {*members, *OF_PAGINATORS}]
    if call.positional:
        wrong.append("botocore takes keywords only")
    if not call.has_more:
        wrong += [f"{name} is missing" for name in sorted(required - set(call.arguments))]
    for name, value in call.arguments.items():
        if value is None or name not in members:
            continue
        report = ParamValidator().validate(value, members[name])
        wrong += [report.generate_report()] if report.has_errors() else []
        allowed = getattr(members[name], "enum", ())
        wrong += [f"{name} is none of {', '.join(allowed)}"] if allowed and value not in allowed else []
    return wrong
