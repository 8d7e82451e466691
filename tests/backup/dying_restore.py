"""A process that restores and kills itself, as hard as the kernel can, before its n-th packet that holds a text.

python -m tests.backup.dying_restore DATABASE_URL ENDPOINT TEXT NTH

It prints every packet's beginning, where it comes to its end.
"""

import json
import os
import signal
import sys
from typing import Any

from pymysql.connections import Connection

from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.restore.restore import RestoreProgress, restore
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, PLAIN
from tests.backup.restoring import ALL
from tests.backup.whole import connector

BEGINNING = 60


def main(url: str, endpoint: str, text: str, nth: str) -> None:
    packets: list[str] = []
    write = Connection._write_bytes  # type: ignore[attr-defined]

    def write_bytes(connection: Any, data: bytes) -> None:
        packets.append(data[:BEGINNING].decode("latin-1"))
        if text in packets[-1] and sum(text in packet for packet in packets) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        write(connection, data)

    Connection._write_bytes = write_bytes  # type: ignore[attr-defined]
    reader = Reader(Store(LocalAws(endpoint).client("s3"), bucket=BUCKET), id=ID, keys=PLAIN, plain=False)
    restore(reader, connector(url), ALL, progress=RestoreProgress(checked=lambda _: None, loaded=lambda _: None))
    print(json.dumps(packets))


if __name__ == "__main__":
    main(*sys.argv[1:])
