"""Continues a run that reached its deadline, from its checkpoint."""

from typing import Any

import msgspec

from chalicelib import runs
from chalicelib.context import Context
from chalicelib.handlers import Handler
from chalicelib.outcome import Counts
from chalicelib.queue.job import Job


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which run to continue; `scheduled_for` as ISO 8601, and the options that it was asked with."""

    task: str
    scheduled_for: str
    options: dict[str, Any] = {}


def perform(context: Context, job: Job[Payload]) -> Counts:
    """Execute the run of this fire; it writes its own summary line."""
    payload = job.payload
    runs.execute(payload.task, event={"scheduled_for": payload.scheduled_for, **payload.options}, context=context)
    return Counts(total=1, succeeded=1)


HANDLER = Handler(
    type="continue_run",
    payload=Payload,
    perform=perform,
    # The run counts its own failures, and is dead before this.
    max_attempts=10,
    backoff_seconds=(60, 300, 900),
    timeout_seconds=None,
)
