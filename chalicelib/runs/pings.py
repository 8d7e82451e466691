"""Pings: report each run's start and end to a monitoring service, which raises an alarm when a ping is missing.

The URL's shape says which service it is. Sentry's crons end in `/api/<project>/cron/<monitor>/<key>/` and take a
`status` and the run as `check_in_id` (docs.sentry.io, Crons, HTTP). Any other is Healthchecks: it takes the run as
`rid`, and is followed by `/start` or `/fail` (healthchecks.io/docs/http_api).
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from threading import Thread
from typing import Literal
from urllib.parse import SplitResult, urlencode, urlsplit

from chalicelib.core.config import PingSettings, check_ping, is_reference
from chalicelib.core.context import Context
from chalicelib.core.errors import NightshiftError
from chalicelib.core.redaction import redact
from chalicelib.core.telemetry import logger

Signal = Literal["start", "success", "fail"]

# For the name look-up, connecting, sending and the answer together.
SECONDS = 2.0
# For reading the URL from Secrets Manager, once a process.
FETCH_SECONDS = 5.0
# What ending the invocation takes after a ping.
RESERVE_SECONDS = 1.0
LONGEST_SENTENCE = 500
_SENTRY = re.compile(r"/api/[^/]+/cron/[^/]+/[^/]+$")
_STATUSES = {"start": "in_progress", "success": "ok", "fail": "error"}
_ENDS = {"start": "/start", "success": "", "fail": "/fail"}


@dataclass(frozen=True, kw_only=True)
class Ping:
    """A signal about a run; `attempt` is the one that sends it, and `sentence` says why it failed."""

    signal: Signal
    task: str
    run_id: str
    attempt: int
    sentence: str = ""


def send(context: Context, ping: Ping) -> bool:
    """Ping the task's service, if it has one, and return False if the service did not accept it.

    A ping is sent once, takes at most two seconds, and never fails the run. A failure is logged as a warning without
    the URL, which is a secret: anyone who knows it can ping.
    """
    url = context.settings(PingSettings).pings.get(ping.task)
    if url is None:
        return True
    most = SECONDS + (FETCH_SECONDS if is_reference(url) else 0)
    seconds = max(0.0, min(most, context.remaining_ms() / 1000 - RESERVE_SECONDS))
    until, refusals = time.monotonic() + seconds, [f"it took longer than {seconds:.3g} s"]
    # A thread: the socket's time-out covers neither the name look-up nor an answer that arrives byte by byte.
    thread = Thread(target=lambda: refusals.append(_refusal(url, ping, until=until)), daemon=True)
    thread.start()
    thread.join(seconds)
    if refusal := refusals[-1]:
        logger.warning("ping not accepted", extra={"task": ping.task, "signal": ping.signal, "reason": refusal})
    return not refusal


def _refusal(url: str, ping: Ping, *, until: float) -> str:
    """Send the ping, and return why it was not accepted, or an empty text."""
    from http import HTTPStatus
    from http.client import HTTPException

    try:
        status = _get_status(url, ping, until=until)
    except HTTPException as error:
        # Its message may repeat what was sent.
        return f"its answer is not HTTP ({type(error).__name__})"
    except (NightshiftError, ValueError, OSError) as error:
        return str(error) or type(error).__name__
    # Redirects are not followed: their target would learn the secret.
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    if is_reference(url):
        from chalicelib.core import secrets

        # The URL may have been changed since this process read it, so the next ping reads it again.
        secrets.forget()
    return f"it answered {status}"


def _get_status(url: str, ping: Ping, *, until: float) -> int:
    from http.client import HTTPConnection, HTTPSConnection

    parts = urlsplit(_resolve(url))
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=_left(until))
    try:
        connection.connect()
        # Stop when the caller no longer waits: a late start could arrive after the end.
        connection.sock.settimeout(_left(until))
        method, target, body = _request(parts, ping)
        headers = {"User-Agent": "nightshift", "Content-Type": "text/plain; charset=utf-8"}
        connection.request(method, target, body=body, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _resolve(url: str) -> str:
    if not is_reference(url):
        return url
    from chalicelib.core import secrets

    try:
        # A secret that was pasted may end in a line break.
        return check_ping(secrets.resolve(url).strip())
    except ValueError as error:
        raise ValueError(f"what the setting refers to {error}") from None


def _left(until: float) -> float:
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("there is no time left")
    return seconds


def _request(parts: SplitResult, ping: Ping) -> tuple[str, str, bytes | None]:
    """Return the method, the target and the body of the request."""
    path, given = parts.path.rstrip("/"), [parts.query] if parts.query else []
    if not _SENTRY.search(path):
        body = redact(ping.sentence)[:LONGEST_SENTENCE].encode()
        return "POST", f"{path}{_ENDS[ping.signal]}?{'&'.join([*given, urlencode({'rid': ping.run_id})])}", body
    query = {"status": _STATUSES[ping.signal]}
    # Sentry accepts one end of a check-in. A run that succeeds after it was given up is sent without an id, which makes
    # a new check-in.
    if ping.signal != "success" or ping.attempt == 1:
        query["check_in_id"] = ping.run_id
    return "GET", f"{path}/?{'&'.join([*given, urlencode(query)])}", None
