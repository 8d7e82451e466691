"""The database servers that a part is measured on, MySQL before MariaDB, and the clients that belong to each."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from sqlalchemy import make_url

from nightshift.local.servers import NotInstalledError, find_program, mariadb_server, mysql_server

# What a server has by default, and the servers of tests do not: a commit is on disk before it is acknowledged.
DURABLE = ("--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1")
MARIADB_PROGRAM = "mariadbd"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of server: how one is run, and its own programs."""

    name: str
    run: Callable[..., AbstractContextManager[str]]
    # How each of its clients connects: without encryption, as everything that is measured, and by no file of settings.
    client_options: str
    # For tables that fit into its memory, and a log that no load fills.
    large: tuple[str, ...]
    dump: str
    client: str
    # What a dump needs to be restored into the same server.
    dump_options: str


def find(name: str | None) -> Kind:
    """Return a kind of server by its name, or the first that this machine has.

    Raises NotInstalledError.
    """
    if name is None and not (name := next(iter(installed()), None)):
        raise NotInstalledError("neither MySQL nor MariaDB is installed: run .ci/mysql, or install mariadb-server")
    return _KINDS[name]()


def installed() -> list[str]:
    """Return the names of the servers that this machine has."""
    names = []
    for name, kind in _KINDS.items():
        with contextlib.suppress(NotInstalledError):
            kind()
            names.append(name)
    return names


@contextmanager
def database(name: str | None, folder: Path | None = None, *, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Run a server with its data in the folder, or in one of its own; give the URL of an empty database.

    Raises NotInstalledError.
    """
    with tempfile.TemporaryDirectory() as own, find(name).run(folder or Path(own), *options) as url:
        yield url


def _mysql() -> Kind:
    server = find_program("mysqld")
    return Kind(
        name="MySQL",
        run=mysql_server,
        client_options="--no-defaults --ssl-mode=DISABLED",
        large=("--innodb-buffer-pool-size=2G", "--innodb-redo-log-capacity=2G", "--local-infile=ON"),
        dump=_client(server, "mysqldump"),
        client=_client(server, "mysql"),
        dump_options="--single-transaction --set-gtid-purged=OFF",
    )


def _mariadb() -> Kind:
    find_program(MARIADB_PROGRAM)
    return Kind(
        name="MariaDB",
        run=mariadb_server,
        client_options="--no-defaults --skip-ssl",
        large=("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G"),
        dump="mariadb-dump",
        client="mariadb",
        dump_options="--single-transaction",
    )


def _client(server: str, name: str) -> str:
    # Where MySQL's own lie: what bears the name on the PATH may be MariaDB's.
    beside = Path(server).parent
    folders = (beside, beside.parent / "bin")
    return next((str(folder / name) for folder in folders if (folder / name).exists()), str(beside / name))


_KINDS = {"mysql": _mysql, "mariadb": _mariadb}
NAMES = tuple(_KINDS)


def flush(url: str, *, at_once: bool) -> None:
    """Have a server write every commit to the disk at once, or in its own time."""
    address = make_url(url)
    where: dict[str, Any] = {"host": address.host, "port": address.port, "user": address.username}
    with pymysql.connect(**where, ssl_disabled=True) as connection, connection.cursor() as cursor:
        for setting in ("innodb_flush_log_at_trx_commit", "sync_binlog"):
            cursor.execute(f"SET GLOBAL {setting} = {int(at_once)}")


def numbers(count: int) -> str:
    """Return what gives the numbers from 1 to `count` in SQL, as `seq`, in no certain order, on every server."""
    digits = " UNION ALL ".join(["SELECT 0 AS digit", *(f"SELECT {digit}" for digit in range(1, 10))])
    places = range(len(str(count - 1)))
    tables = " CROSS JOIN ".join(f"({digits}) AS digits_{place}" for place in places)
    seq = " + ".join(["1", *(f"{10**place} * digits_{place}.digit" for place in places)])
    return f"(SELECT {seq} AS seq FROM {tables} WHERE {seq} <= {count:d}) AS numbers"  # noqa: S608 (a number)


def mixed(value: str) -> str:
    """Return what makes 32 hexadecimal digits of a value in SQL; MySQL has no MD5 any more."""
    return f"LEFT(SHA2({value}, 256), 32)"


def mixed_id(value: str) -> str:
    """Return what makes an id that looks like a random UUID of a value in SQL."""
    text = mixed(value)
    return f"INSERT(INSERT(INSERT(INSERT({text}, 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-')"
