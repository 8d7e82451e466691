"""A GET request that is limited in time and bytes, connects to allowed addresses only, and stays on one origin.

A source's URL, or the owner of its host name, must not lead the sync into the private network.
It uses http.client and not urllib3: the time limit has to cover reading headers and chunks, the size limit has to apply
while decoding, and Lambda decides the version of urllib3.
"""

from __future__ import annotations

import io
import math
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from chalicelib.api import PermanentError, TransientError
from chalicelib.core.deadline import TimedOutError

T = TypeVar("T")

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
# Short, so that there is time for the host's next address.
CONNECT_SECONDS = 5.0

# IANA's registries of special-purpose addresses. `is_global` alone differs between versions of Python.
# Outside of 2000::/3 there are IPv6 addresses that contain an IPv4 address, to which a gateway would connect: NAT64
# (64:ff9b::/96), IPv4-compatible (::/96), IPv4-translated (::ffff:0:0:0/96), Teredo and 6to4.
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC = tuple(
    map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
)
_INTERNAL_V4 = ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_INTERNAL = tuple(map(ip_network, (*_INTERNAL_V4, "::1/128", "fc00::/7")))
# AWS's own services within a VPC, such as the metadata of instances.
_AWS_LOCAL = IPv6Network("fd00:ec2::/32")


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
        other, first = ((parts.scheme, parts.hostname, _port(parts)) for parts in map(urlsplit, (url, first_url)))
    except ValueError:
        raise PermanentError("it leads to something that is not a URL") from None
    if other != first:
        raise PermanentError(f"it leads to another host, {other[1]}, which is not followed")


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS.get(parts.scheme, 0)


def _validator(headers: Message, name: str, max_length: int) -> str | None:
    value = headers.get(name, "")
    # The source would refuse every request with a header that HTTP does not allow.
    return value if 0 < len(value) <= max_length and value.isprintable() else None


def _connect(parts: SplitResult, limits: Limits, wait_limit: WaitLimit) -> _LimitedSocket:
    """Connect to the first allowed address that accepts, and start TLS for https."""
    host, port = parts.hostname or "", _port(parts)
    errors: list[str] = []
    for address in resolve(host, port, is_internal=limits.is_internal):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = _LimitedSocket(socket.socket(family), wait_limit, max_bytes=limits.max_bytes)
        try:
            sock.connect(address, port)
        except OSError as error:
            sock.close_socket()
            errors.append(f"{address}: {error}")
            continue
        try:
            if parts.scheme == "https":
                sock.start_tls(host)
            return sock
        except OSError as error:
            sock.close_socket()
            raise RetryableError(f"{host} speaks no TLS that can be trusted: {error}") from error
    raise RetryableError(f"there is no connection to {'; '.join(errors)}")


def _request(sock: _LimitedSocket, parts: SplitResult, headers: Mapping[str, str]) -> HTTPResponse:
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
    unfolded = HTTPMessage()
    for name, value in received.headers.items():
        unfolded[name] = _FOLD.sub(" ", value).strip()
    received.headers = unfolded
    return received


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


class RetryableError(TransientError):
    """A request failed, but a retry within seconds may succeed; `wait_seconds` is the server's delay."""

    def __init__(self, message: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


def resolve(host: str, port: int, *, is_internal: bool) -> list[str]:
    """Return the addresses of a host that are allowed; connect to these and not to the name.

    Allows public addresses; with `is_internal` also private networks and this machine, but never link-local addresses,
    which serve the metadata of machines. Raises PermanentError where none is allowed, RetryableError where the name
    does not resolve.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise PermanentError(f"{host} is not a valid host name") from None
    except OSError as error:
        raise RetryableError(f"{host} has no address: {error}") from error
    # Without duplicates, in their order.
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    allowed = [address for address in addresses if _is_allowed(address, is_internal=is_internal)]
    if not allowed:
        raise PermanentError(f"{host} leads to {addresses[0]}, which is not an address that may be connected to")
    return allowed


def _is_allowed(text: str, *, is_internal: bool) -> bool:
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if is_internal and any(address in network for network in _INTERNAL):
        return address not in _AWS_LOCAL
    if any(address in network for network in _NOT_PUBLIC) or address.is_multicast or address.is_reserved:
        return False
    return address.is_global if isinstance(address, IPv4Address) else address in _PUBLIC_V6


class WaitLimit:
    """A limit on the total time spent waiting for a socket; a time-out for each read would not stop a slow drip."""

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left = seconds

    def wait(self, connected: socket.socket, call: Callable[[], T], *, at_most: float = math.inf) -> T:
        """Return the result of a call that waits for a socket.

        Raises TimedOutError when the total is spent, TimeoutError when only this call has waited `at_most` seconds.
        """
        started = time.monotonic()
        try:
            connected.settimeout(max(min(self._left, at_most), 0.001))
            return call()
        except TimeoutError:
            if at_most < self._left:
                raise
            raise TimedOutError(f"the response took longer than the {self._seconds:.3g} s that it may take") from None
        finally:
            self._left -= time.monotonic() - started


class _LimitedSocket(io.RawIOBase):
    """A socket with what http.client needs, limited in waiting and to `max_bytes` received bytes."""

    def __init__(self, unconnected: socket.socket, wait_limit: WaitLimit, *, max_bytes: int) -> None:
        self._socket = unconnected
        self._wait_limit = wait_limit
        self._max_bytes = self._bytes_left = max_bytes

    def connect(self, address: str, port: int) -> None:
        """Connect the socket. Raises OSError."""
        self._wait_limit.wait(self._socket, lambda: self._socket.connect((address, port)), at_most=CONNECT_SECONDS)

    def start_tls(self, host: str) -> None:
        """Start TLS, and verify the certificate against the host's name. Raises OSError."""
        plain = self._socket
        self._socket = self._wait_limit.wait(plain, lambda: _tls().wrap_socket(plain, server_hostname=host))

    def sendall(self, data: Any) -> None:
        """Send bytes."""
        self._wait_limit.wait(self._socket, lambda: self._socket.sendall(data))

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file of the received bytes."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """Return that there are bytes to receive."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive at least one byte into the buffer, except at the end. Raises PermanentError for too many bytes."""
        received = self._wait_limit.wait(self._socket, lambda: self._socket.recv_into(buffer))
        self._bytes_left -= received
        if self._bytes_left < 0:
            raise PermanentError(f"the response has more than the {self._max_bytes:,} bytes that it may have")
        return received

    def close(self) -> None:
        """Do nothing: http.client closes after the headers, and then reads on."""

    def close_socket(self) -> None:
        """Close the socket."""
        self._socket.close()


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
