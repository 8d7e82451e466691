"""One deployment of a stage at a time: an object in its bucket, which S3 lets only one of two writers change."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

KEY = "deployment.lock"
RENEWED_SECONDS = 5
# A lock that is not renewed while somebody looks so many times, a second apart, is of a deployment that has ended.
LOOKS = 20


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who deploys, from which process and since when; `count` is how often the lock was renewed."""

    who: str
    host: str
    process: int
    since: str
    count: int = 0
    is_done: bool = False


@contextmanager
def held(
    s3: Any, bucket: str, *, stage: str, who: str, pause: Callable[[float], object] = time.sleep
) -> Iterator[Callable[[], None]]:
    """Hold the lock of a stage; give a function that raises ValueError when it was lost.

    Raises ValueError, which says who deploys, when somebody else holds it. One that was left behind by a deployment
    that was killed is taken over: at once from a process of this machine, after twenty seconds from another's.
    """
    holder = Holder(
        who=who, host=socket.gethostname(), process=os.getpid(), since=datetime.now(UTC).isoformat("T", "seconds")
    )
    renewal = _Renewal(s3, bucket, stage, holder, _acquire(s3, bucket, stage, holder, pause))
    renewal.start()
    try:
        yield renewal.check
    finally:
        renewal.end()


def _acquire(s3: Any, bucket: str, stage: str, holder: Holder, pause: Callable[[float], object]) -> str:
    seen, looks = "", 0
    while True:
        etag, other = _read(s3, bucket)
        if other is None or other.is_done or _is_dead(other) or looks >= LOOKS:
            if taken := _write(s3, bucket, holder, {"IfMatch": etag} if other else {"IfNoneMatch": "*"}):
                return taken
            seen, looks = "", 0
        elif seen and etag != seen:
            raise ValueError(f"{other.who} on {other.host} has been deploying {stage} since {other.since}: wait for it")
        else:
            seen, looks = etag, looks + 1
        pause(1)


def _is_dead(other: Holder) -> bool:
    """Return whether the holder was a process of this machine that is there no more, or is this one."""
    if other.host != socket.gethostname():
        return False
    if other.process == os.getpid():
        # A plain `chalice deploy` begins once more as the same process.
        return True
    try:
        os.kill(other.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _read(s3: Any, bucket: str) -> tuple[str, Holder | None]:
    try:
        found = s3.get_object(Bucket=bucket, Key=KEY)
    except s3.exceptions.NoSuchKey:
        return "", None
    return found["ETag"], Holder(**json.loads(found["Body"].read()))


def _write(s3: Any, bucket: str, holder: Holder, condition: dict[str, str]) -> str | None:
    """Return the lock's new version, None where somebody else has written it meanwhile."""
    body = json.dumps(asdict(holder)).encode()
    try:
        # With a key of S3's own: whoever deploys need not have any right to the bucket's.
        written = s3.put_object(Bucket=bucket, Key=KEY, Body=body, ServerSideEncryption="AES256", **condition)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in {409, 412}:
            return None
        raise
    return str(written["ETag"])


class _Renewal:
    """Renews the lock in a thread, and gives it back at last."""

    def __init__(self, s3: Any, bucket: str, stage: str, holder: Holder, etag: str) -> None:
        self._s3, self._bucket, self._stage, self._holder, self._etag = s3, bucket, stage, holder, etag
        self._ended, self._is_lost = threading.Event(), False
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def check(self) -> None:
        if self._is_lost:
            raise ValueError(f"another deployment of {self._stage} has begun meanwhile: look at it, then deploy again")

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        if not self._is_lost:
            self._next(is_done=True)

    def _renew(self) -> None:
        while not self._ended.wait(RENEWED_SECONDS) and not self._is_lost:
            try:
                self._next(is_done=False)
            except (BotoCoreError, ClientError):
                # Tried again at the next turn, three of which fit into what others wait.
                continue

    def _next(self, *, is_done: bool) -> None:
        self._holder = replace(self._holder, count=self._holder.count + 1, is_done=is_done)
        etag = _write(self._s3, self._bucket, self._holder, {"IfMatch": self._etag})
        # A renewal whose answer was lost looks like somebody else's: then nobody deploys, which is the safe side.
        self._is_lost, self._etag = etag is None, etag or self._etag
