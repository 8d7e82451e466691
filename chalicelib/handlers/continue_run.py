"""Continues a run that reached its deadline, from its checkpoint."""

import msgspec

from chalicelib import runs
from chalicelib.context import Context
from chalicelib.handlers import Handler
from chalicelib.outcome import Counts


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which run to continue; `scheduled_for` as ISO 8601."""

    task: str
    scheduled_for: str


def perform(context: Context, payload: Payload) -> Counts:
    """Execute the run of this fire; it writes its own summary line."""
    runs.execute(payload.task, event={"scheduled_for": payload.scheduled_for}, context=context)
    return Counts(total=1, succeeded=1)


HANDLER = Handler(type="continue_run", payload=Payload, perform=perform)
