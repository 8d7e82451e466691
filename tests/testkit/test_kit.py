"""A kit is a deployment in this process, which has one connection to its database."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import make_url, text

from chalicelib.core.context import Context
from chalicelib.core.engine import engine_for
from chalicelib.core.outcome import Counts
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import Job
from nightshift.testkit.kit import PRIORITY, WORK, Kit

Perform = Callable[[Context, Job[Any]], Counts]


class Place(msgspec.Struct, frozen=True):
    """Where to put something."""

    key: str


def put(context: Context, job: Job[Place]) -> Counts:
    context.store.put(job.payload.key, b"", content_type="image/png")
    return Counts(total=1, succeeded=1)


def read(context: Context, job: Job[Place]) -> Counts:
    list(context.store.read(job.payload.key))
    return Counts(total=1, succeeded=1)


def link(context: Context, job: Job[Place]) -> Counts:
    context.store.link(job.payload.key, seconds=60)
    return Counts(total=1, succeeded=1)


def reached(folder: Path, perform: Perform, key: str, queue: str) -> tuple[str, str | None]:
    """Return what becomes of a job that does something in the bucket, and its error."""
    kit = Kit(f"sqlite:///{folder / key.replace('/', '-')}.db")
    kit.s3.objects |= {"reports/a": b"", "small/a": b""}
    kit.handlers["reach"] = Handler(
        type="reach", payload=Place, perform=perform, max_attempts=1, backoff_seconds=(1,), timeout_seconds=None
    )
    kit.send({"type": "reach", "data": {"key": key}, "id": "1"}, queue=queue)
    kit.drain(queue=queue)
    return kit.job("1").status, kit.job("1").last_error


@pytest.mark.parametrize("queue", [WORK, PRIORITY])
@pytest.mark.parametrize(("perform", "action"), [(put, "s3:PutObject"), (read, "s3:GetObject"), (link, "s3:GetObject")])
def test_a_handler_is_denied_what_no_policy_allows(tmp_path: Path, perform: Perform, action: str, queue: str) -> None:
    assert reached(tmp_path, perform, "reports/a", queue) == ("completed", None)
    status, error = reached(tmp_path, perform, "small/a", queue)
    assert status == "dead"
    assert error is not None
    assert f"no policy allows {action} on small/a: .chalice/policies/shared/handlers.json" in error


def test_kits_of_one_database_share_one_connection(mysql_url: str) -> None:
    with engine_for(mysql_url).connect() as root:
        for statement in ("DROP USER IF EXISTS kit", "CREATE USER kit", "GRANT ALL ON nightshift.* TO kit"):
            root.execute(text(statement))
        for _ in range(2):
            Kit(make_url(mysql_url).set(username="kit").render_as_string()).jobs()
        connections = text("SELECT count(*) FROM performance_schema.processlist WHERE user = 'kit'")
        assert root.execute(connections).scalar_one() == 1
