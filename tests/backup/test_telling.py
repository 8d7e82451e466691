"""Whoever waits for a backup's work is told how far it has come, and not too often."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from chalicelib.backup import progress as telling
from chalicelib.backup.archive.manifest import Manifest
from chalicelib.backup.progress import ProgressLogger
from chalicelib.backup.restore.contents import verify
from chalicelib.core.store import Store
from tests.backup.archives import ID, KEYS, PLAIN
from tests.backup.restoring import HOSTILE, Database, run
from tests.backup.whole import back_up, connector

Log = Callable[[], list[dict[str, Any]]]
Told = Callable[[str], list[tuple[int, int | None]]]


@pytest.fixture
def told(log: Log, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Return how far a step had come, and of how much, whenever there was anything to tell."""
    monkeypatch.setattr(telling, "EVERY_SECONDS", 0)

    def found(step: str) -> list[tuple[int, int | None]]:
        lines = [line for line in log() if line["message"] == telling.MESSAGE and line["step"] == step]
        return [(line["done"], line.get("of")) for line in lines]

    return found


def test_a_backup_tells_what_it_has_written(store: Store, database: Database, hostile: Manifest, told: Told) -> None:
    manifest = back_up(connector(database.url, schema="source"), store)
    written = told("written")
    assert len(written) == len(manifest.parts)
    assert (manifest.plain_bytes, None) in written


def test_a_verification_tells_what_it_has_read_of_how_much(store: Store, small: Manifest, told: Told) -> None:
    verify(store, ID, keys=PLAIN, plain=False, threads=2, progress=lambda _: None)
    assert len(told("read")) == len(small.parts)
    assert max(told("read")) == (small.plain_bytes, small.plain_bytes)


def test_a_verification_that_is_handed_on_tells_of_what_is_left(store: Store, small: Manifest, told: Told) -> None:
    _, *others = small.parts
    verify(store, ID, keys=PLAIN, plain=False, threads=1, progress=lambda _: None, done=1)
    left = sum(part.plain_bytes for part in others)
    assert told("read")[-1] == (left, left)


def test_a_restore_tells_each_of_its_long_steps(
    store: Store, database: Database, hostile: Manifest, told: Told
) -> None:
    run(store, database, id=HOSTILE, keys=KEYS, allow_cross_schema=True)
    rows = sum(part.plain_bytes for part in hostile.parts if part.kind == "rows")
    assert max(told("read")) == (hostile.plain_bytes, hostile.plain_bytes)
    assert max(told("loaded")) == (rows, rows)
    assert max(told("compared")) == (hostile.rows, hostile.rows)


def test_it_is_told_every_five_seconds_at_most(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([100.0, 102.0, 105.0, 109.9, 110.0])
    monkeypatch.setattr(telling, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    step = ProgressLogger("read", backup=ID, total=10)
    for _ in range(4):
        step.add(2)
    assert [(line["backup"], line["done"], line["of"]) for line in log()] == [(ID, 4, 10), (ID, 8, 10)]
