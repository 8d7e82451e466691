"""A message's way through the worker: one JobAttempt, to which each step adds its fields."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import msgspec
from msgspec.structs import replace

from chalicelib.core.attempt import Attempt
from chalicelib.core.errors import InvalidRequestError, NightshiftError, PermanentError, TransientError
from chalicelib.core.outcome import Outcome
from chalicelib.core.telemetry import Trace, trace_of
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import check_envelope, new_row
from chalicelib.queue.message import INVALID, Message, decode, encode
from chalicelib.queue.payloads import MAX_BYTES, Payloads, is_pointer
from chalicelib.queue.sqs import ATTRIBUTES

# Until it ends, an attempt counts as not made.
_NOT_MADE = Attempt[Any](outcome=Outcome.SKIPPED, duration_ms=0, value=None, error=None)


class Action(StrEnum):
    """What the worker does about a message."""

    PERFORM = "perform"
    # Claim it by itself, just before it is performed.
    PERFORM_ALONE = "perform alone"
    # Nothing remains to be done.
    ACKNOWLEDGE = "acknowledge"
    # Another worker may be performing the job: the message stays on the queue.
    RETRY_LATER = "retry later"
    # The job is not due, or paused: dispatch sends it again in time.
    POSTPONE = "postpone"
    # What performs the job is unavailable: dispatch sends it again when that answers.
    HOLD = "hold"
    EXPIRE = "expire"
    GIVE_UP = "give up"


class JobAttempt(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One delivery of a message, the job that it asks for, and how the attempt at the job goes.

    A message that cannot be read is None, and `refusal` says why. It is a msgspec.Struct because each step replaces
    fields, which takes a dataclass much longer.
    """

    # Received.
    job_id: str
    message_id: str
    receipt_handle: str
    receives: int
    sent_ms: int
    body: str
    # An operator moved it back from the dead-letter queue, with the attributes that it got there.
    is_redriven: bool
    # The body is in the bucket; it is fetched alone, once the job is claimed.
    is_unread: bool = False
    message: Message | None = None
    refusal: NightshiftError | None = None
    traceparent: str | None = None
    # Claimed. `number` counts the job's attempts, `slot_ms` is its turn under the type's rate limit, and `long_data`
    # the row's data where it is too long to be read with other rows.
    action: Action | None = None
    reason: str = ""
    row: Any = None
    number: int | None = None
    slot_ms: int | None = None
    long_data: str | None = None
    # Whoever performs the job was unavailable the last time.
    is_suspect: bool = False
    # When a postponed or failed job is due, and when dispatch sends a fresh message for it.
    due_ms: int = 0
    dispatch_ms: int = 0
    # Performed.
    handler: Handler | None = None
    ended: Attempt[Any] = _NOT_MADE
    result: str | None = None
    handler_seconds: float = 0
    # Recorded. A message that stays is visible after so many seconds, or after the queue's own time.
    stays: bool = False
    after_seconds: int | None = None

    @property
    def type(self) -> str:
        """The type of the job, if its row or its message could be read."""
        return str(self.row.type) if self.row else self.message.type if self.message else INVALID

    @property
    def label(self) -> str:
        """The type in log lines and metrics."""
        # A type without a handler must not become a dimension of a metric: anybody can send any type.
        return (self.handler.label or self.handler.type) if self.handler else "unknown"

    @property
    def is_first(self) -> bool:
        """Whether the job cannot have a row yet, judging by the message."""
        is_own = self.job_id == self.message_id
        return self.receives == 1 and is_own and not self.is_redriven and not self.is_unread

    @property
    def is_new(self) -> bool:
        """Whether the row is still what the message says."""
        return isinstance(self.row, SimpleNamespace)

    @cached_property
    def trace(self) -> Trace:
        """The trace of the job, at the job."""
        return trace_of(self.job_id, traceparent=self.traceparent)

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields of each log line about the attempt."""
        fields: dict[str, object] = {"message_id": self.message_id, "job_id": self.job_id, "trace_id": self.trace.id}
        if self.number is not None:
            fields["attempt"] = self.number
        if self.traceparent:
            fields["traceparent"] = self.traceparent
        return fields

    def new_row(self, *, queue: str, now_ms: int) -> dict[str, Any]:
        """Return the row that the job gets if it has none."""
        message = self.message or Message(type=INVALID, data={})
        row = new_row(message, id_=self.job_id, queue=queue, now_ms=now_ms)
        if self.message:
            return row
        # As a JSON string, so that a column of type JSON holds it too, and text that has no UTF-8 escaped.
        printable = self.body.encode("utf-8", "backslashreplace").decode()
        return row | {"data": msgspec.json.encode(printable).decode()}

    def dead_letter_body(self) -> str:
        """Return the body for the dead-letter queue; with its id, so that a copy asks for the same job."""
        if self.message is None:
            return self.body
        body = encode(replace(self.message, id=self.job_id))
        # In ASCII it may have become too long; the body that came was a pointer then.
        return body if len(body) <= MAX_BYTES else self.body

    def without_content(self) -> JobAttempt:
        """Return it without its message and row, which may be large."""
        return replace(self, body="", message=None, row=None, long_data=None, result=None)


class _Attributes(msgspec.Struct, frozen=True, rename="pascal"):
    approximate_receive_count: int = 1
    sent_timestamp: int = 0


class _Attribute(msgspec.Struct, frozen=True, rename="camel"):
    string_value: str | None = None


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of a record of an SQS event that the worker needs."""

    message_id: str
    receipt_handle: str
    body: str | None
    attributes: _Attributes | None = None
    message_attributes: dict[str, _Attribute] | None = None


def read_records(event: object) -> tuple[list[Record], list[str]]:
    """Return the records of an SQS event that are messages, and for each other record why it is not one.

    Raises InvalidRequestError for an event without records.
    """
    records = event.get("Records", []) if isinstance(event, Mapping) else None
    if not isinstance(records, list) or (not records and event):
        raise InvalidRequestError("the worker takes SQS events, with their messages under Records; enqueue instead")
    messages: list[Record] = []
    reasons: list[str] = []
    for record in records:
        try:
            # SQS writes numbers as text.
            messages.append(msgspec.convert(record, Record, strict=False))
        except msgspec.ValidationError as error:
            reasons.append(f"a record of {_source_of(record)} is not an SQS message: {error}")
    return messages, reasons


def _source_of(record: object) -> str:
    # SNS spells the key with a capital letter.
    source = (record.get("eventSource") or record.get("EventSource")) if isinstance(record, Mapping) else None
    return source[:64] if isinstance(source, str) else "an unknown source"


def receive(record: Record) -> JobAttempt:
    """Return the attempt that a record of an SQS event asks for. A body in the bucket is not fetched yet."""
    attributes, of_letter = record.attributes or _Attributes(), record.message_attributes or {}
    is_redriven = of_letter.keys() >= ATTRIBUTES
    # SQS gives a redriven message another id, and a message that cannot be read has no id of its own.
    buried_as = of_letter["job_id"].string_value if is_redriven else None
    attempt = JobAttempt(
        job_id=buried_as or record.message_id,
        message_id=record.message_id,
        receipt_handle=record.receipt_handle,
        receives=attributes.approximate_receive_count,
        sent_ms=attributes.sent_timestamp,
        body=record.body or "",
        is_redriven=is_redriven,
    )
    return replace(attempt, is_unread=True) if is_pointer(attempt.body) else _decoded(attempt, attempt.body)


def fetch_body(attempt: JobAttempt, payloads: Payloads) -> JobAttempt:
    """Return the attempt with the body that is in the bucket; its refusal is a TransientError if S3 is unavailable."""
    attempt = replace(attempt, is_unread=False)
    try:
        body = payloads.fetch(attempt.body)
    except (InvalidRequestError, PermanentError, TransientError) as error:
        return replace(attempt, refusal=error)
    return _decoded(attempt, body)


def _decoded(attempt: JobAttempt, body: str) -> JobAttempt:
    try:
        message = decode(body)
        check_envelope(message)
    except InvalidRequestError as error:
        return replace(attempt, refusal=error)
    return replace(attempt, message=message, job_id=message.id or attempt.job_id, traceparent=message.traceparent)
