"""URLs that an answer leads to: they are another system's text, and must stay within its origin."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from chalicelib.core.errors import PermanentError
from chalicelib.tasks.external_sync.connection import Patience, TryAgainError, Wire, connect, resolve

PORTS = {"https": 443, "http": 80}


def join(address: str, reference: str, *, what: str) -> str:
    """Return the URL of a reference in an answer from an address. Raises PermanentError for `what` is not a URL."""
    try:
        return urljoin(address, reference)
    except ValueError:
        raise PermanentError(f"{what} leads to {reference[:60]!r}, which is not a URL") from None


def check_origin(address: str, asked: str) -> None:
    """Raise PermanentError for a URL of another scheme, host or port: it would be sent the credential."""
    if _origin(address) != _origin(asked):
        raise PermanentError(f"it leads to another host, {urlsplit(address).hostname}, which is not followed")


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL, the usual one of its scheme where it names none."""
    return parts.port or PORTS.get(parts.scheme, 0)


def _origin(address: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(address)
        return parts.scheme, parts.hostname, port_of(parts)
    except ValueError:
        raise PermanentError("it leads to what is not a URL") from None


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


MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PIECE_BYTES = 65_536
# As the standard library's constant for a gzip header has it: only gzip, which is all that we ask for.
GZIP = 16 + zlib.MAX_WBITS
# RFC 9112, 5.2: a header that goes on in the next line reads as one line.
_FOLD = re.compile(r"[ \t]*[\r\n]+[ \t]*")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an answer may take: seconds of waiting, and bytes, as they come and decoded; and where it may come from."""

    seconds: float
    max_bytes: int
    is_internal: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, headers, where it came from in the end, and the pieces of the decoded body, to be read once."""

    status: int
    headers: Message
    address: str
    pieces: Iterator[bytes]


@contextmanager
def get(
    address: str, *, headers: Mapping[str, str], limits: Limits, validators: Validators | None = None
) -> Iterator[Answer]:
    """Ask for a URL and give the answer, whatever its status, following redirects within its origin.

    `validators` are sent to the URL that they came from, and to no other that a redirect leads through.
    Raises TryAgainError where the connection fails, TimedOutError, and PermanentError for an address or a redirect
    that is not allowed and for an answer that is too long. So does reading the pieces.
    """
    asked, patience, validators = address, Patience(limits.seconds), validators or Validators()
    for _ in range(MAX_REDIRECTS + 1):
        wire = _connect(urlsplit(address), limits, patience)
        try:
            response = _request(wire, urlsplit(address), {**headers, **validators.as_headers(address)})
            if response.status in REDIRECTS:
                address = _follow(address, response)
                check_origin(address, asked)
                continue
            pieces = _pieces(response, max_bytes=limits.max_bytes)
            yield Answer(status=response.status, headers=response.headers, address=address, pieces=pieces)
            return
        finally:
            wire.shut()
    raise PermanentError(f"more than {MAX_REDIRECTS} redirects follow one another")


def _connect(parts: SplitResult, limits: Limits, patience: Patience) -> Wire:
    host, port = parts.hostname or "", port_of(parts)
    allowed = resolve(host, port, is_internal=limits.is_internal)
    wire = connect(allowed, port, patience, max_bytes=limits.max_bytes)
    try:
        if parts.scheme == "https":
            wire.encrypt(host)
    except OSError as error:
        wire.shut()
        raise TryAgainError(f"{host} speaks no TLS that can be trusted: {error}") from error
    return wire


def _request(wire: Wire, parts: SplitResult, headers: Mapping[str, str]) -> HTTPResponse:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    named = host if port_of(parts) == PORTS.get(parts.scheme) else f"{host}:{port_of(parts)}"
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%/?:@!$&'()*+,;=~[]")
    connection = HTTPConnection(host)
    # What is connected already it does not connect, so that nothing resolves the name a second time.
    connection.sock = wire
    try:
        usual = {"Host": named, "Accept-Encoding": "gzip", "Connection": "close"}
        connection.request("GET", target, headers={**usual, **headers})
        response = connection.getresponse()
    except (OSError, HTTPException) as error:
        raise TryAgainError(f"the connection to {host} broke: {error!r}") from error
    response.headers = _unfold(response.headers)
    return response


def _unfold(headers: HTTPMessage) -> HTTPMessage:
    unfolded = HTTPMessage()
    for name, value in headers.items():
        unfolded[name] = _FOLD.sub(" ", value).strip()
    return unfolded


def _follow(address: str, response: HTTPResponse) -> str:
    location = response.headers.get("Location")
    if not location:
        raise PermanentError(f"the answer is a redirect, {response.status}, that leads nowhere")
    return join(address, location, what=f"the redirect, {response.status},")


def _pieces(response: HTTPResponse, *, max_bytes: int) -> Iterator[bytes]:
    # Proxies send it empty where nothing is encoded.
    coding = response.headers.get("Content-Encoding", "").lower() or "identity"
    if coding not in {"identity", "gzip"}:
        raise PermanentError(f"the answer is encoded as {coding[:40]}, which was not asked for")
    decoded = 0
    for piece in _inflate(_received(response)) if coding == "gzip" else _received(response):
        decoded += len(piece)
        if decoded > max_bytes:
            raise PermanentError(f"the answer has more than the {max_bytes:,} bytes that it may have")
        yield piece


def _received(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while piece := response.read1(PIECE_BYTES):
            yield piece
    except (OSError, HTTPException) as error:
        raise TryAgainError(f"the answer broke off: {error!r}") from error
    # read1 is silent about an end that comes too early.
    if response.length:
        raise TryAgainError(f"the answer broke off, {response.length:,} bytes before its end")


def _inflate(pieces: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(GZIP)
    try:
        for piece in pieces:
            while piece:
                if member.eof:
                    member = zlib.decompressobj(GZIP)
                # A little input may be a lot of output, so it comes in pieces too.
                yield member.decompress(piece, PIECE_BYTES)
                piece = member.unconsumed_tail or member.unused_data
        yield member.flush()
    except zlib.error as error:
        raise TryAgainError(f"the answer is no valid gzip: {error}") from error
    if not member.eof:
        raise TryAgainError("the answer broke off within its gzip")
