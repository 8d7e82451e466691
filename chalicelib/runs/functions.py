"""The functions of this deployment: what AWS calls each, when it got its code, and how one asks another."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from chalicelib.core.context import Context
from chalicelib.core.telemetry import logger

# A deployment replaces one function after the other.
DEPLOYMENT = timedelta(minutes=15)


def name_of(function: str, context: Context) -> str | None:
    """Return what AWS calls a function of this deployment, or None where this process is none of AWS's."""
    # Names of functions have no hyphen: what stands before the last one is the application and the stage.
    prefix, hyphen, _ = context.function_name.rpartition("-")
    return f"{prefix}-{function}" if hyphen else None


def deployed_at(tasks: Collection[str], context: Context) -> dict[str, datetime]:
    """Return when each task got the code that this process has too; nothing where AWS does not say.

    The task's own function drops what the new schedule does not mean, so its moment counts. Where it is still to be
    replaced, the moment is that of this function, which is no later.
    """
    here = _updated_at(context.function_name, context) if "-" in context.function_name and tasks else None
    if here is None:
        return {}
    # A task that was removed, or is new, may have no function.
    there = {task: _updated_at(str(name_of(task, context)), context) or here for task in tasks}
    return {task: moment if here - DEPLOYMENT < moment < here else here for task, moment in there.items()}


def invoke(task: str, event: Mapping[str, Any], context: Context) -> bool:
    """Have a task's own function handle an event soon, and return whether Lambda has taken it.

    Lambda repeats what fails, as it does a schedule's fire. Nothing is taken where this process is none of AWS's, or
    where Lambda refuses or cannot be reached; then it may have been taken after all.
    """
    name = name_of(task, context)
    if name is None:
        return False
    from botocore.exceptions import BotoCoreError, ClientError

    payload = json.dumps(event).encode()
    try:
        context.client("lambda").invoke(FunctionName=name, InvocationType="Event", Payload=payload)
    except (BotoCoreError, ClientError) as error:
        logger.warning("function not invoked", extra={"task": task, "reason": str(error)})
        return False
    return True


def _updated_at(name: str, context: Context) -> datetime | None:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = context.client("lambda").get_function_configuration(FunctionName=name)
    except (BotoCoreError, ClientError) as error:
        logger.warning("function's last update unknown", extra={"function": name, "reason": str(error)})
        return None
    return datetime.fromisoformat(answer["LastModified"])
