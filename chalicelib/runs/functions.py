"""The deployment's Lambda functions: their names, when they were updated, and invoking one from another."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from chalicelib.core.context import Context
from chalicelib.core.telemetry import logger

# A deployment replaces the functions one by one.
DEPLOYMENT = timedelta(minutes=15)


def name_of(function: str, context: Context) -> str | None:
    """Return a function's full name in AWS; None if this process does not run on Lambda."""
    # Function names have no hyphen: the part before the last one is the application and the stage.
    prefix, hyphen, _ = context.function_name.rpartition("-")
    return f"{prefix}-{function}" if hyphen else None


def deployed_at(tasks: Collection[str], context: Context) -> dict[str, datetime]:
    """Return when each task's function got the code of this deployment; nothing if AWS does not say.

    The task's own function drops fires that the new schedule does not have, so its moment counts. Until it is
    replaced, the moment is that of this function, which is no later.
    """
    here = _updated_at(context.function_name, context) if "-" in context.function_name and tasks else None
    if here is None:
        return {}
    # A removed or new task may have no function.
    there = {task: _updated_at(str(name_of(task, context)), context) or here for task in tasks}
    return {task: moment if here - DEPLOYMENT < moment < here else here for task, moment in there.items()}


def invoke(task: str, event: Mapping[str, Any], context: Context) -> bool:
    """Invoke a task's own function asynchronously, and return whether Lambda accepted the event.

    Lambda retries a failure, as it does a scheduled fire. False off Lambda, and when Lambda refuses or cannot be
    reached; in the last case it may have accepted the event nevertheless.
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
