"""What a benchmark runs on, for the first line of its report."""

import os
import platform
import sys

import pymysql
import redis
from sqlalchemy import make_url


def machine(*servers: str) -> str:
    """Return the versions of Python and of the servers with these URLs, the processors, and how busy they are."""
    told = [f"Python {sys.version.split()[0]}", *map(_version, servers)]
    return ", ".join([*told, f"{os.cpu_count()} cores ({platform.machine()}), load {os.getloadavg()[0]:.1f}"])


def _version(server: str) -> str:
    address = make_url(server)
    if address.get_backend_name() == "redis":
        with redis.Redis.from_url(server) as client:
            return f"Redis {client.info('server')['redis_version']}"
    connection = pymysql.connect(host=address.host, port=address.port or 0, user=address.username)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone() or ("",)
    # As MariaDB has it, 11.8.3-MariaDB-log.
    number, _, kind = version.partition("-")
    return f"{'MariaDB' if 'MariaDB' in kind else 'MySQL'} {number}"
