"""Jobs that the application performs itself: each is a signed POST, in the form of Standard Webhooks."""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from http.client import HTTPException, IncompleteRead
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from chalicelib.core import secrets, telemetry
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.config import ApplicationJobsSettings, read_signing_keys
from chalicelib.core.context import Context
from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import ConfigurationError, PermanentError, Snooze, TransientError, UnavailableError
from chalicelib.core.http import LimitedSocket, Limits, RetryableError, WaitLimit, connect, send
from chalicelib.core.telemetry import logger
from chalicelib.queue.handler import Handler, Result
from chalicelib.queue.job import Job

# A deployment has one application, so its jobs of all types wait together.
BREAKER = "APP_JOBS_URL"
TIMEOUT_SECONDS = 30
# An hour in which the application answers 500 to everything leaves each job two of its attempts.
MAX_ATTEMPTS, BACKOFF_SECONDS = 5, (60, 300, 1800, 7200)
# What is left when a call times out, to end it in order: the limit of a call does not cover the look-up of a name.
SPARE_SECONDS = 5
REACH_SECONDS = 5.0
MAX_RESULT = 65_536
# Of the whole answer. Its headers are what may be long beside a result.
MAX_ANSWER = 1_048_576
MAX_REASON = 500
LONGEST_SNOOZE_SECONDS = 86_400
# Servers close connections that are idle for two seconds or more (gunicorn) or five (Node).
IDLE_SECONDS = 1.0

REFUSED = frozenset({400, 410, 422})
BUSY = frozenset({429, 503})
# A proxy's answers when the application behind it is away.
AWAY = frozenset({502, 503, 504})


def application_job(
    type_: str,
    *,
    max_attempts: int = MAX_ATTEMPTS,
    backoff_seconds: tuple[float, ...] = BACKOFF_SECONDS,
    timeout_seconds: float = TIMEOUT_SECONDS,
    parallel: int = 10,
    label: str | None = None,
    **policy: Any,
) -> Handler:
    """Return the handler that has the application perform jobs of a type; `policy` as of Handler."""

    def perform(context: Context, job: Job[dict[str, Any]]) -> Result | None:
        return _call(context, job, seconds=min(timeout_seconds, context.remaining_ms() / 1000 - SPARE_SECONDS))

    return Handler(
        type=type_,
        payload=dict[str, Any],
        perform=perform,
        max_attempts=max_attempts,
        backoff_seconds=backoff_seconds,
        timeout_seconds=timeout_seconds + SPARE_SECONDS,
        parallel=parallel,
        breaker=BREAKER,
        label=label,
        **policy,
    )


def sign(keys: Sequence[bytes], *, id_: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`: one signature for each key, the newest first."""
    signed = b"%s.%d.%s" % (id_.encode(), timestamp, body)
    digests = (hmac.digest(key, signed, hashlib.sha256) for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def _call(context: Context, job: Job[dict[str, Any]], *, seconds: float) -> Result | None:
    url, keys, is_private = _target(context)
    now = from_ms(context.clock.now_ms())
    body = msgspec.json.encode(
        {
            "id": job.id,
            "type": job.type,
            "data": job.payload,
            "attempt": job.attempt,
            "deadline": iso(now + timedelta(seconds=seconds)),
            "tags": job.tags,
            "traceparent": telemetry.traceparent(),
        }
    )
    timestamp = int(now.timestamp())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Nightshift",
        "webhook-id": job.id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(keys, id_=job.id, timestamp=timestamp, body=body),
    }
    limits = Limits(seconds=seconds, max_bytes=MAX_ANSWER, is_internal=is_private)
    status, retry_after, answer = post(url, headers=headers, body=body, limits=limits)
    return _ending(status, _seconds_of(retry_after, now=now), answer)


def _target(context: Context) -> tuple[str, tuple[bytes, ...], bool]:
    """Return the URL, the keys to sign with, and whether the address may be private.

    Raises UnavailableError where a setting is wrong, because no job is to be dead for that.
    """
    settings = context.settings(ApplicationJobsSettings)
    try:
        if settings.app_jobs_url is None or settings.app_jobs_secrets is None:
            raise ConfigurationError("APP_JOBS_URL is not set")
        keys = _keys_of(secrets.resolve(settings.app_jobs_secrets))
    except (ConfigurationError, TransientError, ValueError) as error:
        what = f"APP_JOBS_SECRETS {error}" if isinstance(error, ValueError) else error
        raise UnavailableError(f"the application cannot be called: {what}", is_reached=False) from error
    return settings.app_jobs_url, keys, settings.is_private


# Each call needs them, and reading them takes as long as signing.
_keys_of = lru_cache(maxsize=1)(read_signing_keys)


def reach(context: Context) -> str | None:
    """Connect to the application and return its host, without asking for anything. Raises UnavailableError."""
    url, _, is_private = _target(context)
    parts, limits = urlsplit(url), Limits(seconds=REACH_SECONDS, max_bytes=0, is_internal=is_private)
    _connect(parts, limits, WaitLimit(limits.seconds)).close_socket()
    return parts.hostname


def _connect(parts: SplitResult, limits: Limits, wait_limit: WaitLimit) -> LimitedSocket:
    try:
        return connect(parts, limits, wait_limit)
    except (RetryableError, PermanentError, TimedOutError) as error:
        raise UnavailableError(f"the application cannot be reached: {error}", is_reached=False) from error


def post(url: str, *, headers: dict[str, str], body: bytes, limits: Limits) -> tuple[int, str | None, bytes]:
    """Send a body, and return the status, the header Retry-After, and the first 64 KiB of the answer and one byte.

    Raises UnavailableError where no answer came.
    """
    wait_limit, parts = WaitLimit(limits.seconds), urlsplit(url)
    sock = _take_idle(url, wait_limit) or _connect(parts, limits, wait_limit)
    is_kept = False
    try:
        received = send(sock, parts, "POST", headers=headers, body=body)
        answer = received.read(MAX_RESULT + 1)
        if received.length and len(answer) <= MAX_RESULT:
            raise IncompleteRead(answer, received.length)
        is_kept = received.isclosed() and not received.will_close
        return received.status, received.headers.get("Retry-After"), answer
    except (RetryableError, PermanentError, TimedOutError, OSError, HTTPException) as error:
        raise UnavailableError(f"the application gave no whole answer: {error}", is_reached=True) from error
    finally:
        if is_kept:
            _idle(url).append((time.monotonic(), sock))
        else:
            sock.close_socket()


def _ending(status: int, retry_after: float | None, answer: bytes) -> Result | None:
    """Return the result of a job by the answer to it, or raise what docs/application-jobs.md says."""
    if 200 <= status < 300:
        return _result(answer)
    reason = f"the application answered {status}: {' '.join(answer.decode(errors='replace').split())[:MAX_REASON]}"
    if status in REFUSED:
        raise PermanentError(reason)
    if status in BUSY and retry_after is not None:
        raise Snooze(reason, seconds=retry_after)
    if status in AWAY:
        raise UnavailableError(reason, is_reached=True)
    if 300 <= status < 400:
        raise TransientError(f"the application answered {status}, and redirects are not followed: correct APP_JOBS_URL")
    raise TransientError(reason)


def _result(answer: bytes) -> Result | None:
    if len(answer) > MAX_RESULT:
        logger.warning("the application's answer is too long to be kept", extra={"most_bytes": MAX_RESULT})
        return None
    try:
        # It is stored as it came, if it is JSON.
        msgspec.json.decode(answer)
        return Result(text=answer.decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _seconds_of(retry_after: str | None, *, now: datetime) -> float | None:
    """Return the seconds that the header Retry-After asks for, within bounds, or None where it cannot be read."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
        if seconds is None:
            moment = parsedate_to_datetime(retry_after)
            seconds = (moment - now).total_seconds() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
    return None if seconds is None else min(max(seconds, 1), LONGEST_SNOOZE_SECONDS)


@cache
def _idle(_url: str) -> list[tuple[float, LimitedSocket]]:
    """Return the process's connections to a URL that are not in use, and since when."""
    return []


def _take_idle(url: str, wait_limit: WaitLimit) -> LimitedSocket | None:
    idle = _idle(url)
    while True:
        try:
            since, sock = idle.pop()
        except IndexError:
            return None
        if time.monotonic() - since < IDLE_SECONDS and sock.is_quiet:
            sock.renew(wait_limit)
            return sock
        sock.close_socket()
