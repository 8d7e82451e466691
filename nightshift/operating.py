"""Asking a deployment's `operate` function, or this machine's own database where no stage is named."""

import os
from collections.abc import Mapping
from typing import Any


def ask(stage: str | None, command: str, **request: Any) -> dict[str, Any]:
    """Return the answer to one command. Raises ValueError, with a sentence, when it cannot be done."""
    wanted = {"command": command} | {key: value for key, value in request.items() if value not in (None, [], ())}
    return _ask_here(wanted) if stage is None else _ask_there(stage, wanted)


def _ask_there(stage: str, request: Mapping[str, Any]) -> dict[str, Any]:
    from nightshift.deploy import functions
    from nightshift.deploy.session import client

    return functions.invoke(client("lambda"), functions.name_of("operate", stage), request)


def _ask_here(request: Mapping[str, Any]) -> dict[str, Any]:
    from chalicelib import operations
    from chalicelib.context import from_lambda
    from nightshift.local.invocation import LocalContext

    if not os.environ.get("DATABASE_URL"):
        raise ValueError(
            "name a stage with --stage, or set DATABASE_URL and the other settings to work on them directly"
        )
    return operations.operate(request, from_lambda(LocalContext(function_name="operate")))
