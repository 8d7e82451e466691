"""Nightshift for Python: enqueue jobs in your own transactions, and perform them in your application."""

import base64
import hashlib
import hmac
import json
import logging
import time
import uuid
from contextlib import ExitStack

from botocore.exceptions import BotoCoreError, ClientError

DUPLICATE = 1062
log = logging.getLogger("nightshift")


class Refused(Exception):
    """Raise it in a handler when the job can never succeed: the job is dead, with this message as the reason."""


class NotYet(Exception):
    """Raise it in a handler when the job cannot be done yet: it comes again after so many seconds."""

    def __init__(self, message, seconds):
        super().__init__(message)
        self.seconds = seconds


def enqueue(cursor, type_, data, *, id_=None, run_at=None):
    """Insert a job in the cursor's transaction, due now or at a datetime with a zone, and return its id."""
    id_ = id_ or str(uuid.uuid4())
    due = int(run_at.timestamp() * 1000) if run_at else 0
    cursor.execute(
        "INSERT INTO jobs (id, type, data, status, created_at, due_at, dispatch_at)"
        " VALUES (%s, %s, %s, 'pending', %s, %s, %s)",
        (id_, type_, json.dumps(data), int(time.time() * 1000), due, due),
    )
    return id_


def start(sqs, queue_url, id_):
    """Start a job at once. Call it after the commit; if it fails, the job starts within a minute."""
    try:
        sqs.send_message(QueueUrl=queue_url, MessageBody=json.dumps({"id": id_}))
    except (BotoCoreError, ClientError) as error:
        log.warning("job %s starts within a minute, not at once: %s", id_, error)


def is_signed(secrets, headers, body):
    """Return whether Nightshift signed the request, with one of the secrets, in the last five minutes."""
    id_, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:
        return False
    signed = f"{id_}.{timestamp}.".encode() + body
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(one, other) for one in expected for other in given)


def perform(transaction, secrets, handlers, headers, body):
    """Perform a request's job once in `transaction()`, which gives a cursor; return a body, a status and headers."""
    if not is_signed(secrets, headers, body):
        return "the signature or the timestamp is wrong", 401, {}
    job = json.loads(body)
    if job["type"] not in handlers:
        # Not 400, which would end the job: a newer release may know the type.
        return f"no handler of {job['type']}", 404, {}
    try:
        with ExitStack() as stack:
            try:
                cursor = stack.enter_context(transaction())
            except Exception as error:
                # Without Retry-After: Nightshift then holds back all jobs until the application is back.
                return str(error), 503, {}
            result = _perform_once(cursor, handlers[job["type"]], job)
        return result, 200, {"Content-Type": "application/json"}
    except Refused as error:
        return str(error), 422, {}
    except NotYet as error:
        return str(error), 503, {"Retry-After": str(error.seconds)}
    except Exception as error:
        log.exception("job %s failed", job["id"])
        return str(error), 500, {}


def _perform_once(cursor, handler, job):
    try:
        # A second call for the same job waits here until the first has ended.
        cursor.execute("INSERT INTO performed_jobs (id) VALUES (%s)", (job["id"],))
    except Exception as error:
        if error.args[0] != DUPLICATE:
            raise
        cursor.execute("SELECT result FROM performed_jobs WHERE id = %s", (job["id"],))
        return cursor.fetchone()[0]
    result = json.dumps(handler(job, cursor))
    cursor.execute("UPDATE performed_jobs SET result = %s WHERE id = %s", (result, job["id"]))
    return result
