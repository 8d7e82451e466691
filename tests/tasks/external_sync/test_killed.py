"""kill -9 anywhere, and the run once more: the end is that of a run which nobody disturbed."""

import json
import os
import signal
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Table, event

from chalicelib.schema import external_data, quarantine, sync_states
from chalicelib.schema import runs as runs_table
from chalicelib.tasks.external_sync import reader
from chalicelib.tasks.external_sync.pages import Cursors
from nightshift.local.environment import isolated
from nightshift.testkit.kit import Killed
from tests import forked
from tests.sweep import IS_SWEEP
from tests.tasks.external_sync import dying
from tests.tasks.external_sync.deployment import Deployment
from tests.tasks.external_sync.upstream import Asked, Reply

BEFORE = [{"id": str(n), "v": 1} for n in range(12)]
AFTER: list[Any] = [
    *({"id": str(n), "v": 1} for n in range(3)),
    *({"id": str(n), "v": 2} for n in range(3, 8)),
    {"id": None},
    {"id": "new", "v": 1},
    {"id": "other", "v": 1},
]


def settle_before(deployment: Deployment) -> None:
    """Read a first state, with an item in quarantine and one that is missing."""
    deployment.upstream.pages([*BEFORE, {"id": "was missing"}], [{"id": "bad", "at": "?"}])
    deployment.fire()
    deployment.upstream.pages(BEFORE, [{"id": "bad", "at": "?"}])
    deployment.fire()


def end_state(deployment: Deployment) -> Any:
    """Return all that a run leaves, but for ids and times."""
    items = [(row.external_id, row.data, row.source, row.missing_since is None) for row in deployment.rows()]
    refused = sorted((row.external_id or "", row.reason) for row in deployment.rows(quarantine))
    states = [(row.source, row.cursor, row.etag) for row in deployment.rows(sync_states)]
    statuses = [row.status for row in deployment.rows(runs_table)]
    return items, refused, states, statuses


def serve_after(deployment: Deployment) -> None:
    deployment.upstream.pages(AFTER[:4], AFTER[4:8], [*AFTER[8:], {"id": "was missing"}], [{"id": "bad", "at": 1}])


def restore(deployment: Deployment, settled: list[tuple[Table, list[Any]]]) -> None:
    """Bring the tables back to what they held."""
    deployment.empty()
    for table, rows in settled:
        deployment.insert(*(row._asdict() for row in rows), into=table)


def die_at(deployment: Deployment, nth: int) -> bool:
    """Run the task, killed just before its nth statement or commit; return whether it came that far."""
    engine = deployment.context().database.engine
    happened = count(1)

    def die(*_: Any) -> None:
        if next(happened) == nth:
            raise Killed

    event.listen(engine, "before_cursor_execute", die)
    event.listen(engine, "commit", die)
    try:
        deployment.again(request_id="r1")
    except Killed:
        return True
    finally:
        event.remove(engine, "before_cursor_execute", die)
        event.remove(engine, "commit", die)
    return False


@pytest.mark.parametrize("is_snapshot", [False, True])
@pytest.mark.parametrize("first", range(4) if IS_SWEEP else (0,))
def test_a_run_killed_before_any_of_its_statements_is_completed_by_its_repetition(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, is_snapshot: bool, first: int
) -> None:
    monkeypatch.setattr(reader, "BATCH", 2)
    deployment.declare(pages=Cursors(), is_snapshot=is_snapshot, changed_field="at", changed_unit="s")
    settle_before(deployment)
    settled = [(table, deployment.rows(table)) for table in (external_data, quarantine, sync_states)]
    deployment.kit.clock.advance(900)
    serve_after(deployment)
    restore(deployment, settled)
    deployment.again()
    undisturbed = end_state(deployment)
    assert ("was missing", '{"id": "was missing"}', "shop", True) in undisturbed[0]
    killed = 0
    # Each test takes every fourth statement; between them, with SWEEP=1 all.
    for nth in range(first + 1, 1000, 4):
        restore(deployment, settled)
        if not die_at(deployment, nth):
            break
        killed += 1
        deployment.again(request_id="r1")
        assert end_state(deployment) == undisturbed, nth
    assert killed > 8


@pytest.mark.parametrize(("page", "is_amid"), [("0", True), ("1", False), ("2", True), ("3", True), ("4", False)])
def test_a_process_killed_while_it_reads_is_completed_by_its_repetition(
    deployment: Deployment, page: str, is_amid: bool
) -> None:
    pages = [[{"id": f"{p}-{n}", "text": "x" * 3000} for n in range(200)] for p in range(5)]
    deployment.upstream.pages(*pages)
    whole = deployment.upstream.answer

    def kill_at(asked: Asked) -> Reply:
        reply = whole(asked)
        if asked.query.get("cursor", "0") != page:
            return reply
        assert isinstance(reply.body, bytes)
        half = [reply.body[: len(reply.body) // 2], b""] if is_amid else [b""]
        return Reply(body=then_kill(half))

    def then_kill(pieces: list[bytes]) -> Any:
        yield from pieces
        if is_amid:
            # Until some of what came has been committed.
            while f"{page}-0" not in deployment.data() and not deployment.upstream.stopped.wait(0.02):
                pass
        begun.process.kill()

    deployment.upstream.answer = kill_at
    environment = {
        **isolated(os.environ),
        **deployment.kit.environment,
        "EXTERNAL_SYNC_URL": deployment.upstream.url(),
        "EXTERNAL_SYNC_PAGES": "cursor",
        "EXTERNAL_SYNC_HOSTS_ALLOWED": "127.0.0.1",
    }
    begun = forked.begin(dying.main, environment=environment)
    killed = begun.end()
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(deployment.rows()) < 1000
    deployment.upstream.answer = whole
    done = forked.run(dying.main, environment=environment)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["outcome"], summary["attempt"], summary["total"]) == ("succeeded", 2, 1000)
    assert deployment.data() == {item["id"]: item for items in pages for item in items}
    assert [row.cursor for row in deployment.rows(sync_states)] == ["{}"]
