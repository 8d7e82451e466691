"""A server with a fixed answer, or none, and the type of the fixture that connects to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client

Connect = Callable[..., "SESV2Client"]


@contextmanager
def server(answer: bytes | None) -> Iterator[tuple[str, list[bytes]]]:
    """Answer each request with these bytes and hang up, or with None keep silent; give the URL and the requests."""
    requests: list[bytes] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as reader:
                if not (line := reader.readline()):
                    return
                requests.append(line)
                length = 0
                while header := reader.readline().strip().lower():
                    if header.startswith(b"content-length:"):
                        length = int(header.partition(b":")[2])
                reader.read(length)
                if answer is None:
                    # Returns when the client gives up and hangs up.
                    reader.read()
                else:
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            # A connection without a request ends it.
            socket.create_connection(listener.getsockname()).close()
            thread.join(10)
            assert not thread.is_alive()
