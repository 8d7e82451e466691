"""A backup of any size takes the same memory: a few pieces, whatever the network does with them."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chalicelib.core.store import PIECE, UNDER_WAY, Store, UploadPool
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID
from tests.backup.sink import Sink, sink
from tests.sweep import IS_SWEEP

MEBIBYTE = 1 << 20
# Four times what was stored may not even be held once.
TEXT, MOST = 256, 48


@pytest.fixture(scope="module")
def server() -> Iterator[Sink]:
    with sink() as server:
        yield server


@pytest.mark.parametrize("kind", ["plain", "encrypted"] if IS_SWEEP else ["encrypted"])
def test_memory_does_not_grow_with_the_size_of_the_backup(server: Sink, kind: str) -> None:
    server.received.clear()
    command = [sys.executable, "-m", "tests.backup.streaming", server.url, str(TEXT), "1", kind]
    figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert figures["plain_bytes"] > TEXT * MEBIBYTE
    assert sum(server.received.values()) == figures["stored_bytes"] > MOST * MEBIBYTE * 3 / 2
    assert figures["peak"] - figures["before"] < MOST * MEBIBYTE


def test_no_more_pieces_wait_for_the_network_than_may_be_under_way(server: Sink) -> None:
    server.received.clear()
    piece, waiting = bytes(PIECE), []

    def pieces() -> Iterator[bytes]:
        for made in range(10 * UNDER_WAY):
            waiting.append(made - sum(server.received.values()) // PIECE)
            yield piece

    pool = UploadPool()
    Store(LocalAws(server.url).client("s3"), bucket=BUCKET).upload("k", pieces(), content_type="text/plain", pool=pool)
    pool.close()
    assert max(waiting) <= UNDER_WAY + 1


@pytest.mark.parametrize("kind", ["definitions", "statements", "tokens", "manifest"])
def test_a_bomb_is_refused_in_the_memory_of_a_function(kind: str) -> None:
    """What whoever may write to the bucket can put there: of definitions some KB that unpack to 1.3 GB."""
    command = [sys.executable, "-m", "tests.backup.bomb", kind]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert ID in told["sentence"] or "`t`" in told["sentence"]
    assert told["stored"] < 64_000 or kind == "manifest"
    assert told["peak"] - told["before"] < 400 * MEBIBYTE
