"""Secrets by reference: a setting may hold a Secrets Manager ARN in place of the secret itself."""

from __future__ import annotations

from functools import cache, lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.config import is_reference
from chalicelib.core.context import client
from chalicelib.core.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from types_boto3_secretsmanager import SecretsManagerClient

# Errors that only a person can correct; any other may be temporary.
PERMANENT = frozenset({"AccessDeniedException", "ResourceNotFoundException", "InvalidParameterException"})
_READING = Lock()


def resolve(text: str) -> str:
    """Return the secret that a value refers to, or the value itself. See `fetch` for errors."""
    return fetch(text) if is_reference(text) else text


def resolve_again(text: str, *, now_ms: int) -> str:
    """Return the secret as `resolve` does, fetched at most a minute ago."""
    return _fetch_in_minute(text, now_ms // 60_000) if is_reference(text) else text


def fetch(arn: str) -> str:
    """Return a secret's text, kept for the life of the process until `forget`.

    Raises ConfigurationError if the secret is missing or forbidden, TransientError if it cannot be read now.
    """
    # Threads that need it at once read it once.
    with _READING:
        return _fetch(arn)


@cache
def _fetch(arn: str) -> str:
    return _read(arn)


@lru_cache(maxsize=8)
def _fetch_in_minute(arn: str, _minute: int) -> str:
    # Anyone can cause this by sending an invalid signature, and each call to Secrets Manager costs money.
    return _read(arn)


def _read(arn: str) -> str:
    secretsmanager: SecretsManagerClient = client("secretsmanager")
    try:
        return secretsmanager.get_secret_value(SecretId=arn)["SecretString"]
    except ClientError as error:
        kind = ConfigurationError if error.response["Error"]["Code"] in PERMANENT else TransientError
        raise kind(f"the secret {arn} cannot be read: {error}") from error
    except (BotoCoreError, KeyError) as error:
        raise TransientError(f"the secret {arn} cannot be read: {error!r}") from error


def forget() -> None:
    """Forget all secrets, so that the next use of each fetches its current value."""
    _fetch.cache_clear()
    _fetch_in_minute.cache_clear()
