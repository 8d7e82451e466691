"""The process's engine: how a connection is made, verified and kept between invocations."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError

from chalicelib.core import secrets
from chalicelib.core.config import is_reference
from chalicelib.core.errors import ConfigurationError

if TYPE_CHECKING:
    import sqlite3

CONNECT_TIMEOUT_SECONDS = 5
# A connection that was in use within this time is there still, or fails in a way that Database.transact mends.
IDLE_SECONDS = 1.0
# A statement that hangs longer than this is a dead connection: no statement of ours may take a minute.
READ_TIMEOUT_SECONDS = 60
ACCESS_DENIED = 1045
SESSION = (
    # Without gap locks, INSERT … SELECT from the application's tables does not block its writers.
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    # TIMESTAMP columns are read and compared in the session's zone.
    "SET SESSION time_zone = '+00:00'",
)

# AWS's roots for RDS in every region, those of 2021 (valid to 2061 and 2121).
RDS_ROOTS = Path(__file__).parent.parent / "certificates" / "rds.pem"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@cache
def engine_for(url: str, *, credentials: str | None = None, ca: str | None = None) -> Engine:
    """Return the process's engine for this URL, so that a warm Lambda keeps its connection.

    Each statement commits by itself, also within the engine's own begin(); Database makes transactions of several.
    `url` and `credentials` may be ARNs of secrets: the whole URL, and a JSON object with username and password as
    RDS keeps and rotates it. `ca` is a file of root certificates, or "off". Raises ConfigurationError.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        return _sqlite_engine(address)
    engine = create_engine(
        address,
        # One connection serves one invocation.
        pool_size=1,
        # An error's text goes into logs and answers, and the parameters are people's data.
        hide_parameters=True,
        connect_args=_options(address, ca),
    )
    event.listen(engine, "checkin", _note_time)
    event.listen(engine, "checkout", _check_idle)
    connect = _connect_with(url, credentials)
    event.listen(engine, "do_connect", lambda _dialect, _record, _arguments, parameters: connect(**parameters))
    return engine


def connector_for(url: str, *, credentials: str | None = None, ca: str | None = None) -> Callable[..., Any]:
    """Return what makes a connection of its own to a MySQL server, where the options of the call are PyMySQL's.

    Arguments and errors as of `engine_for`.
    """
    address = _address(url)
    if address.get_backend_name() == "sqlite":
        raise ConfigurationError("this works on MySQL and MariaDB alone, and DATABASE_URL names an SQLite file")
    connect = _connect_with(url, credentials)
    return lambda **options: connect(**_named(address) | _options(address, ca) | options)


def greeting(url: str, *, credentials: str | None = None, ca: str | None = None) -> tuple[str, str]:
    """Return the user that a connection is for, and the server's version, which it tells before any login.

    Arguments and errors as of `connector_for`.
    """
    from pymysql.connections import Connection
    from pymysql.err import OperationalError

    address, login = _address(url), login_of(url, credentials)
    connection: Any = Connection(**_named(address) | _options(address, ca) | login, defer_connect=True)
    try:
        connection.connect()
        connection.close()
    except OperationalError:
        if not hasattr(connection, "server_version"):
            raise
    return login.get("user", ""), str(connection.server_version)


def _named(address: URL) -> dict[str, Any]:
    named = {"host": address.host, "port": address.port, "database": address.database}
    return {name: value for name, value in named.items() if value is not None}


def _address(url: str) -> URL:
    try:
        address = make_url(secrets.resolve(url))
    except (ValueError, ArgumentError):
        # Its own message would repeat a part of it, perhaps of the password.
        raise ConfigurationError(
            "what DATABASE_URL refers to must be a URL such as mysql+pymysql://host/database"
        ) from None
    if "@" in (address.host or ""):
        # What it takes for the host is a part of the password.
        raise ConfigurationError("the password in DATABASE_URL has an @, which a URL has to have as %40")
    return address


def _options(address: URL, ca: str | None) -> dict[str, Any]:
    return {
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "read_timeout": READ_TIMEOUT_SECONDS,
        "write_timeout": READ_TIMEOUT_SECONDS,
        **_tls(address, ca),
    }


def _note_time(_connection: Any, record: Any) -> None:
    record.info["idle_since"] = time.time()


def _check_idle(connection: Any, record: Any, _proxy: Any) -> None:
    # Lambda freezes a connection between two invocations, and the server may have closed it by then. Not each time,
    # as pool_pre_ping does: that is a round trip for every transaction.
    if time.time() - record.info.get("idle_since", math.inf) > IDLE_SECONDS:
        from pymysql.err import Error

        try:
            connection.ping(reconnect=False)
        except Error as error:
            raise DisconnectionError from error


def _sqlite_engine(address: URL) -> Engine:
    engine = create_engine(address, connect_args={"timeout": 30}, hide_parameters=True)
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Python's own transaction handling begins too late for a read that decides a write; Database begins them.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _tls(address: URL, ca: str | None) -> dict[str, Any]:
    host = address.host or ""
    if ca == "off" or (ca is None and host in LOOPBACK):
        # Otherwise PyMySQL encrypts where the server can, and believes whatever certificate comes: cost without safety.
        return {"ssl_disabled": True}
    if ca is None and not host.endswith(".rds.amazonaws.com"):
        raise ConfigurationError(
            f"DATABASE_CA is not set, and {host} is neither this machine nor RDS: "
            'name the file of its root certificates, or "off" for a connection that anybody on the way can read'
        )
    # PyMySQL accepts any certificate where only `ssl_ca` is given.
    return {"ssl_ca": ca or str(RDS_ROOTS), "ssl_verify_cert": True, "ssl_verify_identity": True}


def _connect_with(url: str, credentials: str | None) -> Callable[..., Any]:
    def connect(**parameters: Any) -> Any:
        from pymysql.err import OperationalError

        from chalicelib.core.connection import Connection

        try:
            connection = Connection(**parameters | login_of(url, credentials))
        except OperationalError as error:
            if error.args[0] != ACCESS_DENIED or not (credentials or is_reference(url)):
                raise
            # The password was rotated after it was fetched: try once with the current one.
            secrets.forget()
            connection = Connection(**parameters | login_of(url, credentials))
        # Not as init_command, which the URL may have.
        for setting in SESSION:
            connection.query(setting)
        return connection

    return connect


def login_of(url: str, credentials: str | None) -> dict[str, str]:
    """Return the user and the password that a connection is made with, as far as they are known."""
    if credentials:
        return _read(credentials)
    address = _address(url)
    login = {"user": address.username, "password": address.password}
    return {name: value for name, value in login.items() if value is not None}


def _read(credentials: str) -> dict[str, str]:
    try:
        secret = json.loads(secrets.resolve(credentials))
        return {"user": secret["username"], "password": secret["password"]}
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            "the secret of DATABASE_CREDENTIALS must be a JSON object with username and password"
        ) from None
