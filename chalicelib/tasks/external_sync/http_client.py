"""A GET request that follows redirects within its origin, limited in decoded bytes too."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from urllib.parse import urljoin, urlsplit

from chalicelib.api import PermanentError
from chalicelib.core.http import Limits, RetryableError, WaitLimit, connect, port_of, send

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
READ_BYTES = 65_536
# zlib's code for a gzip header, the only encoding that is requested.
GZIP = 16 + zlib.MAX_WBITS
# The widths of the columns.
MAX_ETAG, MAX_LAST_MODIFIED = 255, 64
# The column `cursor` holds the URL and a position. Longer URLs are rare.
MAX_URL = 2000
HEADERS = {"Accept-Encoding": "gzip", "Connection": "close"}


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
        sock = connect(urlsplit(url), limits, wait_limit)
        try:
            conditions = validators.as_headers(url)
            received = send(sock, urlsplit(url), "GET", headers={**HEADERS, **headers, **conditions})
            if received.status in REDIRECTS:
                location = received.headers.get("Location")
                if not location:
                    raise PermanentError(f"the response is a redirect, {received.status}, without a Location")
                url = join(url, location, what=f"the redirect, {received.status},")
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
    try:
        other, first = ((parts.scheme, parts.hostname, port_of(parts)) for parts in map(urlsplit, (url, first_url)))
    except ValueError:
        raise PermanentError("it leads to something that is not a URL") from None
    if other != first:
        raise PermanentError(f"it leads to another host, {other[1]}, which is not followed")


def _validator(headers: Message, name: str, max_length: int) -> str | None:
    value = headers.get(name, "")
    # The source would refuse every request with a header that HTTP does not allow.
    return value if 0 < len(value) <= max_length and value.isprintable() else None


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
