"""What each function of app.py is called with, time after time: always something that it has not seen before."""

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from bench.moments import NOW
from chalicelib.core.clock import iso
from nightshift.local.invocation import scheduled_event, sns_event, sqs_event
from nightshift.project.triggers import Trigger

# Each fire is for another month, so that none finds its work done.
APART = timedelta(days=31)


def events_of(trigger: Trigger) -> Iterator[Any]:
    """Yield events for a function, without end."""
    for n in count(1):
        match trigger.kind:
            case "task":
                yield {"scheduled_for": iso(NOW - n * APART)}
            case "expression":
                yield scheduled_event(NOW)
            case "queue":
                yield sqs_event([_message()])
            case "topic":
                yield sns_event(json.dumps(_bounce()))
            case "function":
                yield {"command": "status"}


def undue() -> Iterator[Any]:
    """Yield fires of a rule at moments for which no schedule of ours asks, without end."""
    return (scheduled_event(NOW.replace(minute=59) - timedelta(days=n)) for n in count(1))


def unsubscribing() -> dict[str, Any]:
    """Return what API Gateway sends for the button of the page of who wants no more mails."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    query = {"token": "that nobody was given"}
    return {
        "resource": "/unsubscribe",
        "path": "/unsubscribe",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()},
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": "/unsubscribe", "httpMethod": "POST", "path": "/api/unsubscribe"},
        "body": "List-Unsubscribe=One-Click",
        "isBase64Encoded": False,
    }


def _message() -> dict[str, Any]:
    content = {"paragraphs": ["What one writes."]}
    data = {"to": f"{uuid4()}@example.org", "subject": "A notice", "template": "notice", "data": content}
    return {
        "MessageId": str(uuid4()),
        "ReceiptHandle": "none",
        "Body": json.dumps({"type": "send_email", "data": data}),
    }


def _bounce() -> dict[str, Any]:
    to = f"{uuid4()}@example.org"
    mail = {"messageId": str(uuid4()), "timestamp": "2026-11-25T08:00:00.000Z", "destination": [to]}
    bounce = {
        "bounceType": "Permanent",
        "bounceSubType": "General",
        "bouncedRecipients": [{"emailAddress": to}],
        "timestamp": "2026-11-25T08:00:01.000Z",
        "feedbackId": str(uuid4()),
    }
    return {"eventType": "Bounce", "mail": mail, "bounce": bounce}
