"""A process that reads a forged backup and prints what it said and the memory that this took, in bytes.

python -m tests.backup.bomb definitions|statements|tokens|manifest
"""

import json
import sys
from collections.abc import Iterable
from hashlib import sha256
from itertools import chain, repeat

from chalicelib.backup.archive import manifest as manifests
from chalicelib.backup.archive.folder import MANIFEST, key_of
from chalicelib.backup.archive.manifest import MAX_DEFINITION_BYTES, Part, Table, encode_manifest
from chalicelib.backup.archive.parts import Reader, zstd
from chalicelib.backup.restore.contents import read_contents
from chalicelib.backup.restore.screening import Limits, screen
from chalicelib.core.errors import PermanentError
from chalicelib.core.store import Store
from nightshift.local.environment import BUCKET
from nightshift.testkit.memory import MemoryS3
from tests.backup.archives import ID, PLAIN, describe
from tests.backup.streaming import peak

MEBIBYTE = 1 << 20
BEGINNING, END = b"SET NAMES utf8mb4;\nDELIMITER $$\n", b"\n$$\nDELIMITER ;\n"
OPENING, CLOSING = b"CREATE TABLE `t` (\n  `a` int COMMENT 'x'", b")"


def text_of(kind: str) -> Iterable[bytes]:
    """Return what a part unpacks to, in pieces."""
    if kind == "definitions":
        return chain([BEGINNING, OPENING], repeat(bytes(MEBIBYTE), 1300), [CLOSING, END])
    if kind == "statements":
        one = b"SET NAMES binary\n$$\n"
        whole = MAX_DEFINITION_BYTES - len(BEGINNING) - MEBIBYTE
        return chain([BEGINNING], repeat(one * 1000, whole // len(one) // 1000), [b"SET NAMES binary", END])
    return chain([BEGINNING, OPENING], repeat(b",(" * (MEBIBYTE // 2), 62), [CLOSING, END])


def forge(memory: MemoryS3, kind: str) -> int:
    """Put a backup into the bucket as whoever may write to it can, and return the size of what was put."""
    key = key_of(ID, "00001.sql.zst")
    compressor, packed, plain_bytes = zstd.ZstdCompressor(), b"", 0
    for piece in text_of("tokens" if kind == "manifest" else kind):
        packed += compressor.compress(piece)
        plain_bytes += len(piece)
    packed += compressor.flush()
    digest = sha256(packed).hexdigest()
    part = Part(name="00001.sql.zst", plain_bytes=plain_bytes, stored_bytes=len(packed), sha256=digest, kind="tables")
    tables = (Table(name="t", rows=None, checksum=None),)
    # No backup of ours would have either.
    manifests.MAX_DEFINITION_BYTES, most = plain_bytes, manifests.MAX_DEFINITION_BYTES
    manifest = encode_manifest(describe(ID, [part], key=None, tables=tables), key=None)
    manifests.MAX_DEFINITION_BYTES = most
    if kind == "manifest":
        manifest = b"[" + b"{}," * (8 * MEBIBYTE)
    memory.objects |= {key: packed, key_of(ID, MANIFEST): manifest}
    return len(packed) + len(manifest)


def main(kind: str) -> None:
    memory = MemoryS3()
    stored = forge(memory, kind)
    before, sentence = peak(), ""
    try:
        reader = Reader(Store(memory, bucket=BUCKET), id=ID, keys=PLAIN, plain=False)  # type: ignore[arg-type]
        contents = read_contents(reader, rows=True, threads=2, progress=lambda _: None)
        screen(contents.definitions, Limits(is_trusted=False, is_foreign=lambda _: True))
    except PermanentError as error:
        sentence = str(error)
    print(json.dumps({"stored": stored, "before": before, "peak": peak(), "sentence": sentence}))


if __name__ == "__main__":
    main(*sys.argv[1:])
