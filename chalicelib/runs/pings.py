"""Pings: a service elsewhere is told when a run begins and how it ends, and alarms by itself when it is told nothing.

A URL's shape says what it takes. Sentry's crons end in `/api/<project>/cron/<monitor>/<key>/` and take a `status` and
the run as `check_in_id` (docs.sentry.io, Crons, HTTP); any other is of Healthchecks, takes the run as `rid`, and is
followed by `/start` or `/fail` (healthchecks.io/docs/http_api).
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

# For finding the address, connecting, sending and the answer, all together.
SECONDS = 2.0
# For having the URL from Secrets Manager, which a process does once.
FETCH_SECONDS = 5.0
# What ending the invocation takes after a ping.
RESERVE_SECONDS = 1.0
LONGEST_SENTENCE = 500
_SENTRY = re.compile(r"/api/[^/]+/cron/[^/]+/[^/]+$")
_STATUSES = {"start": "in_progress", "success": "ok", "fail": "error"}
_ENDS = {"start": "/start", "success": "", "fail": "/fail"}


@dataclass(frozen=True, kw_only=True)
class Ping:
    """What is told of a run; `attempt` is the one that tells it, and `sentence` says why it failed."""

    signal: Signal
    task: str
    run_id: str
    attempt: int
    sentence: str = ""


def send(context: Context, ping: Ping) -> bool:
    """Tell the task's service, where it has one, and return False where that did not take it.

    It is told once, for two seconds at most, and fails nothing: what went wrong is a warning, which never has the URL,
    since whoever knows that can ping too.
    """
    url = context.settings(PingSettings).pings.get(ping.task)
    if url is None:
        return True
    most = SECONDS + (FETCH_SECONDS if is_reference(url) else 0)
    seconds = max(0.0, min(most, context.remaining_ms() / 1000 - RESERVE_SECONDS))
    until, refusals = time.monotonic() + seconds, [f"it took longer than {seconds:.3g} s"]
    # Not the socket's time-out alone: that is none of the name's look-up, nor of an answer that drips.
    asking = Thread(target=lambda: refusals.append(_refusal(url, ping, until=until)), daemon=True)
    asking.start()
    asking.join(seconds)
    if refusal := refusals[-1]:
        told = {"task": ping.task, "signal": ping.signal, "reason": refusal}
        logger.warning("ping not taken", extra=told)
    return not refusal


def _refusal(url: str, ping: Ping, *, until: float) -> str:
    """Ask, and return why the ping was not taken; an empty text where it was."""
    from http import HTTPStatus
    from http.client import HTTPException

    try:
        status = _ask(url, ping, until=until)
    except HTTPException as error:
        # Its message may repeat what was sent.
        return f"its answer is not HTTP ({type(error).__name__})"
    except (NightshiftError, ValueError, OSError) as error:
        return str(error) or type(error).__name__
    # Nor is a redirect followed: the place that it leads to would be told the secret.
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    if is_reference(url):
        from chalicelib.core import secrets

        # The URL may have been changed since this process read it, so the next ping reads it again.
        secrets.forget()
    return f"it answered {status}"


def _ask(url: str, ping: Ping, *, until: float) -> int:
    from http.client import HTTPConnection, HTTPSConnection

    parts = urlsplit(_resolve(url))
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=_left(until))
    try:
        connection.connect()
        # Told when nobody waits any more, a start could come behind the end.
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
    said = {"status": _STATUSES[ping.signal]}
    # It takes no second end of a check-in. Without an id it ends the one in progress or, where there is none, takes a
    # new one: so it hears that a run which had been given up was done after all.
    if ping.signal != "success" or ping.attempt == 1:
        said["check_in_id"] = ping.run_id
    return "GET", f"{path}/?{'&'.join([*given, urlencode(said)])}", None
