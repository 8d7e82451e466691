"""MySQL, MariaDB and Redis as private throw-away servers: own folder, free port, checked to be our own process."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
import redis

START_SECONDS = 60
# Where `.ci/mysql` installs MySQL.
MYSQL_FOLDER = Path("/opt/nightshift-mysql")


class NotInstalledError(Exception):
    """A server program is not on this machine."""


def find_program(program: str) -> str:
    """Return the path of a server's program; for `mysqld`, of a real MySQL. Raises NotInstalledError."""
    if program == "mysqld":
        return _find_mysql()
    path = _on_path(program)
    if path is None:
        raise NotInstalledError(f"{program} is not installed")
    return path


def _find_mysql() -> str:
    chosen = os.environ.get("MYSQLD")
    for path in [chosen] if chosen else [str(MYSQL_FOLDER / "bin" / "mysqld"), _on_path("mysqld")]:
        if path and shutil.which(path) and "MariaDB" not in _version(path):
            return path
    where = chosen or f"mysqld of MySQL (neither on the PATH nor in {MYSQL_FOLDER})"
    raise NotInstalledError(f"{where} is not installed: run .ci/mysql, or set MYSQLD to the path of MySQL's mysqld")


def _on_path(program: str) -> str | None:
    # Debian puts servers where a user's PATH does not look.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _version(path: str) -> str:
    # Debian's `mysqld` on the PATH is a link to MariaDB's server.
    return subprocess.run([path, "--no-defaults", "--version"], capture_output=True, text=True, check=True).stdout


@dataclass(kw_only=True)
class Server:
    """A server of our own: it can be killed and started again, on the same port and with the same data."""

    url: str
    arguments: list[str]
    log: Path
    # Raises `retry_on` until the server is ready, and AssertionError for another that has our port.
    check: Callable[[], None]
    retry_on: type[Exception]
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self.arguments, stdout=output, stderr=output)
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert self.process.poll() is None, f"the server ended at once:\n{self.log.read_text()}"
            try:
                return self.check()
            except self.retry_on:
                assert time.monotonic() < deadline, f"the server did not start:\n{self.log.read_text()}"
                time.sleep(0.05)

    def kill(self) -> None:
        """Kill it, as a machine that fails does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def prepare_mysql(folder: Path, *options: str) -> Server:
    """Return a MySQL, yet to be started, with its data in the folder and an empty database.

    Raises NotInstalledError.
    """
    program = find_program("mysqld")
    return _prepare_database(
        folder,
        [program, "--no-defaults", "--initialize-insecure"],
        [program, "--no-defaults", "--mysqlx=OFF", "--secure-file-priv=", "--sync-binlog=0"],
        options,
    )


def prepare_mariadb(folder: Path, *options: str) -> Server:
    """Return a MariaDB, yet to be started, with its data in the folder and an empty database.

    Raises NotInstalledError.
    """
    program, installer = find_program("mariadbd"), find_program("mariadb-install-db")
    return _prepare_database(
        folder,
        [installer, "--no-defaults", "--auth-root-authentication-method=normal"],
        [program, "--no-defaults"],
        options,
    )


def _prepare_database(folder: Path, install: list[str], serve: list[str], options: tuple[str, ...]) -> Server:
    user = ["--user=root"] if os.geteuid() == 0 else []
    data, temporary = folder / "data", folder / "temporary"
    # Its own: a server that starts removes what it takes for another's remains.
    temporary.mkdir(exist_ok=True)
    installed = subprocess.run(
        [*install, f"--datadir={data}", *user],
        # The installer starts a server too. By its option for this, which it does not quote, no folder could have a
        # space.
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert installed.returncode == 0, f"{install[0]} made no database in {data}:\n{installed.stdout}"
    port = free_port()
    arguments = [
        *serve,
        f"--datadir={data}",
        f"--tmpdir={temporary}",
        "--bind-address=127.0.0.1",
        f"--port={port}",
        f"--socket={folder / 'server.sock'}",
        f"--pid-file={folder / 'server.pid'}",
        # The data is deleted after the test, so nothing waits for the disk.
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
            cursor.execute("CREATE DATABASE IF NOT EXISTS nightshift")

    return Server(
        url=f"mysql+pymysql://root@127.0.0.1:{port}/nightshift",
        arguments=arguments,
        log=folder / "server.log",
        check=check,
        retry_on=pymysql.err.OperationalError,
    )


def prepare_redis(folder: Path, *options: str) -> Server:
    """Return a Redis, yet to be started, that keeps nothing on disk. Raises NotInstalledError."""
    port = free_port()
    only_here = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]

    def check() -> None:
        with redis.Redis(port=port) as client:
            assert client.config_get("dir")["dir"] == str(folder), f"port {port} belongs to another server"

    return Server(
        url=f"redis://127.0.0.1:{port}/0",
        arguments=[find_program("redis-server"), *only_here, *options],
        log=folder / "redis.log",
        check=check,
        retry_on=redis.ConnectionError,
    )


@contextmanager
def mysql_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a MySQL with its data in the folder; give the URL of an empty database. Raises NotInstalledError."""
    with _running(prepare_mysql(folder, *options)) as url:
        yield url


@contextmanager
def mariadb_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a MariaDB with its data in the folder; give the URL of an empty database. Raises NotInstalledError."""
    with _running(prepare_mariadb(folder, *options)) as url:
        yield url


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a Redis that keeps nothing on disk; give its URL. Raises NotInstalledError."""
    with _running(prepare_redis(folder, *options)) as url:
        yield url


@contextmanager
def _running(server: Server) -> Iterator[str]:
    try:
        server.start()
        yield server.url
    finally:
        # Its data is thrown away, so it need not take the time to write it.
        server.kill()


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
