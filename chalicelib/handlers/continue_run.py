"""Continues a run: at its deadline, behind another of its task, or since its fire was missed.

The task's own function does it, with its memory and time; where there is no Lambda to ask, the worker does it itself.
"""

from typing import Any

import msgspec

from chalicelib.api import Context, Job, handler
from chalicelib.runs import execution, functions
from chalicelib.runs.fire import TRIGGER, Trigger


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which run; `scheduled_for` as ISO 8601, who asked for it first, and the options that it was asked with."""

    task: str
    scheduled_for: str
    trigger: Trigger = "manual"
    options: dict[str, Any] = {}


@handler(
    # The run counts its own failures, and is dead before this.
    max_attempts=10,
    backoff_seconds=(60, 300, 900),
    timeout_seconds=None,
)
def continue_run(context: Context, job: Job[Payload]) -> None:
    """Have the run of this fire executed; it writes its own summary line."""
    payload = job.payload
    event = {"scheduled_for": payload.scheduled_for, TRIGGER: payload.trigger, **payload.options}
    if not functions.invoke(payload.task, event, context):
        execution.execute(payload.task, event=event, context=context)
