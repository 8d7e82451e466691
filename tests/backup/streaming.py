"""A process that writes a backup of made-up rows and prints what that took: memory in bytes, seconds, bytes of text.

python -m tests.backup.streaming ENDPOINT MEBIBYTES WRITERS encrypted|plain
"""

import json
import random
import re
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, KEYS

MEBIBYTE = 1 << 20
WORDS = ("lantern", "harbour", "quiet", "kettle", "winter", "signal", "orchard", "pebble", "drift", "marble", "copper")


def statements() -> list[bytes]:
    """Return sixteen different statements of a mebibyte each, further apart than the compressor looks back."""
    chance = random.Random(1)
    made = []
    for _ in range(16):
        rows: list[str] = []
        size = 0
        while size < MEBIBYTE:
            words = " ".join(chance.choices(WORDS, k=12))
            rows.append(
                f"({chance.getrandbits(40)},'{chance.getrandbits(128):032x}','{words}',{chance.random():.6f},NULL)"
            )
            size += len(rows[-1]) + 2
        made.append(("INSERT INTO `t` (`a`,`b`,`c`,`d`,`e`) VALUES\n" + ",\n".join(rows) + ";\n").encode())
    return made


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def main(endpoint: str, mebibytes: str, writers: str, kind: str) -> None:
    store = Store(LocalAws(endpoint).client("s3"), bucket=BUCKET)
    made, each = statements(), int(mebibytes) // int(writers)

    def text(first: int) -> Iterator[bytes]:
        for number in range(each):
            yield made[(first + number) % len(made)]

    before, started, cpu = peak(), time.perf_counter(), time.process_time()
    with (
        ArchiveWriter(store, id=ID, key=KEYS.first if kind == "encrypted" else None) as archive,
        ThreadPoolExecutor(int(writers)) as threads,
    ):
        numbers = range(int(writers))
        stored = list(threads.map(archive.write, [f"{n:05}.sql" for n in numbers], map(text, numbers)))
    figures = {
        "before": before,
        "peak": peak(),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "plain_bytes": sum(part.plain_bytes for part in stored),
        "stored_bytes": sum(part.stored_bytes for part in stored),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
