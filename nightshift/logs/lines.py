"""A log line in a readable format, whether it comes from CloudWatch or from a function on this machine."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from chalicelib.operate.status.words import took
from nightshift.cli.output import plain

# The longest line and field value, in characters: a log may contain whole documents.
MAX_LINE, MAX_VALUE = 2000, 120
INDENT = "    "
COUNTS = ("succeeded", "failed", "skipped")
# The first fields of a line. The others follow in their own order.
FIRST = ("task", "type", "run_id", "job_id", "attempt", "scheduled_for", "duration_ms", *COUNTS)
# Fields that the line shows in another form, or that do not help to read it.
HIDDEN = {"level", "location", "message", "timestamp", "service", "sampling_rate", "outcome", "total"}
HIDDEN |= {"error", "error_type", "reason", "exception", "exception_name", "stack_trace"}
HIDDEN |= {"request_id", "message_id", "trigger", "traceparent", "trace_id", "trace_ids", "xray_trace_id"}

# Lambda's own lines. An INIT_REPORT without a status is noise: the invocation's report includes its duration.
_NOISE = re.compile(r"(?:START|END) RequestId: |INIT_START |INIT_REPORT (?!.*\tStatus: )")
_REPORT = re.compile(r"(?:INIT_)?REPORT (?:RequestId: (?P<request_id>\S+))?")
_KEYS = "Duration|Init Duration|Memory Size|Max Memory Used|Status|Error Type"
_VALUE = re.compile(rf"(?:\t|REPORT )({_KEYS}): ([^\t\n]+?)(?: ms| MB)?\s*(?=\t|$)")
_TIMED_OUT = re.compile(r"\S+ (?P<request_id>[\w-]+) (?P<message>Task timed out after [\d.]+ seconds)")
_EXITED = re.compile(r"RequestId: (?P<request_id>\S+) (?P<message>(?:Error: |Process exited).+)")
# An uncaught error, and a line of Lambda's own logging handler.
_RAISED = re.compile(r"\[ERROR\] (?P<message>[^\t\r\n]+)(?P<details>.*)", re.S)
_LOGGED = re.compile(r"\[(?P<level>[A-Z]+)\]\t\S+\t(?P<request_id>\S*)\t(?P<message>[^\r\n]*)(?P<details>.*)", re.S)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A parsed log line; `details` is a traceback or other text of several lines."""

    level: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)
    details: str = ""
    at: datetime | None = None

    def text(self, *, at: datetime | None, function: str | None) -> str:
        """Return the entry as one line, with its details indented below."""
        moment = at or self.at
        when = [f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"] if moment else []
        parts = [*([f"{function}:"] if function else []), self.message]
        parts += [f"{key}={_short(str(value), MAX_VALUE)}" for key, value in self.fields.items()]
        line = " ".join([*when, f"{plain(self.level):7.8}", _short(plain(" ".join(parts)), MAX_LINE)])
        return "\n".join([line, *self._detail_lines()])

    def _detail_lines(self) -> Iterator[str]:
        for line in self.details.splitlines():
            if words := plain(line):
                indent = len(line) - len(line.lstrip())
                yield INDENT + " " * min(indent, 40) + _short(words, MAX_LINE)


def readable(text: str, *, at: datetime | None = None, function: str | None = None) -> str | None:
    """Return a raw log line in a readable format without control characters, or None for noise.

    `at` is when it was logged, by default what the line says. `function` names its function if several are shown.
    """
    entry = _parse(text)
    return None if entry is None else entry.text(at=at, function=function)


def fields_of(text: str) -> dict[str, Any]:
    """Return the fields of a JSON line, and none for any other line."""
    if text.startswith("{"):
        # Printed text may look like JSON without being JSON.
        with suppress(ValueError, RecursionError):
            fields: dict[str, Any] = json.loads(text)
            return fields
    return {}


def _parse(text: str) -> Entry | None:
    fields = fields_of(text)
    if "_aws" in fields or not text.strip() or _NOISE.match(text):
        return None
    if "message" in fields:
        return _parse_json(fields)
    if report := _REPORT.match(text):
        return _parse_report(text, report["request_id"])
    if killed := _TIMED_OUT.match(text) or _EXITED.match(text):
        return Entry(level="ERROR", message=killed["message"], fields={"request_id": killed["request_id"]})
    if logged := _LOGGED.match(text):
        return Entry(level=logged["level"], message=logged["message"], details=logged["details"])
    if raised := _RAISED.match(text):
        return Entry(level="ERROR", message=raised["message"], details=raised["details"])
    first, _, details = text.strip().partition("\n")
    return Entry(level="", message=first, details=details)


def _parse_json(fields: Mapping[str, Any]) -> Entry:
    error, reason = fields.get("error"), fields.get("reason")
    why = f"{fields.get('error_type', 'error')}: {error}" if error else reason
    message = fields["message"] if isinstance(fields["message"], str) else json.dumps(fields["message"])
    return Entry(
        level=str(fields.get("level", "")),
        message=f"{message}: {why}" if why else message,
        fields=dict(_shown_fields(fields)),
        details=str(fields.get("exception") or ""),
        at=_time(fields.get("timestamp")),
    )


def _parse_report(text: str, request_id: str | None) -> Entry:
    values = dict(_VALUE.findall(text))
    parts = [f"ended after {duration(values['Duration'])}"] if "Duration" in values else []
    if "Max Memory Used" in values:
        parts.append(f"{values['Max Memory Used']} of {values.get('Memory Size')} MB used")
    if "Init Duration" in values:
        parts.append(f"cold start {duration(values['Init Duration'])}")
    status = values.get("Status", "success")
    parts += [] if status == "success" else [" ".join(filter(None, (status, values.get("Error Type"))))]
    return Entry(
        level="REPORT" if status == "success" else "ERROR",
        message=", ".join(parts),
        fields={"request_id": request_id} if request_id else {},
    )


def _shown_fields(fields: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key in (*FIRST, *(key for key in fields if key not in FIRST)):
        value = fields.get(key)
        # Zero counts and false flags only make the line longer.
        if key in HIDDEN or value is None or value is False or (value == 0 and key in COUNTS):
            continue
        if key == "duration_ms":
            yield "took", duration(value).replace(" ", "")
        else:
            yield key, value if isinstance(value, str | int | float) else json.dumps(value)


def duration(milliseconds: object) -> str:
    """Return a duration as text with its unit, and any other value unchanged."""
    try:
        return took(float(str(milliseconds)))
    except (ValueError, OverflowError):
        return str(milliseconds)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


def _time(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
