"""A line of a function's log as people read it, wherever it comes from: CloudWatch, or a function on this machine."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from nightshift.logs import runtime
from nightshift.logs.entry import Entry, duration

# First what says whose line it is; then what else there is, in its own order.
COUNTS = ("succeeded", "failed", "skipped")
FIRST = ("task", "type", "run_id", "job_id", "attempt", "scheduled_for", "duration_ms", *COUNTS)
# What the line tells already in other words, or tells nobody anything.
UNTOLD = {"level", "location", "message", "timestamp", "service", "sampling_rate", "outcome", "total"}
UNTOLD |= {"error", "error_type", "reason", "exception", "exception_name", "stack_trace"}
UNTOLD |= {"request_id", "message_id", "trigger", "traceparent", "trace_id", "trace_ids", "xray_trace_id"}


def readable(text: str, *, at: datetime | None = None, source: str | None = None) -> str | None:
    """Return a raw line of a log for a terminal, with a traceback below it, or None for noise.

    `at` is when it was logged, by default what the line itself says; `source` the function that it is of, where several
    are shown together. Nothing in what is returned can be obeyed by a terminal.
    """
    entry = _read(text)
    return None if entry is None else entry.text(at=at, source=source)


def fields_of(text: str) -> dict[str, Any]:
    """Return what a line of JSON holds, and nothing for any other line."""
    if text.startswith("{"):
        # Whatever was printed may only look like JSON.
        with suppress(ValueError, RecursionError):
            fields: dict[str, Any] = json.loads(text)
            return fields
    return {}


def _read(text: str) -> Entry | None:
    fields = fields_of(text)
    if "_aws" in fields or not text.strip() or runtime.is_noise(text):
        return None
    if "message" in fields:
        return _of_logger(fields)
    found = runtime.read(text)
    if found is not None:
        return found
    first, _, below = text.strip().partition("\n")
    return Entry(level="", message=first, below=below)


def _of_logger(fields: Mapping[str, Any]) -> Entry:
    error, reason = fields.get("error"), fields.get("reason")
    why = f"{fields.get('error_type', 'error')}: {error}" if error else reason
    message = fields["message"] if isinstance(fields["message"], str) else json.dumps(fields["message"])
    return Entry(
        level=str(fields.get("level", "")),
        message=f"{message}: {why}" if why else message,
        fields=dict(_told(fields)),
        below=str(fields.get("exception") or ""),
        at=_moment(fields.get("timestamp")),
    )


def _told(fields: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key in (*FIRST, *(key for key in fields if key not in FIRST)):
        value = fields.get(key)
        # Counts of nothing, and what is not so, only make the line longer.
        if key in UNTOLD or value is None or value is False or (value == 0 and key in COUNTS):
            continue
        if key == "duration_ms":
            yield "took", duration(value).replace(" ", "")
        else:
            yield key, value if isinstance(value, str | int | float) else json.dumps(value)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
