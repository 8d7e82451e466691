"""Parse and validate the items of a source."""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from chalicelib.core.error_text import explain
from chalicelib.tasks.external_sync.sources import Source

# The width of the column.
MAX_ID = 255
# Fits every server's max_allowed_packet, even with every character escaped.
MAX_BYTES = 1024 * 1024
LATEST_MS = 253_402_300_799_999
MS = {"ms": 1, "s": 1000}

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Refused(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An item that is not stored, as received, with its id where it has one."""

    raw: bytes
    reason: str
    id: str | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An item with an id, not validated yet; `data` is the kept JSON, and `changed_at` is in ms.

    Two items of a source never have the same `content_hash`.
    """

    id: str
    data: bytes
    content_hash: str
    changed_at: int | None

    def refuse(self, reason: str) -> Refused:
        """Return the item as refused."""
        return Refused(raw=self.data, reason=reason, id=self.id)


class ItemParser:
    """Parses the items of one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._prefix = source.id_prefix
        names = {"id": source.id_field} | ({"changed": source.changed_field} if source.changed_field else {})
        # msgspec skips undeclared fields, which are most of an item.
        head = msgspec.defstruct("Head", [(name, Any, msgspec.UNSET) for name in names], rename=names, gc=False)
        self._head = msgspec.json.Decoder(head)
        self._valid = _validation(source)

    def parse(self, raw: bytes) -> Item | Refused:
        """Return the item, or why it is refused."""
        try:
            head: Any = self._head.decode(raw)
        except (ValueError, RecursionError) as error:
            return Refused(raw=bytes(raw), reason=f"it is not a valid JSON object: {explain(bytes(raw), error)}")
        try:
            id_ = self._read_id(head.id)
        except ValueError as error:
            return Refused(raw=bytes(raw), reason=f"its {self._source.id_field} {error}")
        try:
            changed_at = self._read_change(head.changed) if self._source.changed_field else None
        except (ValueError, OverflowError, TypeError) as error:
            reason = f"its {self._source.changed_field} is not a timestamp: {error}"
            return Refused(raw=bytes(raw), reason=reason, id=id_)
        data = self._keep(raw) if self._source.keep else bytes(raw)
        # With the id, which may not be kept: two items must not have the same hash.
        hashed = b"%b\0%b" % (id_.encode(), data) if self._source.keep else data
        return Item(id=id_, data=data, content_hash=sha256(hashed).hexdigest(), changed_at=changed_at)

    def validate(self, item: Item) -> str | None:
        """Return why an item is refused, or None."""
        if len(item.data) > MAX_BYTES:
            return f"it has {len(item.data):,} bytes, and {MAX_BYTES:,} are allowed"
        try:
            # Parsing has skipped most of it without decoding.
            item.data.decode()
            self._valid(item.data)
        except ValueError as error:
            return _printable(str(error) or type(error).__name__)
        except Exception as error:  # noqa: BLE001 (`valid` is the user's code: its errors refuse this item only)
            return _printable(f"{type(error).__name__}: {error}")
        return None

    def _read_id(self, value: Any) -> str:
        # Not isinstance, since a boolean is an int.
        if type(value) is not str and type(value) is not int:
            raise ValueError("is missing" if value is msgspec.UNSET else "is neither text nor a whole number")
        text = f"{self._prefix}{value}"
        if not len(self._prefix) < len(text) <= MAX_ID:
            raise ValueError(f"has {len(text)} characters, and 1 to {MAX_ID} are allowed")
        return text

    def _read_change(self, value: Any) -> int | None:
        if value is None or value is msgspec.UNSET:
            return None
        if self._source.changed_unit == "iso":
            moment = datetime.fromisoformat(value)
            milliseconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("it is not a number")
        else:
            milliseconds = float(value * MS[self._source.changed_unit])
        if not 0 <= milliseconds <= LATEST_MS:
            raise ValueError("it lies outside of 1970 to 9999")
        return round(milliseconds)

    def _keep(self, raw: bytes) -> bytes:
        # `parse` has decoded the head, so this is an object. Raw values keep every digit.
        fields = _FIELDS.decode(raw)
        return msgspec.json.encode({key: fields[key] for key in self._source.keep if key in fields})


def _printable(text: str) -> str:
    # Neither a log nor the database accepts a lone surrogate.
    return text.encode("utf-8", "backslashreplace").decode()


def _validation(source: Source) -> Callable[[bytes], object]:
    if source.valid is None:
        return lambda data: data
    if isinstance(source.valid, type):
        return msgspec.json.Decoder(source.valid).decode
    check: Callable[[Any], object] = source.valid
    return lambda data: check(msgspec.json.decode(data))
