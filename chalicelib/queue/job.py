"""A job: what a handler is given, its row in `jobs`, and the message that asks for it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Generic, TypeVar

import msgspec

from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.errors import InvalidRequestError
from chalicelib.queue.message import Message, decode_data, encode, to_text
from chalicelib.queue.payloads import LIMIT, MAX_BYTES

P = TypeVar("P")

# The type of a job of which nobody could read, or has read yet, what kind it is.
INVALID = "invalid"
# SQS keeps no message longer. Dispatch can make none for a body that is not read yet, so it waits for the one that
# came, and gives up the job when that one can come no more.
KEPT_MS = 14 * 86_400_000
# What a column of type TEXT holds.
MAX_ENVELOPE = 65_535
# SQS counts a dead letter's attributes too: the reason, the id and the type of error take no more than this.
_ATTRIBUTES = 8192


class Status(StrEnum):
    """Where a job stands; docs/lifecycle.md draws the moves."""

    PENDING = "pending"
    # Taken together with others of its batch, and perhaps not yet begun.
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
    """One unit of queued work as its handler sees it. `attempt` counts from one; `id` is the same for each."""

    id: str
    type: str
    payload: P
    attempt: int
    is_last_attempt: bool
    tags: tuple[str, ...] = ()
    source: str | None = None
    traceparent: str | None = None


def new_row(message: Message, *, id_: str, queue: str, now_ms: int) -> dict[str, Any]:
    """Return the row of a job that nobody has recorded yet."""
    due_ms = _ms(message.not_before) or 0
    key = message.idempotency_key
    return {
        "id": id_,
        "type": message.type,
        # Read or checked already, by whoever has the message.
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
    """Return what is unique for a type's idempotency key, whatever the database's collation takes for equal."""
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


def read_row(row: Any) -> Message:
    """Return the message that asks for the job of this row, which has the columns of `rows.OUTGOING`.

    Raises InvalidRequestError where it can be none.
    """
    if row.data_bytes > MAX_BYTES:
        raise InvalidRequestError(f"the job's data has {row.data_bytes} bytes, and {MAX_BYTES} are allowed")
    # Other services insert rows too, so anything may be wrong with one.
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
    # In ASCII short data may have become too long for a message too.
    is_short = len(encode(message)) <= LIMIT
    return message if is_short else msgspec.structs.replace(message, data={}, data_in_row=True)


def check(message: Message) -> None:
    """Raise InvalidRequestError for a message that no worker could read."""
    if (size := len(encode(message))) > MAX_BYTES:
        raise InvalidRequestError(f"the message has {size} bytes, and {MAX_BYTES} are allowed; send less data")


def raw_body(row: Any) -> str:
    """Return what comes nearest to a message for a row of which none can be made."""
    body = {"type": row.type, "data": {} if row.data is None else row.data, "id": row.id}
    # The row keeps what is too long, escaped or not.
    is_short = len(json.dumps(body)) <= LIMIT - _ATTRIBUTES
    return json.dumps(body if is_short else body | {"data": {}})


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_ms(moment)
