"""The contract of a message: one JSON object with a `type` and `data`."""

import json
from typing import Any, TypeVar

import msgspec

from chalicelib.errors import InvalidRequestError

T = TypeVar("T")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A request for one job. Unknown keys are ignored."""

    type: str
    data: dict[str, Any]


_decoder = msgspec.json.Decoder(Message)


def decode(body: str) -> Message:
    """Return the message in an SQS body. Raises InvalidRequestError, which names what is wrong."""
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidRequestError(f"the message is not valid: {error}") from error


def encode(message: Message) -> str:
    """Return the SQS body of a message. Raises ValueError for numbers that JSON does not have."""
    return json.dumps(msgspec.to_builtins(message), separators=(",", ":"), allow_nan=False)


def read_data(data: dict[str, Any], payload: type[T]) -> T:
    """Return a message's data as its handler's payload type. Raises InvalidRequestError, which names the key."""
    try:
        return msgspec.convert(data, payload)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise InvalidRequestError(f"the message's data is not valid: {error}") from error
