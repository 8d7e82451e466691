"""A backup that fails, is interrupted or killed, at whatever moment: no manifest, no backup, and no upload left."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Thread
from typing import Any

import pytest

from chalicelib.backup.archive.folder import list_backups
from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.core.errors import TransientError
from chalicelib.core.store import PIECE, UNDER_WAY, Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, KEYS, describe, write_parts
from tests.backup.refusing import Refusal

# More pieces than may be under way at once.
BIG = UNDER_WAY + 2


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


def left(aws: LocalAws) -> tuple[list[str], int]:
    """Return the keys in the bucket, and the number of unfinished uploads."""
    s3 = aws.client("s3")
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
    return keys, len(s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


def noise(pieces: int) -> Iterator[bytes]:
    """Yield what does not compress, for so many pieces of an upload."""
    for _ in range(pieces * PIECE // (1 << 20)):
        yield os.urandom(1 << 20)


def back_up_much(store: Store, chunks: Iterable[bytes]) -> None:
    with ArchiveWriter(store, id=ID, key=KEYS.first) as archive:
        parts = write_parts(archive)
        archive.write("00005.sql", chunks)
        archive.finish(describe(ID, parts, key=KEYS.first))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("operation", "nth"),
    [
        *(("PutObject", 1), ("PutObject", 3), ("PutObject", 5), ("CreateMultipartUpload", 1)),
        *(("UploadPart", 1), ("UploadPart", 3), ("UploadPart", BIG), ("CompleteMultipartUpload", 1)),
    ],
)
def test_a_backup_that_s3_refuses_at_any_call_leaves_nothing(
    aws: LocalAws, operation: str, nth: int, moment: str
) -> None:
    refusal = Refusal(aws, operation, nth, moment)
    with pytest.raises(TransientError, match=rf"\Abackups/{ID}/[\w.]+ cannot be stored: Connection was closed"):
        back_up_much(refusal.store, noise(BIG))
    # Of an upload that began and whose answer got lost nobody knows the id: pruning finds it.
    assert left(aws) == ([], int((operation, moment) == ("CreateMultipartUpload", "after")))


@pytest.mark.parametrize("after", [0, 1, PIECE - 1, PIECE, 2 * PIECE + 1, BIG * PIECE])
def test_a_backup_whose_text_breaks_off_leaves_nothing_and_says_why(aws: LocalAws, store: Store, after: int) -> None:
    def broken() -> Iterator[bytes]:
        if after:
            yield os.urandom(after)
        raise LookupError("the server has gone away")

    with pytest.raises(LookupError, match="the server has gone away"):
        back_up_much(store, broken())
    assert left(aws) == ([], 0)


def test_a_backup_that_is_interrupted_leaves_nothing(aws: LocalAws, store: Store) -> None:
    def interrupted() -> Iterator[bytes]:
        yield os.urandom(2 * PIECE)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up_much(store, interrupted())
    assert left(aws) == ([], 0)


def test_one_part_that_fails_takes_away_those_that_did_not(aws: LocalAws, store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield from noise(2)
        raise LookupError("the server has gone away")

    def write() -> None:
        with ArchiveWriter(store, id=ID, key=None) as archive, ThreadPoolExecutor(4) as threads:
            parts = [noise(3), broken(), noise(3), noise(3)]
            list(threads.map(archive.write, [f"{n:05}.sql" for n in range(4)], parts))

    with pytest.raises(LookupError):
        write()
    assert left(aws) == ([], 0)


def test_the_error_that_ended_a_backup_is_told_even_where_s3_does_not_let_it_be_taken_away(
    aws: LocalAws, log: Callable[[], list[dict[str, Any]]]
) -> None:
    def broken() -> Iterator[bytes]:
        yield from noise(2)
        raise LookupError("the server has gone away")

    refusal = Refusal(aws, "AbortMultipartUpload", 1, "before")
    with pytest.raises(LookupError, match="the server has gone away"):
        back_up_much(refusal.store, broken())
    assert left(aws) == ([], 1)
    (line,) = log()
    assert (line["message"], line["key"]) == ("an upload could not be aborted", f"backups/{ID}/00005.sql.zst.enc")
    refusal = Refusal(aws, "DeleteObjects", 1, "before")
    with pytest.raises(LookupError, match="the server has gone away"):
        back_up_much(refusal.store, broken())
    assert log()[1]["message"] == "failed backup could not be deleted"
    assert list_backups(refusal.store).finished == ()


def test_a_connection_that_drops_in_the_middle_of_a_piece_ends_the_backup(aws: LocalAws) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drop() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.recv(1 << 16)
                    connection.close()

        Thread(target=drop, daemon=True).start()
        dropped = LocalAws(f"http://127.0.0.1:{listener.getsockname()[1]}").client("s3")
        with (
            pytest.raises(TransientError, match="cannot be stored"),
            ArchiveWriter(Store(dropped, bucket=BUCKET), id=ID, key=None) as archive,
        ):
            archive.write("00001.sql", noise(2))
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("operation", "nth"), [("PutObject", 2), ("PutObject", 5), ("UploadPart", 3), ("CompleteMultipartUpload", 1)]
)
def test_a_backup_that_is_killed_is_none(aws: LocalAws, operation: str, nth: int, moment: str) -> None:
    command = [sys.executable, "-m", "tests.backup.dying", aws.endpoint, operation, str(nth), moment]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    listing = list_backups(Store(aws.client("s3"), bucket=BUCKET))
    is_whole = (operation, nth, moment) == ("PutObject", 5, "after")
    assert [backup.id for backup in listing.backups] == [ID]
    assert [backup.id for backup in listing.finished] == ([ID] if is_whole else [])
    assert left(aws)[1] == int(
        operation == "UploadPart" or (operation, moment) == ("CompleteMultipartUpload", "before")
    )
