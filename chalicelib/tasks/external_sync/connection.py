"""The one error of the sync's own: what another server refused for now, and for how long."""

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


class TryAgainError(TransientError):
    """A request failed in a way that a repetition within seconds may mend; `wait_seconds` is what the server asks."""

    def __init__(self, message: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


# By IANA's registries of special-purpose addresses, and not by `is_global` alone, which differs between Pythons.
# The other addresses of IPv6 include those that hold one of IPv4, which a gateway would connect to: NAT64
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
# AWS's own services within a VPC, the metadata of instances among them.
_AWS_LOCAL = IPv6Network("fd00:ec2::/32")


def resolve(host: str, port: int, *, is_internal: bool) -> list[str]:
    """Return the addresses of a host that may be connected to; whoever asks must connect to these, not to the name.

    Public ones, and with `is_internal` those of private networks and this machine, but never link-local ones, where
    the metadata of machines are. Raises PermanentError where there is none, TryAgainError where the name is not
    answered.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise PermanentError(f"{host} is not a host's name") from None
    except OSError as error:
        raise TryAgainError(f"{host} has no address: {error}") from error
    # In their order, once each.
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
    return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in _NOT_PUBLIC) or address.is_multicast or address.is_reserved:
        return False
    return address.is_global if isinstance(address, IPv4Address) else address in _PUBLIC_V6


T = TypeVar("T")

# An address that does not answer leaves time for the next.
CONNECT_SECONDS = 5.0


class Patience:
    """How long one may wait in all, for whatever it is; what is done in between does not count."""

    def __init__(self, seconds: float) -> None:
        self._seconds = self._left = seconds

    def wait(self, connected: socket.socket, call: Callable[[], T], *, at_most: float = math.inf) -> T:
        """Return what a call that waits for a socket returns.

        Raises TimedOutError when no time is left, TimeoutError when only this call has waited for `at_most` seconds.
        """
        started = time.monotonic()
        try:
            connected.settimeout(max(min(self._left, at_most), 0.001))
            return call()
        except TimeoutError:
            if at_most < self._left:
                raise
            raise TimedOutError(f"the answer took longer than the {self._seconds:.3g} s that it may take") from None
        finally:
            self._left -= time.monotonic() - started


class Wire:
    """A socket, as much of it as http.client uses; it takes `max_bytes` as they come."""

    def __init__(self, unconnected: socket.socket, patience: Patience, *, max_bytes: int) -> None:
        self._socket = unconnected
        self._patience = patience
        self._max_bytes = self._bytes_left = max_bytes

    def reach(self, address: str, port: int) -> None:
        """Connect the socket. Raises OSError."""
        self._patience.wait(self._socket, lambda: self._socket.connect((address, port)), at_most=CONNECT_SECONDS)

    def encrypt(self, host: str) -> None:
        """Speak TLS from here on, with the certificate verified against the host's name. Raises OSError."""
        plain = self._socket
        self._socket = self._patience.wait(plain, lambda: _tls().wrap_socket(plain, server_hostname=host))

    def sendall(self, data: Any) -> None:
        """Send bytes."""
        self._patience.wait(self._socket, lambda: self._socket.sendall(data))

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file of what comes."""
        return io.BufferedReader(_Incoming(self))

    def receive_into(self, buffer: Any) -> int:
        """Put what has come into the buffer, and wait only where nothing has. Raises PermanentError for too much."""
        received = self._patience.wait(self._socket, lambda: self._socket.recv_into(buffer))
        self._bytes_left -= received
        if self._bytes_left < 0:
            raise PermanentError(f"the answer has more than the {self._max_bytes:,} bytes that it may have")
        return received

    def close(self) -> None:
        """Do nothing: http.client closes as soon as the headers have come, and then reads on."""

    def shut(self) -> None:
        """Close the socket."""
        self._socket.close()


class _Incoming(io.RawIOBase):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)


def connect(addresses: Sequence[str], port: int, patience: Patience, *, max_bytes: int) -> Wire:
    """Return a connection to the first of the addresses that answers. Raises TryAgainError where none does."""
    refusals: list[str] = []
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        wire = Wire(socket.socket(family), patience, max_bytes=max_bytes)
        try:
            wire.reach(address, port)
            return wire
        except OSError as error:
            wire.shut()
            refusals.append(f"{address}: {error}")
    raise TryAgainError(f"there is no connection to {'; '.join(refusals)}")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
