"""A backup whose process kills itself, as hard as the kernel can, before or after its n-th call of an operation of S3.

python -m tests.backup.dying ENDPOINT OPERATION NTH before|after
"""

import os
import signal
import sys
from typing import Any

from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.core.store import PIECE, Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, KEYS, describe, write_parts


def main(endpoint: str, operation: str, nth: str, moment: str) -> None:
    left = int(nth)

    def die(**_: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    client = LocalAws(endpoint).client("s3")
    client.meta.events.register(f"{moment}-call.s3.{operation}", die)
    with ArchiveWriter(Store(client, bucket=BUCKET), id=ID, key=KEYS.first) as archive:
        parts = write_parts(archive)
        archive.write("00005.sql", [os.urandom(3 * PIECE + 1)])
        archive.finish(describe(ID, parts, key=KEYS.first))


if __name__ == "__main__":
    main(*sys.argv[1:])
