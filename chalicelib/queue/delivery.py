"""A message as SQS delivered it, and the job that it asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import msgspec

from chalicelib.core.errors import InvalidRequestError, NightshiftError, PermanentError, TransientError
from chalicelib.core.telemetry import Trace, trace_of
from chalicelib.queue.dead_letters import ATTRIBUTES
from chalicelib.queue.job import INVALID, Status, check_envelope, new_row
from chalicelib.queue.message import Message, decode, encode
from chalicelib.queue.payloads import MAX_BYTES, Payloads, is_pointer


class _Attributes(msgspec.Struct, frozen=True, rename="pascal"):
    approximate_receive_count: int = 1
    sent_timestamp: int = 0


class _Attribute(msgspec.Struct, frozen=True, rename="camel"):
    string_value: str | None = None


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """One record of an SQS event, as far as we need it."""

    message_id: str
    receipt_handle: str
    body: str | None
    attributes: _Attributes | None = None
    message_attributes: dict[str, _Attribute] | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One delivery of a message. What cannot be read has no message, and a refusal that says why."""

    job_id: str
    message_id: str
    receipt_handle: str
    receives: int
    sent_ms: int
    body: str
    message: Message | None
    refusal: NightshiftError | None
    # Somebody moved it back from the dead-letter queue, with the attributes that it got there.
    is_redriven: bool
    # The body is in the bucket, and is read alone, once the job is claimed.
    is_unread: bool = False

    @property
    def type(self) -> str:
        """The type of the job, as far as the message says."""
        return self.message.type if self.message else INVALID

    @property
    def is_first(self) -> bool:
        """Whether nobody can have recorded the job, as far as the message tells."""
        is_own = self.job_id == self.message_id
        return self.receives == 1 and is_own and not self.is_redriven and not self.is_unread

    @cached_property
    def trace(self) -> Trace:
        """The trace of its job, at the job."""
        return trace_of(self.job_id, traceparent=self.message.traceparent if self.message else None)

    def new_row(self, *, queue: str, now_ms: int) -> dict[str, Any]:
        """Return the row of its job, should nobody have recorded it yet."""
        if self.message:
            return new_row(self.message, id_=self.job_id, queue=queue, now_ms=now_ms)
        row = new_row(Message(type=INVALID, data={}), id_=self.job_id, queue=queue, now_ms=now_ms)
        # As a JSON string, so that a column of type JSON holds it too, and text that has no UTF-8 escaped.
        return row | {"data": msgspec.json.encode(_printable(self.body)).decode(), "status": Status.PENDING.value}

    def to_bury(self) -> str:
        """Return the body for the dead-letter queue; with its id, so that a copy asks for the same job."""
        if self.message is None:
            return self.body
        body = encode(msgspec.structs.replace(self.message, id=self.job_id))
        # In ASCII it may have become too long; what came was a pointer then.
        return body if len(body) <= MAX_BYTES else self.body


def read(record: Record) -> Delivery:
    """Return a record of an SQS event as a delivery. A body in the bucket is not read yet."""
    attributes, of_letter = record.attributes or _Attributes(), record.message_attributes or {}
    is_redriven = of_letter.keys() >= ATTRIBUTES
    # What is moved gets another id from SQS, and what cannot be read has none of its own.
    buried_as = of_letter["job_id"].string_value if is_redriven else None
    delivery = Delivery(
        job_id=buried_as or record.message_id,
        message_id=record.message_id,
        receipt_handle=record.receipt_handle,
        receives=attributes.approximate_receive_count,
        sent_ms=attributes.sent_timestamp,
        body=record.body or "",
        message=None,
        refusal=None,
        is_redriven=is_redriven,
    )
    return replace(delivery, is_unread=True) if is_pointer(delivery.body) else _decoded(delivery, delivery.body)


def read_body(delivery: Delivery, payloads: Payloads) -> Delivery:
    """Return a delivery with the body that is in the bucket; its refusal may pass where S3 does not give the body."""
    delivery = replace(delivery, is_unread=False)
    try:
        body = payloads.fetch(delivery.body)
    except (InvalidRequestError, PermanentError, TransientError) as error:
        return replace(delivery, refusal=error)
    return _decoded(delivery, body)


def _decoded(delivery: Delivery, body: str) -> Delivery:
    try:
        message = decode(body)
        check_envelope(message)
    except InvalidRequestError as error:
        return replace(delivery, refusal=error)
    return replace(delivery, message=message, job_id=message.id or delivery.job_id)


def read_records(event: object) -> tuple[list[Record], list[str]]:
    """Return the records of an SQS event that are messages, and why the others are none.

    Raises InvalidRequestError for what is no event with records.
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
            reasons.append(f"a record of {_source_of(record)} is no SQS message: {error}")
    return messages, reasons


def _source_of(record: object) -> str:
    # SNS writes it in another case than the others.
    source = (record.get("eventSource") or record.get("EventSource")) if isinstance(record, Mapping) else None
    return source[:64] if isinstance(source, str) else "an unknown source"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
