"""An HTTP connection that is limited in time and bytes, to allowed addresses only.

A URL, or the owner of its host name, must not lead into the private network.
It uses http.client and not urllib3: the time limit has to cover reading headers and chunks, and Lambda decides the
version of urllib3.
"""

from __future__ import annotations

import io
import math
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote

from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import PermanentError, TransientError

T = TypeVar("T")

PORTS = {"https": 443, "http": 80}
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


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL."""
    return parts.port or PORTS.get(parts.scheme, 0)


def connect(parts: SplitResult, limits: Limits, wait_limit: WaitLimit) -> LimitedSocket:
    """Connect to the first allowed address that accepts, and start TLS for https.

    Raises RetryableError, TimedOutError, and PermanentError for an address that is not allowed.
    """
    host, port = parts.hostname or "", port_of(parts)
    errors: list[str] = []
    for address in resolve(host, port, is_internal=limits.is_internal):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = LimitedSocket(socket.socket(family), wait_limit, max_bytes=limits.max_bytes)
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


def send(
    sock: LimitedSocket, parts: SplitResult, method: str, *, headers: Mapping[str, str], body: bytes | None = None
) -> HTTPResponse:
    """Send a request over a connection, and return the response, whose body is to be read. Raises RetryableError."""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    authority = host if port_of(parts) == PORTS.get(parts.scheme) else f"{host}:{port_of(parts)}"
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe="%/?:@!$&'()*+,;=~[]")
    connection = HTTPConnection(host)
    # http.client uses a socket that is already connected, so it does not resolve the name a second time.
    connection.sock = sock
    try:
        connection.request(method, target, body=body, headers={"Host": authority, **headers})
        sock.send()
        received = connection.getresponse()
    except (OSError, HTTPException) as error:
        raise RetryableError(f"the connection to {host} broke: {error!r}") from error
    as_received = received.headers.items()
    unfolded = [(name, _FOLD.sub(" ", value).strip()) for name, value in as_received]
    if unfolded != as_received:
        received.headers = HTTPMessage()
        for name, value in unfolded:
            received.headers[name] = value
    return received


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


class LimitedSocket(io.RawIOBase):
    """A socket with what http.client needs, limited in waiting and to `max_bytes` received bytes."""

    def __init__(self, unconnected: socket.socket, wait_limit: WaitLimit, *, max_bytes: int) -> None:
        self._socket = unconnected
        self._wait_limit = wait_limit
        self._max_bytes = self._bytes_left = max_bytes
        self._unsent = b""

    def renew(self, wait_limit: WaitLimit) -> None:
        """Give a connection that is used again the limits of its next request."""
        self._wait_limit, self._bytes_left = wait_limit, self._max_bytes

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has arrived: the other side has not closed, and sent no more than was read."""
        readable = select.poll()
        readable.register(self._socket, select.POLLIN)
        return not readable.poll(0)

    def connect(self, address: str, port: int) -> None:
        """Connect the socket. Raises OSError."""
        self._wait_limit.wait(self._socket, lambda: self._socket.connect((address, port)), at_most=CONNECT_SECONDS)
        # With Nagle's algorithm, the end of a long request would wait until its beginning is acknowledged: up to 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start_tls(self, host: str) -> None:
        """Start TLS, and verify the certificate against the host's name. Raises OSError."""
        plain = self._socket
        self._socket = self._wait_limit.wait(plain, lambda: _tls().wrap_socket(plain, server_hostname=host))

    def sendall(self, data: bytes) -> None:
        """Keep bytes until `send`: http.client sends headers and body apart."""
        self._unsent += data

    def send(self) -> None:
        """Send the bytes that are kept."""
        data, self._unsent = self._unsent, b""
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
