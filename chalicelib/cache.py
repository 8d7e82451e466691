"""The process's client of Redis."""

from functools import cache
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib import secrets
from chalicelib.errors import ConfigurationError

REDIS_TIMEOUT_SECONDS = 1.0


@cache
def cache_of(url: str, password: str | None) -> Redis:
    """Return the process's client. `url` and `password` may be ARNs of secrets. Raises ConfigurationError."""
    address = secrets.resolve(url)
    # A certificate is verified by default, its host name only when asked.
    options: dict[str, Any] = {"ssl_check_hostname": True} if address.startswith("rediss://") else {}
    if password:
        options["password"] = secrets.resolve(password)
    try:
        # Its default retry turns a one-second time-out on a hung server into fifteen.
        return Redis.from_url(
            address,
            **options,
            socket_timeout=REDIS_TIMEOUT_SECONDS,
            socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError:
        # Its own message would repeat a part of it, perhaps of the password.
        raise ConfigurationError(
            "what REDIS_URL refers to must be a URL that begins with redis:// or rediss://"
        ) from None
