"""Verification: a backup is read back whole, and a mark beside it says that it was."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock

from chalicelib.backup.folder import VERIFIED
from chalicelib.backup.keys import Keys
from chalicelib.backup.lines import Lines
from chalicelib.backup.manifest import Part
from chalicelib.backup.marks import mark, unmark
from chalicelib.backup.reader import Reader
from chalicelib.backup.statement import Statements
from chalicelib.backup.telling import Telling
from chalicelib.core.errors import DamagedError
from chalicelib.core.store import Store


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was read back: parts, their rows, and their bytes in the bucket and as text."""

    parts: int
    rows: int
    stored_bytes: int
    plain_bytes: int


def verify(
    store: Store,
    id: str,
    *,
    keys: Keys,
    plain: bool,
    threads: int,
    progress: Callable[[int], None],
    done: int = 0,
) -> Verified:
    """Read a backup back and mark it as verified, or take its mark away where it is damaged.

    Arguments and errors as of `Reader` and `check`.
    """
    try:
        reader = Reader(store, id=id, keys=keys, plain=plain)
        verified = check(reader, threads=threads, progress=progress, done=done)
    except DamagedError:
        # Retention trusts the mark.
        unmark(store, id, VERIFIED)
        raise
    mark(store, id, VERIFIED)
    return verified


def check(reader: Reader, *, threads: int, progress: Callable[[int], None], done: int = 0) -> Verified:
    """Read every part: sizes, digests, encryption, compression, definitions, and rows against the manifest.

    The first `done` parts were read by an earlier call that time ended. `progress` is called after each part in one of
    the threads, with how many of the first parts are read; what it raises ends the check and is raised here, so it may
    say that time is up. Raises DamagedError, TransientError.
    """
    manifest = reader.manifest
    wanted = list(enumerate(manifest.parts))[done:]
    told = Telling("read", backup=manifest.id, total=sum(part.plain_bytes for _, part in wanted))
    unread, lock = {number for number, _ in wanted}, Lock()

    def check_part(number: int, part: Part) -> None:
        text, name = reader.read(part), f"{part.name} of backup {manifest.id}"
        if part.kind == "sqlite":
            deque(text, maxlen=0)
        elif part.kind != "rows":
            deque(Statements(b"".join(text), part=name), maxlen=0)
        elif (rows := Lines(text, table=part.table or "", part=name).count()) != part.rows:
            raise DamagedError(f"{name} is damaged: it has {rows} rows, and the manifest says {part.rows}")
        told.add(part.plain_bytes)
        with lock:
            unread.discard(number)
            first = min(unread, default=len(manifest.parts))
        progress(first)

    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        parts = [pool.submit(check_part, number, part) for number, part in wanted]
        over, _ = wait(parts, return_when=FIRST_EXCEPTION)
        pool.shutdown(cancel_futures=True)
        for part in over:
            part.result()
    return Verified(
        parts=len(manifest.parts),
        rows=manifest.rows,
        stored_bytes=manifest.stored_bytes,
        plain_bytes=manifest.plain_bytes,
    )
