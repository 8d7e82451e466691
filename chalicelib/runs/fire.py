"""Fires: the moment that a run is for, read from an EventBridge event or a manual payload."""

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeGuard, get_args

from chalicelib.core.clock import from_ms, iso
from chalicelib.core.error_text import nearest
from chalicelib.core.errors import InvalidRequestError
from chalicelib.schedule.schedule import Schedule

PAYLOAD_KEYS = ("scheduled_for", "dry_run")
EXAMPLE = '"2016-08-04T08:00:00Z"'
# The clocks of EventBridge, Lambda and a laptop agree to about a second; a minute is cron's resolution.
FUTURE_TOLERANCE = timedelta(minutes=1)

# What started a run: an EventBridge rule; a person; the watch, for a missed fire; a person, for past fires.
Trigger = Literal["schedule", "manual", "catch_up", "backfill"]
# The key under which an event that continues a run has its trigger.
TRIGGER = "trigger"
# The triggers without a person, which a pause holds back.
AUTOMATIC = frozenset({"schedule", "catch_up"})


@dataclass(frozen=True, kw_only=True)
class Fire:
    """One moment at which a task is to run."""

    scheduled_for: datetime
    trigger: Trigger
    dry_run: bool
    # The task's own keys of the payload; the task validates the values.
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_continue(self, task: str) -> dict[str, Any]:
        """Return the data of a `continue_run` job for this fire."""
        return {
            "task": task,
            "scheduled_for": iso(self.scheduled_for),
            "trigger": self.trigger,
            "options": dict(self.options),
        }


def is_from_rule(event: object) -> TypeGuard[Mapping[str, Any]]:
    """Return whether an EventBridge rule sent the event."""
    return isinstance(event, Mapping) and "detail-type" in event


def is_from_person(event: object) -> bool:
    """Return whether a person sent the event, not EventBridge or the worker that continues a run."""
    return not is_from_rule(event) and not (isinstance(event, Mapping) and TRIGGER in event)


def is_due(event: object, schedule: Schedule) -> bool:
    """Return whether the schedule is due at this event of its rule; a manual request always is."""
    if not is_from_rule(event):
        return True
    try:
        return schedule.is_due(_parse_moment("time", event.get("time")))
    except (InvalidRequestError, OverflowError):
        # execute() reports the error.
        return True


def read_fire(event: object, *, now_ms: int, options: Collection[str] = ()) -> Fire:
    """Return the fire that an EventBridge event or a manual payload asks for.

    A manual payload is an object with any of `scheduled_for` (ISO 8601 with a zone, by default the current minute),
    `dry_run` and the task's own `options`; one that continues a run also has its `trigger`. Raises
    InvalidRequestError, which names the wrong key or value.
    """
    if event is None:
        event = {}
    if not isinstance(event, Mapping):
        raise InvalidRequestError(f"the payload must be a JSON object, not {_kind(event)}")
    if is_from_rule(event):
        # Schedules are due at full minutes, and the watch looks up runs by them; the rule may fire some seconds later.
        due = _to_minute(_parse_moment("time", event.get("time")))
        return Fire(scheduled_for=due, trigger="schedule", dry_run=False)
    known = (*PAYLOAD_KEYS, *options)
    trigger = event.get(TRIGGER, "manual")
    if trigger not in get_args(Trigger):
        raise InvalidRequestError(f"trigger must be one of {', '.join(get_args(Trigger))}, not {_show(trigger)}")
    for key in event:
        if key not in known and key != TRIGGER:
            close = nearest(str(key), known)
            hint = f"did you mean {close!r}?" if close else f"known keys are {', '.join(known)}"
            raise InvalidRequestError(f"unknown key {_show(key)} in the payload; {hint}")
    dry_run = event.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise InvalidRequestError(f"dry_run must be true or false, not {_show(dry_run)}")
    now = from_ms(now_ms)
    # To the minute, so that two people who invoke the task at once request one run.
    given = "scheduled_for" in event
    scheduled_for = _parse_moment("scheduled_for", event["scheduled_for"]) if given else _to_minute(now)
    if scheduled_for > now + FUTURE_TOLERANCE:
        raise InvalidRequestError(f"scheduled_for is in the future: {_show(event['scheduled_for'])}")
    wanted = {key: event[key] for key in options if key in event}
    return Fire(scheduled_for=scheduled_for, trigger=trigger, dry_run=dry_run, options=wanted)


def _to_minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)


def _parse_moment(key: str, value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InvalidRequestError(f"{key} must be a moment such as {EXAMPLE}, not {_show(value)}") from None
    if moment.tzinfo is None:
        raise InvalidRequestError(f"{key} needs a time zone, as in {EXAMPLE}, but is {_show(value)}")
    try:
        # To the second, as in EventBridge's events: the same moment must always find the same run.
        return moment.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise InvalidRequestError(f"{key} must be a moment such as {EXAMPLE}, not {_show(value)}") from None


def _show(value: object) -> str:
    # Keeps the sentence short, whatever was sent.
    shown = reprlib.Repr()
    shown.maxstring = shown.maxother = 60
    return shown.repr(value)


def _kind(value: object) -> str:
    names = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
