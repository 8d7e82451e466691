"""What an answer calls its version, so that the source can say that it has not changed."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message

# The columns' widths; what is longer is not worth more.
MAX_ETAG, MAX_LAST_MODIFIED = 255, 64
# Longer URLs are rare, and the column `cursor` has to hold this beside a position.
MAX_ADDRESS = 2000


@dataclass(frozen=True, kw_only=True)
class Validators:
    """The version of one answer: from which URL it came, and of which declaration of its source.

    Another URL may have the same version of another list, and another declaration keeps other parts of the items.
    """

    address: str = ""
    declared: str = ""
    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, headers: Message, *, address: str, declared: str) -> Validators:
        """Return those of an answer, as far as they can be kept and sent back."""
        etag, last_modified = _read(headers, "ETag", MAX_ETAG), _read(headers, "Last-Modified", MAX_LAST_MODIFIED)
        if len(address) > MAX_ADDRESS or (etag is None and last_modified is None):
            return cls()
        return cls(address=address, declared=declared, etag=etag, last_modified=last_modified)

    def as_headers(self, address: str) -> dict[str, str]:
        """Return the headers that ask a URL for its answer only where it is another one."""
        if address != self.address:
            return {}
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value is not None}


def _read(headers: Message, name: str, longest: int) -> str | None:
    value = headers.get(name, "")
    # What HTTP does not allow in a header would make a request that the source refuses each time.
    return value if 0 < len(value) <= longest and value.isprintable() else None
