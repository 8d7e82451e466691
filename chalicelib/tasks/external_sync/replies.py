"""A source's reply to a request: an answer, or a refusal that may pass or may not."""

from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime

from chalicelib.core import secrets
from chalicelib.core.clock import to_ms
from chalicelib.core.config import is_reference
from chalicelib.core.errors import ConfigurationError, PermanentError, TransientError
from chalicelib.tasks.external_sync.answers import Answer, Limits, get
from chalicelib.tasks.external_sync.refusals import TryAgainError
from chalicelib.tasks.external_sync.sources import Credential, Source
from chalicelib.tasks.external_sync.urls import check_origin
from chalicelib.tasks.external_sync.validators import Validators

UNCHANGED = 304
MAY_PASS = frozenset({408, 425, 429})
NOT_ALLOWED = frozenset({401, 403})
# Longer than any run lasts.
MAX_WAIT_SECONDS = 86_400.0


@contextmanager
def ask(source: Source, address: str, *, validators: Validators, seconds: float, now_ms: int) -> Iterator[Answer]:
    """Give the source's answer at an address of its own: 200 with JSON, or 304 where `validators` allow it.

    Raises TryAgainError for what a repetition may mend, TransientError for a secret that may have been changed, and
    PermanentError for any other refusal; and what `answers.get` does.
    """
    check_origin(address, source.url)
    headers = {"Accept": "application/json", "User-Agent": "nightshift"}
    if source.credential is not None:
        headers[source.credential.header] = _read(source.credential)
    limits = Limits(seconds=seconds, max_bytes=source.max_bytes, is_internal=source.is_internal)
    with get(address, headers=headers, limits=limits, validators=validators) as answer:
        if not (answer.status == UNCHANGED and validators.as_headers(answer.address)):
            _check(answer, source.credential, now_ms=now_ms)
        yield answer


def _read(credential: Credential) -> str:
    # A secret that was pasted may end in a line break. What the error of the library would say has the secret in it.
    value = credential.prefix + secrets.resolve(credential.secret).strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigurationError(f"the secret for {credential.header} has characters that a header cannot hold")
    return value


def _check(answer: Answer, credential: Credential | None, *, now_ms: int) -> None:
    status = answer.status
    if status in MAY_PASS or status >= 500:
        wait = _read_wait(answer.headers.get("Retry-After", ""), now_ms=now_ms)
        raise TryAgainError(f"it answered {status}", wait_seconds=wait)
    if status in NOT_ALLOWED and credential is not None and is_reference(credential.secret):
        secrets.forget()
        raise TransientError(f"it answered {status}; the secret is fetched anew for the next attempt")
    if status != 200:
        raise PermanentError(f"it answered {status}")
    kind = answer.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
    if not (kind.endswith(("/json", "+json"))):
        raise PermanentError(f"it answered with {kind[:60]}, not with JSON")


def _read_wait(text: str, *, now_ms: int) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or a date; a day at most."""
    try:
        seconds = float(text) if text.isdecimal() else (to_ms(parsedate_to_datetime(text)) - now_ms) / 1000
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), MAX_WAIT_SECONDS)
