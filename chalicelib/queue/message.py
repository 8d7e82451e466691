"""The contract of a message: one JSON object with a `type` and `data`, or the `id` of a job's row.

It is read more strictly than JSON itself.
"""

import json
import re
import reprlib
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from chalicelib.core import telemetry
from chalicelib.core.error_text import explain, hint
from chalicelib.core.errors import InvalidRequestError

T = TypeVar("T")

# The type of a job whose message is not readable, not read yet, or only the id of its row.
INVALID = "invalid"
# Levels of a message; its data may have one less, so that the `data` of any row fits into a message.
MAX_DEPTH = 64
TEN_YEARS_SECONDS = 3653 * 86_400
# Characters: the reason must fit into a log line and into a message attribute.
MAX_REASON = 300

Label = Annotated[str, Meta(min_length=1, max_length=128)]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A request for one job. docs/message.schema.json says what each key means; `unknown` keeps all other keys."""

    type: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z")]
    data: dict[str, Any]
    id: Annotated[str, Meta(pattern=r"^[!-~]{1,36}\Z")] | None = None
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    unique_for: Annotated[int, Meta(ge=1, le=TEN_YEARS_SECONDS)] | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None
    tags: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...], Meta(max_length=16)] = ()
    source: Label | None = None
    # The data is in the job's row: it is too long for a message, or the sender sent only the id.
    data_in_row: bool = False
    # A message that a run or a job makes continues its trace by default.
    traceparent: Label | None = msgspec.field(default_factory=telemetry.traceparent)
    unknown: dict[str, Any] = {}


REQUIRED = frozenset({"type", "data"})
KNOWN = frozenset(Message.__struct_fields__) - {"unknown"} | {"v"}
MOMENTS = ("not_before", "expires_at")
# msgspec's error for an unknown key of the outermost object.
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")
NOT_PLAIN = "it holds what JSON would change; use text as keys, lists, and plain values"
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def decode(body: str) -> Message:
    """Return the message in an SQS body, its moments in UTC. Raises InvalidRequestError, which names the fault."""
    tree = _read(body, "the message", depth=MAX_DEPTH)
    if tree.get("id") is not None and tree.keys().isdisjoint(REQUIRED):
        tree |= {"type": INVALID, "data": {}, "data_in_row": True}
    if isinstance(tree.get("data"), str):
        tree["data"] = decode_data(tree["data"])
    known = {key: value for key, value in tree.items() if key in KNOWN and (value is not None or key in REQUIRED)}
    known["unknown"] = {key: value for key, value in tree.items() if key not in KNOWN}
    # A message without one begins a trace.
    known.setdefault("traceparent", None)
    try:
        version = known.pop("v", 1)
        if isinstance(version, bool) or version != 1:
            raise ValueError(f"v is {reprlib.repr(version)}, and the only version is 1")
        for key in MOMENTS:
            if key in known:
                known[key] = _read_moment(key, known[key])
        message = msgspec.convert(known, Message)
        _check_pairs(message)
    except ValueError as error:
        raise _invalid("the message", error) from error
    return message


def encode(message: Message) -> str:
    """Return the SQS body of a message, in ASCII. Raises InvalidRequestError if a worker could not decode it."""
    fields = msgspec.structs.asdict(message)
    unknown = fields.pop("unknown")
    if not message.data_in_row:
        del fields["data_in_row"]
    elif message.type == INVALID:
        del fields["type"], fields["data"], fields["data_in_row"]
    for key in MOMENTS:
        if fields[key] is not None:
            fields[key] = _write_moment(key, fields[key])
    body = _write({key: value for key, value in fields.items() if value not in (None, ())} | unknown, "the message")
    decoded = decode(body)
    if decoded.data != message.data or decoded.unknown != unknown:
        raise _invalid("the message", NOT_PLAIN)
    return body


def decode_data(text: str) -> dict[str, Any]:
    """Return the object in the text of a message's data. Raises InvalidRequestError, which names the fault."""
    return _read(text, "the job's data", depth=MAX_DEPTH - 1)


def encode_data(data: dict[str, Any]) -> str:
    """Return a message's data as text, in ASCII. Raises InvalidRequestError if a worker could not decode it."""
    text = _write(data, "the job's data")
    if decode_data(text) != data:
        raise _invalid("the job's data", NOT_PLAIN)
    return text


def to_text(tree: dict[str, Any]) -> str:
    """Return checked JSON as text, in ASCII: a column of any character set holds it."""
    return _encoder.encode(tree)


def read_data(data: dict[str, Any], payload: type[T]) -> T:
    """Return a message's data as its handler's payload type. Raises InvalidRequestError, which names the key."""
    try:
        return msgspec.convert(data, payload)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        unknown = _UNKNOWN.fullmatch(str(error))
        meant = hint(unknown[1], getattr(payload, "__struct_encode_fields__", ())) if unknown else ""
        raise _invalid("the job's data", f"{error}{meant}") from error


def _read(text: str, what: str, *, depth: int) -> dict[str, Any]:
    try:
        # Only the first refuses repeated keys and long integers, only the second lone surrogates and 1e999.
        _checker.decode(text)
        tree = _decoder.decode(text)
        if text.count("{") + text.count("[") > depth and _is_deeper(tree, depth):
            raise RecursionError
    except RecursionError as error:
        raise _invalid(what, f"it nests more than {depth} levels deep") from error
    except ValueError as error:
        raise _invalid(what, explain(text, error)) from error
    return tree


def _check_object(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {reprlib.repr(key)} comes twice in one object")


def _check_integer(digits: str) -> None:
    # 21 characters are enough to decide, and Python refuses to read thousands.
    if len(digits) > 18 and not -(2**63) <= int(digits[:21]) < 2**63:
        raise ValueError(f"the integer {digits:.21} does not fit into 64 bits; send it as a string")


def _check_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON; send null or a string")


_checker = json.JSONDecoder(object_pairs_hook=_check_object, parse_int=_check_integer, parse_constant=_check_constant)
_decoder = msgspec.json.Decoder(dict[str, Any])
_encoder = json.JSONEncoder(separators=(",", ":"))


def _is_deeper(tree: Any, depth: int) -> bool:
    level = [tree]
    for _ in range(depth):
        children = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in children if isinstance(child, dict | list)]
    return bool(level)


def _check_pairs(message: Message) -> None:
    if message.unique_for is not None and message.idempotency_key is None:
        raise ValueError("unique_for needs an idempotency_key; send both")
    if message.not_before and message.expires_at and message.expires_at <= message.not_before:
        raise ValueError("expires_at must be later than not_before")


def _read_moment(key: str, text: object) -> datetime:
    if isinstance(text, str) and _RFC3339.fullmatch(text):
        with suppress(msgspec.ValidationError, OverflowError):
            return msgspec.convert(text, datetime).astimezone(UTC)
    raise ValueError(f"{key} must be a moment with a zone as RFC 3339 has it, such as 2016-08-04T08:00:00Z")


def _write_moment(key: str, moment: object) -> str:
    if not isinstance(moment, datetime):
        raise _invalid("the message", f"{key} must be a datetime with a zone, and not {reprlib.repr(moment)}")
    # A moment without a zone, or outside the years of UTC, stays as it is: decoding refuses it.
    if moment.utcoffset() is not None:
        with suppress(OverflowError):
            moment = moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


def _write(tree: dict[str, Any], what: str) -> str:
    try:
        return _encoder.encode(tree)
    except (TypeError, ValueError, RecursionError) as error:
        raise _invalid(what, error) from error


def _invalid(what: str, reason: object) -> InvalidRequestError:
    text = str(reason)
    return InvalidRequestError(f"{what} is not valid: {text if len(text) <= MAX_REASON else text[:MAX_REASON] + '…'}")
