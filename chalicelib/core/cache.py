"""The process's client of Redis."""

from collections.abc import Callable
from functools import cache
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from chalicelib.core import secrets
from chalicelib.core.config import is_reference
from chalicelib.core.errors import ConfigurationError

REDIS_TIMEOUT_SECONDS = 1.0


@cache
def cache_of(url: str, password: str | None) -> Redis:
    """Return the process's client. `url` and `password` may be ARNs of secrets. Raises ConfigurationError."""
    address = secrets.resolve(url)
    # By default redis-py verifies a certificate, but not its host name.
    options: dict[str, Any] = {"ssl_check_hostname": True} if address.startswith("rediss://") else {}
    try:
        # Its default retry turns a one-second time-out on a hung server into fifteen.
        return Redis.from_url(
            address,
            **options,
            redis_connect_func=_greet_with(url, password),
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # redis-py's message repeats a part of the URL, perhaps of the password.
        raise ConfigurationError(
            "what REDIS_URL refers to must be a URL that begins with redis:// or rediss://"
        ) from None


def _greet_with(url: str, password: str | None) -> Callable[[Any], None]:
    def greet(connection: Any) -> None:
        connection.username, connection.password = _login(url, password)
        connection.on_connect()

    def greet_twice(connection: Any) -> None:
        try:
            greet(connection)
        except AuthenticationError:
            if not (is_reference(url) or is_reference(password or "")):
                raise
            # The password was rotated after it was fetched: try once with the current one.
            secrets.forget()
            connection.redis_connect_func = greet
            try:
                # The server has closed the connection.
                connection.connect()
            finally:
                connection.redis_connect_func = greet_twice

    return greet_twice


def _login(url: str, password: str | None) -> tuple[str | None, str | None]:
    options = parse_url(secrets.resolve(url))  # type: ignore[no-untyped-call]
    return options.get("username"), options.get("password") or (secrets.resolve(password) if password else None)
