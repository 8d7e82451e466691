"""Continues a run that reached its deadline, waits for another run of its task, or was missed.

It invokes the task's own function, which has the memory and time for it. Off Lambda, the worker executes the run.
"""

from typing import Any

import msgspec

from chalicelib.api import Context, Job, handler
from chalicelib.runs import execution, functions
from chalicelib.runs.fire import TRIGGER, Trigger


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The run: `scheduled_for` in ISO 8601, its first trigger and its options."""

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
    """Execute the run of this fire, which writes its own summary line."""
    payload = job.payload
    event = {"scheduled_for": payload.scheduled_for, TRIGGER: payload.trigger, **payload.options}
    if not functions.invoke(payload.task, event, context):
        execution.execute(payload.task, event=event, context=context)
