"""A GET request that is limited in time and size, connects to checked addresses, and stays on one origin.

It uses http.client and not urllib3: the time limit has to cover reading headers and chunks, the size limit has to apply
while decoding, and Lambda decides the version of urllib3.
"""

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
from chalicelib.tasks.external_sync.connection import LimitedSocket, RetryableError, WaitLimit, connect, resolve

PORTS = {"https": 443, "http": 80}
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_BYTES = 65_536
# zlib's code for a gzip header, the only encoding that is requested.
GZIP = 16 + zlib.MAX_WBITS
# The widths of the columns.
MAX_ETAG, MAX_LAST_MODIFIED = 255, 64
# The column `cursor` holds the URL and a position. Longer URLs are rare.
MAX_URL = 2000
# RFC 9112, 5.2: a header that continues on the next line reads as one line.
_FOLD = re.compile(r"[ \t]*[\r\n]+[ \t]*")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The seconds to wait in all, and the bytes, received and decoded; and whether private addresses are allowed."""

    seconds: float
    max_bytes: int
    is_internal: bool


@dataclass(frozen=True, kw_only=True)
class Validators:
    """The version of a response (ETag, Last-Modified), its URL, and the fingerprint of its source's declaration.

    The same version at another URL may be another list; another declaration keeps other parts of the items.
    """

    url: str = ""
    declared: str = ""
    etag: str | None = None
    last_modified: str | None = None

    @classmethod
    def of(cls, headers: Message, *, url: str, declared: str) -> Validators:
        """Return the validators of a response, as far as they can be stored and sent."""
        etag = _validator(headers, "ETag", MAX_ETAG)
        last_modified = _validator(headers, "Last-Modified", MAX_LAST_MODIFIED)
        if len(url) > MAX_URL or (etag is None and last_modified is None):
            return cls()
        return cls(url=url, declared=declared, etag=etag, last_modified=last_modified)

    def as_headers(self, url: str) -> dict[str, str]:
        """Return the headers that make a request for this URL conditional; none for another URL."""
        if url != self.url:
            return {}
        named = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Response:
    """The status, the headers, the URL after redirects, and the decoded body, which can be read once."""

    status: int
    headers: Message
    url: str
    body: Iterator[bytes]


@contextmanager
def get(
    url: str, *, headers: Mapping[str, str], limits: Limits, validators: Validators | None = None
) -> Iterator[Response]:
    """Request a URL, follow redirects within its origin, and return the response, whatever its status.

    `validators` are sent only to the URL that they came from. Raises RetryableError where the connection fails,
    TimedOutError, and PermanentError for an address or a redirect that is not allowed and for a response that is too
    long. Reading the body raises the same errors.
    """
    first_url, wait_limit, validators = url, WaitLimit(limits.seconds), validators or Validators()
    for _ in range(MAX_REDIRECTS + 1):
        sock = _connect(urlsplit(url), limits, wait_limit)
        try:
            received = _request(sock, urlsplit(url), {**headers, **validators.as_headers(url)})
            if received.status in REDIRECTS:
                url = _redirect(url, received)
                check_origin(url, first_url)
                continue
            body = _decoded(received, max_bytes=limits.max_bytes)
            yield Response(status=received.status, headers=received.headers, url=url, body=body)
            return
        finally:
            sock.close_socket()
    raise PermanentError(f"more than {MAX_REDIRECTS} redirects follow one another")


def join(url: str, reference: str, *, what: str) -> str:
    """Return the URL of a reference in a response. Raises PermanentError, which begins with `what`."""
    try:
        return urljoin(url, reference)
    except ValueError:
        raise PermanentError(f"{what} leads to {reference[:60]!r}, which is not a URL") from None


def check_origin(url: str, first_url: str) -> None:
    """Raise PermanentError where the scheme, host or port differs: another origin must not get the credential."""
    if _origin(url) != _origin(first_url):
        raise PermanentError(f"it leads to another host, {urlsplit(url).hostname}, which is not followed")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, _port(parts)
    except ValueError:
        raise PermanentError("it leads to something that is not a URL") from None


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS.get(parts.scheme, 0)


def _validator(headers: Message, name: str, max_length: int) -> str | None:
    value = headers.get(name, "")
    # The source would refuse every request with a header that HTTP does not allow.
    return value if 0 < len(value) <= max_length and value.isprintable() else None


def _connect(parts: SplitResult, limits: Limits, wait_limit: WaitLimit) -> LimitedSocket:
    host, port = parts.hostname or "", _port(parts)
    allowed = resolve(host, port, is_internal=limits.is_internal)
    sock = connect(allowed, port, wait_limit, max_bytes=limits.max_bytes)
    try:
        if parts.scheme == "https":
            sock.start_tls(host)
    except OSError as error:
        sock.close_socket()
        raise RetryableError(f"{host} speaks no TLS that can be trusted: {error}") from error
    return sock


def _request(sock: LimitedSocket, parts: SplitResult, headers: Mapping[str, str]) -> HTTPResponse:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    authority = host if _port(parts) == PORTS.get(parts.scheme) else f"{host}:{_port(parts)}"
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%/?:@!$&'()*+,;=~[]")
    connection = HTTPConnection(host)
    # http.client uses a socket that is already connected, so it does not resolve the name a second time.
    connection.sock = sock
    try:
        defaults = {"Host": authority, "Accept-Encoding": "gzip", "Connection": "close"}
        connection.request("GET", target, headers={**defaults, **headers})
        received = connection.getresponse()
    except (OSError, HTTPException) as error:
        raise RetryableError(f"the connection to {host} broke: {error!r}") from error
    received.headers = _unfold(received.headers)
    return received


def _unfold(headers: HTTPMessage) -> HTTPMessage:
    unfolded = HTTPMessage()
    for name, value in headers.items():
        unfolded[name] = _FOLD.sub(" ", value).strip()
    return unfolded


def _redirect(url: str, received: HTTPResponse) -> str:
    location = received.headers.get("Location")
    if not location:
        raise PermanentError(f"the response is a redirect, {received.status}, without a Location")
    return join(url, location, what=f"the redirect, {received.status},")


def _decoded(received: HTTPResponse, *, max_bytes: int) -> Iterator[bytes]:
    # Proxies send an empty header where nothing is encoded.
    coding = received.headers.get("Content-Encoding", "").lower() or "identity"
    if coding not in {"identity", "gzip"}:
        raise PermanentError(f"the response is encoded as {coding[:40]}, which was not requested")
    decoded = 0
    for data in _inflate(_read(received)) if coding == "gzip" else _read(received):
        decoded += len(data)
        if decoded > max_bytes:
            raise PermanentError(f"the response has more than the {max_bytes:,} bytes that it may have")
        yield data


def _read(received: HTTPResponse) -> Iterator[bytes]:
    try:
        while data := received.read1(READ_BYTES):
            yield data
    except (OSError, HTTPException) as error:
        raise RetryableError(f"the response broke off: {error!r}") from error
    # read1 does not report an early end.
    if received.length:
        raise RetryableError(f"the response broke off, {received.length:,} bytes before its end")


def _inflate(compressed: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(GZIP)
    try:
        for data in compressed:
            while data:
                if member.eof:
                    member = zlib.decompressobj(GZIP)
                # A few bytes may decode to very many: read at most READ_BYTES of them at once.
                yield member.decompress(data, READ_BYTES)
                data = member.unconsumed_tail or member.unused_data
        yield member.flush()
    except zlib.error as error:
        raise RetryableError(f"the response is not valid gzip: {error}") from error
    if not member.eof:
        raise RetryableError("the response broke off within its gzip")
