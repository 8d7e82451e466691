"""A message as SQS delivered it, and the job that it asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from chalicelib.errors import InvalidRequestError, NightshiftError, PermanentError, TransientError
from chalicelib.queue.dead_letters import ATTRIBUTES
from chalicelib.queue.job import Status, check_envelope, new_row
from chalicelib.queue.message import Message, decode, encode
from chalicelib.queue.payloads import MAX_BYTES, Payloads
from chalicelib.trace import Trace, trace_of

# The type of a job whose message says none that could be read.
INVALID = "invalid"


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

    @property
    def type(self) -> str:
        """The type of the job, as far as the message says."""
        return self.message.type if self.message else INVALID

    @property
    def is_first(self) -> bool:
        """Whether nobody can have recorded the job, as far as the message tells."""
        return self.receives == 1 and not self.is_redriven and self.job_id == self.message_id

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


def read(record: Mapping[str, Any], payloads: Payloads) -> Delivery:
    """Return a record of an SQS event as a delivery; its refusal may pass where S3 does not give the body."""
    message, refusal = None, None
    try:
        body = payloads.fetch(record["body"])
        decoded = decode(body)
        check_envelope(decoded)
        message = decoded
    except (InvalidRequestError, PermanentError, TransientError) as error:
        refusal = error
    attributes, of_letter = record.get("attributes") or {}, record.get("messageAttributes") or {}
    is_redriven = of_letter.keys() >= ATTRIBUTES
    # What is moved gets another id from SQS, and what cannot be read has none of its own.
    buried_as = of_letter.get("job_id", {}).get("stringValue") if is_redriven else None
    return Delivery(
        job_id=message.id if message and message.id else buried_as or record["messageId"],
        message_id=record["messageId"],
        receipt_handle=record["receiptHandle"],
        receives=int(attributes.get("ApproximateReceiveCount", 1)),
        sent_ms=int(attributes.get("SentTimestamp", 0)),
        body=record["body"],
        message=message,
        refusal=refusal,
        is_redriven=is_redriven,
    )


def read_records(event: object) -> Sequence[Mapping[str, Any]]:
    """Return the records of an SQS event. Raises InvalidRequestError for anything else."""
    records = event.get("Records", []) if isinstance(event, Mapping) else None
    if not isinstance(records, list) or (not records and event):
        raise InvalidRequestError("the worker takes SQS events, with their messages under Records; enqueue instead")
    return records


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
