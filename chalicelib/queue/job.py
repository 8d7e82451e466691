"""A job: its fields, its row in `jobs`, and the message that asks for it."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar

import msgspec
from sqlalchemy import bindparam, case, func

from chalicelib.core import telemetry
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.errors import InvalidRequestError
from chalicelib.queue.message import Message, decode_data, encode, to_text
from chalicelib.queue.payloads import LIMIT, MAX_BYTES
from chalicelib.schema import jobs

P = TypeVar("P")
QueueName = Literal["work", "priority"]

# The longest that SQS keeps a message. Dispatch cannot make one for a body that is not read yet, so it waits for the
# original message, and gives the job up when that message has expired.
KEPT_MS = 14 * 86_400_000
# Bytes that a TEXT column holds.
MAX_ENVELOPE = 65_535
# SQS counts a dead letter's attributes too: the reason, the id and the type of error take at most this many bytes.
_ATTRIBUTES = 8192
# Longer data stays in its row until the job is performed, so that no number of rows takes much memory.
SHORT_BYTES = LIMIT

DATA_BYTES = func.length(jobs.c.data)
# Looked up when a statement is executed.
_SHORT_BYTES: Any = bindparam("short_bytes", callable_=lambda: SHORT_BYTES)
SHORT_DATA = case((DATA_BYTES <= _SHORT_BYTES, jobs.c.data)).label("data")
# The columns that a message is made of; none of any length.
_SHORT = (column for column in jobs.c if column.name not in {"data", "result"})
OUTGOING = (*_SHORT, SHORT_DATA, DATA_BYTES.label("data_bytes"))


class Status(StrEnum):
    """Where a job stands; docs/lifecycle.md draws the moves."""

    PENDING = "pending"
    # Claimed with others of its batch, and perhaps not begun yet.
    CLAIMED = "claimed"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


WAITING = (Status.PENDING, Status.FAILED)
TAKEN = (Status.CLAIMED, Status.PROCESSING)
OVER = (Status.COMPLETED, Status.CANCELLED, Status.EXPIRED, Status.DEAD)


@dataclass(frozen=True, kw_only=True)
class Job(Generic[P]):
    """One unit of queued work, as `enqueue_many` takes it and its handler gets it; docs/queue.md explains each field.

    `attempt` counts from one; each attempt has the same `id`. What only says when to perform the job (`run_at`,
    `expires_at`, `unique_for`) its handler does not get.
    """

    type: str
    payload: P
    run_at: datetime | None = None
    expires_at: datetime | None = None
    idempotency_key: str | None = None
    unique_for: int | None = None
    tags: tuple[str, ...] = ()
    source: str | None = None
    # A job that a run or another job enqueues continues its trace.
    traceparent: str | None = field(default_factory=telemetry.traceparent)
    queue: QueueName = "work"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    attempt: int = 0
    is_last_attempt: bool = False


def to_message(job: Job[Any]) -> Message:
    """Return the message of a new job. Raises InvalidRequestError if a worker could not read it."""
    message = Message(
        type=job.type,
        data=dict(job.payload),
        id=job.id,
        idempotency_key=job.idempotency_key,
        unique_for=job.unique_for,
        not_before=job.run_at,
        expires_at=job.expires_at,
        tags=job.tags,
        source=job.source,
        traceparent=job.traceparent,
    )
    if (size := len(encode(message))) > MAX_BYTES:
        raise InvalidRequestError(f"the message has {size} bytes, and {MAX_BYTES} are allowed; send less data")
    return message


def new_row(message: Message, *, id_: str, queue: str, now_ms: int) -> dict[str, Any]:
    """Return the row of a new job."""
    due_ms = _ms(message.not_before) or 0
    key = message.idempotency_key
    return {
        "id": id_,
        "type": message.type,
        # The caller has decoded or checked the message.
        "data": to_text(message.data),
        "status": Status.PENDING.value,
        "created_at": now_ms,
        "queue": queue,
        "due_at": due_ms,
        "dispatch_at": due_ms,
        "expires_at": _ms(message.expires_at),
        "idempotency_key": key,
        "unique_key": None if key is None else digest_of(message.type, key),
        "unique_until": now_ms + 1000 * message.unique_for if message.unique_for else None,
        "envelope": _envelope(message),
        "attempts": 0,
        "slot_at": None,
        "lease_until": 0,
        "claimed_by": None,
    }


def digest_of(type_: str, key: str) -> str:
    """Return a type's idempotency key as a digest, which every collation compares exactly."""
    return sha256(f"{type_}\0{key}".encode()).hexdigest()


def _envelope(message: Message) -> str | None:
    kept = {"tags": list(message.tags), "source": message.source, "traceparent": message.traceparent}
    kept = {key: value for key, value in kept.items() if value} | message.unknown
    return to_text(kept) if kept else None


def check_envelope(message: Message) -> None:
    """Raise InvalidRequestError for a message whose row could not hold its other keys."""
    if message.unknown and len((_envelope(message) or "").encode()) > MAX_ENVELOPE:
        raise InvalidRequestError(f"the message's own keys take more than {MAX_ENVELOPE} bytes; put them into its data")


def envelope_of(row: Any) -> Mapping[str, Any]:
    """Return the keys of the job's message that have no column."""
    return msgspec.json.decode(row.envelope) if row.envelope else {}


def message_of(row: Any) -> Message:
    """Return the message for the job of this row, which has the columns OUTGOING. Raises InvalidRequestError."""
    if row.data_bytes > MAX_BYTES:
        raise InvalidRequestError(f"the job's data has {row.data_bytes} bytes, and {MAX_BYTES} are allowed")
    # Other services insert rows too: validate them.
    try:
        envelope = dict(envelope_of(row))
        message = Message(
            type=row.type,
            data={} if row.data is None else decode_data(row.data),
            data_in_row=row.data is None,
            id=row.id,
            idempotency_key=row.idempotency_key,
            expires_at=None if row.expires_at is None else from_ms(row.expires_at),
            tags=tuple(envelope.pop("tags", ())),
            source=envelope.pop("source", None),
            traceparent=envelope.pop("traceparent", None),
            unknown=envelope,
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidRequestError(f"the job's row is not valid: {error}") from error
    # In ASCII, short data may have become too long for a message.
    is_short = len(encode(message)) <= LIMIT
    return message if is_short else msgspec.structs.replace(message, data={}, data_in_row=True)


def dead_letter_body(row: Any) -> str:
    """Return a dead letter's body for a row that is not a valid message."""
    body = {"type": row.type, "data": {} if row.data is None else row.data, "id": row.id}
    # Data that is too long, escaped or not, stays in the row.
    is_short = len(json.dumps(body)) <= LIMIT - _ATTRIBUTES
    return json.dumps(body if is_short else body | {"data": {}})


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
