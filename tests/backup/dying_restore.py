"""A process that restores and kills itself, as hard as the kernel can, before its n-th packet to the database.

python -m tests.backup.dying_restore DATABASE_URL ENDPOINT NTH

It prints how many packets there were, where it comes to its end.
"""

import os
import signal
import sys
from itertools import count
from typing import Any

from pymysql.connections import Connection

from chalicelib.backup.reader import Reader
from chalicelib.backup.restore import Progress, restore
from chalicelib.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, PLAIN
from tests.backup.restoring import ALL
from tests.backup.whole import connector


def main(url: str, endpoint: str, nth: str) -> None:
    packets = count(1)
    last = 0
    write = Connection._write_bytes  # type: ignore[attr-defined]

    def write_bytes(connection: Any, data: bytes) -> None:
        nonlocal last
        last = next(packets)
        if last == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)
        write(connection, data)

    Connection._write_bytes = write_bytes  # type: ignore[attr-defined]
    reader = Reader(Store(LocalAws(endpoint).client("s3"), bucket=BUCKET), id=ID, keys=PLAIN, plain=False)
    restore(reader, connector(url), ALL, progress=Progress(checked=lambda _: None, loaded=lambda _: None))
    print(last)


if __name__ == "__main__":
    main(*sys.argv[1:])
