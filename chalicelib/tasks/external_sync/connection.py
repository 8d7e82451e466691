"""Connections for the sync: to allowed addresses only, and limited in time and bytes.

A source's URL, or the owner of its host name, must not lead the sync into the private network.
"""

import io
import math
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeVar

from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import PermanentError, TransientError

T = TypeVar("T")

# Short, so that there is time for the host's next address.
CONNECT_SECONDS = 5.0

# IANA's registries of special-purpose addresses. `is_global` alone differs between versions of Python.
# Outside of 2000::/3 there are IPv6 addresses that contain an IPv4 address, to which a gateway would connect: NAT64
# (64:ff9b::/96), IPv4-compatible (::/96), IPv4-translated (::ffff:0:0:0/96), Teredo and 6to4.
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
)
_INTERNAL = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
)
# AWS's own services within a VPC, such as the metadata of instances.
_AWS_LOCAL = IPv6Network("fd00:ec2::/32")


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


class LimitedSocket:
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
        return io.BufferedReader(_SocketReader(self))

    def receive_into(self, buffer: Any) -> int:
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


class _SocketReader(io.RawIOBase):
    def __init__(self, sock: LimitedSocket) -> None:
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._sock.receive_into(buffer)


def connect(addresses: Sequence[str], port: int, wait_limit: WaitLimit, *, max_bytes: int) -> LimitedSocket:
    """Connect to the first address that accepts. Raises RetryableError where none does."""
    errors: list[str] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = LimitedSocket(socket.socket(family), wait_limit, max_bytes=max_bytes)
        try:
            sock.connect(address, port)
            return sock
        except OSError as error:
            sock.close_socket()
            errors.append(f"{address}: {error}")
    raise RetryableError(f"there is no connection to {'; '.join(errors)}")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
