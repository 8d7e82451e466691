"""Temporary servers on free ports: MySQL, MariaDB and Redis, each with its own folder, and HTTP servers."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import HTTPServer
from pathlib import Path
from threading import Thread

import pymysql
import redis

START_SECONDS = 60
# Where `.ci/mysql` installs MySQL.
MYSQL_FOLDER = Path("/opt/nightshift-mysql")


class NotInstalledError(Exception):
    """A server program is not installed on this machine."""


def find_program(program: str) -> str:
    """Return the path of a server's program; for `mysqld`, of MySQL and not MariaDB. Raises NotInstalledError."""
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
    # Debian installs servers outside a user's PATH.
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _version(path: str) -> str:
    # On Debian, `mysqld` may be a link to MariaDB's server.
    return subprocess.run([path, "--no-defaults", "--version"], capture_output=True, text=True, check=True).stdout


@dataclass(kw_only=True)
class Server:
    """A server that can be killed and started again, on the same port and with the same data."""

    url: str
    arguments: list[str]
    log: Path
    # Raises `retry_on` until the server is ready, and AssertionError if another server has the port.
    check: Callable[[], None]
    retry_on: type[Exception]
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        """Start the server and wait until it is ready."""
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
        """Kill the server, as a machine failure would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def prepare_mysql(folder: Path, *options: str) -> Server:
    """Return a MySQL that is not started yet, with an empty database in the folder. Raises NotInstalledError."""
    program = find_program("mysqld")
    return _prepare_database(
        folder,
        [program, "--no-defaults", "--initialize-insecure"],
        [program, "--no-defaults", "--mysqlx=OFF", "--secure-file-priv=", "--sync-binlog=0"],
        options,
    )


def prepare_mariadb(folder: Path, *options: str) -> Server:
    """Return a MariaDB that is not started yet, with an empty database in the folder. Raises NotInstalledError."""
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
    # Not shared: a server removes what it finds here when it starts.
    temporary.mkdir(exist_ok=True)
    installed = subprocess.run(
        [*install, f"--datadir={data}", *user],
        # The installer starts a server too. It does not quote its own option, so a path could not contain spaces.
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
        # The data is temporary, so no commit has to wait for the disk.
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
    """Return a Redis that is not started yet and stores nothing on disk. Raises NotInstalledError."""
    port = free_port()

    def check() -> None:
        with redis.Redis(port=port) as client:
            assert client.config_get("dir")["dir"] == str(folder), f"port {port} belongs to another server"

    return Server(
        url=f"redis://127.0.0.1:{port}/0",
        arguments=[
            find_program("redis-server"),
            *("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)),
            *options,
        ],
        log=folder / "redis.log",
        check=check,
        retry_on=redis.ConnectionError,
    )


@contextmanager
def mysql_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a MySQL and yield the URL of an empty database. Raises NotInstalledError."""
    with _running(prepare_mysql(folder, *options)) as url:
        yield url


@contextmanager
def mariadb_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a MariaDB and yield the URL of an empty database. Raises NotInstalledError."""
    with _running(prepare_mariadb(folder, *options)) as url:
        yield url


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a Redis and yield its URL. Raises NotInstalledError."""
    with _running(prepare_redis(folder, *options)) as url:
        yield url


@contextmanager
def _running(server: Server) -> Iterator[str]:
    try:
        server.start()
        yield server.url
    finally:
        # The data is temporary: a clean shutdown would only take time.
        server.kill()


@contextmanager
def serving(server: HTTPServer) -> Iterator[str]:
    """Run an HTTP server in a thread and yield its URL."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
