"""A connection on which waiting has an end: bytes that drip outlive any time-out of a single read."""

import io
import math
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeVar

from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import PermanentError
from chalicelib.tasks.external_sync.refusals import TryAgainError

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
