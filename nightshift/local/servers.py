"""MariaDB and Redis as private throw-away servers: own folder, free port, checked to be our own process."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import redis

START_SECONDS = 60


class NotInstalledError(Exception):
    """A server program is not on this machine."""


def _find(program: str) -> str:
    # Debian puts servers where a user's PATH does not look.
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise NotInstalledError(f"{program} is not installed")
    return path


@contextmanager
def mariadb_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a MariaDB with its data in the folder; give the URL of an empty database. Raises NotInstalledError."""
    server, installer = _find("mariadbd"), _find("mariadb-install-db")
    user = ["--user=root"] if os.geteuid() == 0 else []
    data = folder / "data"
    subprocess.run(
        [installer, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    port = free_port()
    arguments = [
        server,
        "--no-defaults",
        f"--datadir={data}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--socket={folder / 'mariadb.sock'}",
        f"--pid-file={folder / 'mariadb.pid'}",
        # The data goes with the test, so nothing waits for the disk.
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-buffer-pool-size=256M",
        *user,
        *options,
    ]

    def check() -> None:
        with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@datadir")
            row = cursor.fetchone()
            assert row is not None
            assert Path(row[0]) == data, f"port {port} belongs to another server"
            cursor.execute("CREATE DATABASE nightshift")

    with _process(arguments, folder / "mariadb.log", check, retry_on=pymysql.err.OperationalError):
        yield f"mysql+pymysql://root@127.0.0.1:{port}/nightshift"


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a Redis that keeps nothing on disk; give its URL. Raises NotInstalledError."""
    port = free_port()
    only_here = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    arguments = [_find("redis-server"), *only_here, *options]

    def check() -> None:
        with redis.Redis(port=port) as client:
            assert client.config_get("dir")["dir"] == str(folder), f"port {port} belongs to another server"

    with _process(arguments, folder / "redis.log", check, retry_on=redis.ConnectionError):
        yield f"redis://127.0.0.1:{port}/0"


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _process(
    arguments: list[str], log: Path, check: Callable[[], None], *, retry_on: type[Exception]
) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(arguments, stdout=output, stderr=output) as process:
        try:
            _wait_until_ready(process, log, check, retry_on=retry_on)
            yield
        finally:
            # Its data is thrown away, so it need not take the time to write it.
            process.kill()


def _wait_until_ready(
    process: "subprocess.Popen[bytes]", log: Path, check: Callable[[], None], *, retry_on: type[Exception]
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, f"the server ended at once:\n{log.read_text()}"
        try:
            return check()
        except retry_on:
            assert time.monotonic() < deadline, f"the server did not start:\n{log.read_text()}"
            time.sleep(0.05)
