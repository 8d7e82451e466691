"""What the real code writes when runs and jobs end in each way: metrics, as CloudWatch takes them, and lines."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, delete, insert, update

import app
from chalicelib.application import posts, users
from chalicelib.core import telemetry
from chalicelib.core.clock import to_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import RunFailedError
from chalicelib.mail import feedback
from chalicelib.operate import watch
from chalicelib.runs import execution
from chalicelib.schema import backups, pauses, schedules
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.kit import NOON, Kit
from tests.handlers.test_send_email import throttled
from tests.infra.templates import REPORTING, STAGE

MAIL = {"to": "reader@example.com", "subject": "Hello", "text": "Hello."}
READER: dict[str, Any] = {
    "id": "reader",
    "name": "Reader",
    "email": "reader@example.com",
    "is_verified": True,
    "is_admin": False,
    "email_digest": True,
    "created_at": 0,
    "updated_at": 0,
}
POST = {
    "id": "post",
    "title": "Hello",
    "points": 0,
    "comments": 0,
    "views": 0,
    "created_at": to_ms(NOON - timedelta(days=1)),
}
BACKUP = {"id": "backup", "kind": "dump", "status": "finished", "taken_at": 1, "verified_at": 1, "drilled_at": 1}
PAUSE = {"kind": "task", "name": "database_cleanup", "reason": "by hand", "paused_at": 1}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric as an alarm finds it: its dimensions with their values, and the unit that it is told in."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    unit: str


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """All that was written."""

    metrics: frozenset[Metric]
    lines: tuple[dict[str, Any], ...]
    # A run that put jobs on the queue.
    run_id: str


def emit(folder: Path) -> Emitted:
    """Let runs and jobs end in each way, in a deployment of the stage, and return what was written."""
    with _written() as text:
        run_id = _live(folder)
    documents = [json.loads(line) for line in text.getvalue().splitlines()]
    metrics = frozenset(metric for document in documents for metric in _metrics(document))
    return Emitted(metrics=metrics, lines=tuple(each for each in documents if "_aws" not in each), run_id=run_id)


@contextmanager
def _written() -> Iterator[io.StringIO]:
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(text):
        # As POWERTOOLS_SERVICE_NAME has it in a deployment.
        patch.setattr(telemetry, "SERVICE", f"nightshift-{STAGE}")
        patch.setattr(telemetry.logger.handlers[0], "stream", text)
        yield text


def _metrics(document: dict[str, Any]) -> Iterator[Metric]:
    for directive in document.get("_aws", {}).get("CloudWatchMetrics", ()):
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, document[name]) for name in names)
            for told in directive["Metrics"]:
                yield Metric(
                    namespace=directive["Namespace"], name=told["Name"], dimensions=dimensions, unit=told["Unit"]
                )


def _live(folder: Path) -> str:
    nobody = {"APP_JOBS_URL": "http://127.0.0.1:1", "APP_JOBS_SECRETS": "whsec_" + 32 * "k", "APP_JOBS_PRIVATE": "on"}
    kit = Kit(f"sqlite:///{folder / 'emitted.db'}", clock=None, REDIS_URL="redis://127.0.0.1:1", **nobody)
    run_id = _runs(kit)
    _jobs(kit)
    _fires(kit)
    return run_id


def _runs(kit: Kit) -> str:
    for function in REPORTING:
        with suppress(RunFailedError):
            _ask(function, scheduled_event(NOON) | {"time": "no moment"}, kit.context())
    with suppress(RunFailedError):
        _ask("cache_warming", scheduled_event(NOON), kit.context())
    _execute(kit, insert(users).values(READER))
    _execute(kit, insert(posts).values(POST))
    first, _again = (_ask("daily_digest", scheduled_event(NOON), kit.context()) for _ in range(2))
    kit.drain()
    return str(first["run_id"])


def _ask(function: str, event: object, context: Context) -> dict[str, Any]:
    if function in app.app.schedules:
        return execution.execute(function, event=event, context=context)
    assert function == "mail_feedback", f"nothing here calls {function}"
    return feedback.receive(event, context)


def _jobs(kit: Kit) -> None:
    done = kit.enqueue("send_email", MAIL)
    kit.drain()
    kit.redeliver(done)
    kit.ses.answers = [throttled()]
    kit.enqueue("send_email", MAIL)
    kit.enqueue("send_email", MAIL | {"to": "nobody"})
    kit.settle()
    kit.send({"type": "send_invoice", "data": {}})
    kit.drain()


def _fires(kit: Kit) -> None:
    # It sees each schedule for the first time.
    watch.watch(kit.context(), app.app.schedules, app.PARTS)
    # Now each has been in force for as long as nobody has looked.
    _execute(kit, update(schedules).values(checked_until=to_ms(NOON - timedelta(days=40)), history=None))
    _execute(kit, insert(backups).values(BACKUP))
    _execute(kit, insert(pauses).values(PAUSE))
    _ask("database_cleanup", scheduled_event(NOON - timedelta(hours=10)), kit.context())
    _execute(kit, delete(pauses))
    watch.watch(kit.context(), app.app.schedules, app.PARTS)


def _execute(kit: Kit, statement: Executable) -> None:
    kit.context().database.transact(lambda connection: connection.execute(statement))
