"""The deployment's own bucket: store, read, list and delete objects, and make links to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.clock import iso
from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.core.telemetry import logger

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

READ_BYTES = 1 << 18
# How many broken connections a read of one object survives.
RESUMPTIONS = 3
# What S3 deletes in one call.
DELETED_AT_ONCE = 1000


class NotFoundError(PermanentError):
    """The object to read does not exist, or no longer."""


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object in a listing, its size in bytes."""

    key: str
    size: int
    modified_at: datetime


@dataclass(frozen=True, kw_only=True)
class UnfinishedUpload:
    """An upload that was neither completed nor aborted; S3 charges for its pieces."""

    key: str
    id: str
    started_at: datetime


class Store:
    """Objects of one bucket by key."""

    def __init__(self, s3: S3Client, *, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def put(self, key: str, content: bytes, *, content_type: str) -> None:
        """Store an object; the bucket keeps the versions before it. Raises TransientError."""
        with _translate_errors(f"{key} cannot be stored"):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)

    def upload(self, key: str, chunks: Iterable[bytes], *, content_type: str, pool: UploadPool) -> None:
        """Store an object from a stream, whole or not at all. Raises TransientError, and what `chunks` raise."""
        with _translate_errors(f"{key} cannot be stored"):
            upload(self._s3, {"Bucket": self._bucket, "Key": key}, chunks, content_type=content_type, pool=pool)

    def read(self, key: str) -> Iterator[bytes]:
        """Yield an object's content, resuming after a broken connection. Raises NotFoundError, TransientError."""
        place: Any = {"Bucket": self._bucket, "Key": key}
        done, broken = 0, 0
        with _translate_errors(f"{key} cannot be read"):
            answer = self._s3.get_object(**place)
            size = answer["ContentLength"]
            while True:
                try:
                    with closing(answer["Body"]) as stream:
                        while chunk := stream.read(READ_BYTES):
                            done += len(chunk)
                            yield chunk
                    return
                except (BotoCoreError, OSError):
                    broken += 1
                    if broken > RESUMPTIONS or done >= size:
                        raise
                # By ETag: another object may have been stored under the key.
                answer = self._s3.get_object(**place, Range=f"bytes={done}-", IfMatch=answer["ETag"])

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects below a prefix by key.

        Raises TransientError, also for an incomplete or unordered answer: callers conclude from the list that an object
        does not exist.
        """
        place: Any = {"Bucket": self._bucket, "Prefix": prefix}
        last = ""
        with _translate_errors(f"the objects below {prefix} cannot be listed"):
            while True:
                answer = self._s3.list_objects_v2(**place)
                entries = answer.get("Contents", [])
                for entry in entries:
                    if entry["Key"] <= last:
                        raise TransientError(f"the objects below {prefix} cannot be listed: S3's answer is unordered")
                    last = entry["Key"]
                    yield StoredObject(key=last, size=entry["Size"], modified_at=entry["LastModified"])
                if answer.get("IsTruncated") is False and answer.get("KeyCount") == len(entries):
                    return
                if not answer.get("NextContinuationToken"):
                    raise TransientError(f"the objects below {prefix} cannot be listed: S3's answer is incomplete")
                place["ContinuationToken"] = answer["NextContinuationToken"]

    def delete(self, keys: Sequence[str]) -> dict[str, str]:
        """Delete objects, of which a versioned bucket keeps the versions; return by key why S3 refused.

        Raises TransientError.
        """
        refused: dict[str, str] = {}
        for start in range(0, len(keys), DELETED_AT_ONCE):
            some = keys[start : start + DELETED_AT_ONCE]
            with _translate_errors(f"{some[0]} cannot be deleted"):
                answer = self._s3.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in some], "Quiet": True}
                )
            refused |= {error["Key"]: f"{error['Code']}: {error['Message']}" for error in answer.get("Errors", [])}
        return refused

    def lock_of(self, key: str, *, now: datetime) -> str | None:
        """Return how an object is locked against permanent deletion, or None.

        Raises NotFoundError, TransientError. S3 hides a lock from callers without the permission to see it.
        """
        with _translate_errors(f"{key} cannot be inspected"):
            answer = self._s3.head_object(Bucket=self._bucket, Key=key)
        if answer.get("ObjectLockLegalHoldStatus") == "ON":
            return "by a legal hold"
        until = answer.get("ObjectLockRetainUntilDate")
        return f"until {iso(until)}" if until is not None and until > now else None

    def unfinished_uploads(self, prefix: str) -> Iterator[UnfinishedUpload]:
        """Yield the uploads below a prefix that were neither completed nor aborted. Raises TransientError."""
        with _translate_errors(f"the uploads below {prefix} cannot be listed"):
            for page in self._s3.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=prefix):
                for entry in page.get("Uploads", []):
                    yield UnfinishedUpload(key=entry["Key"], id=entry["UploadId"], started_at=entry["Initiated"])

    def abort(self, unfinished: UnfinishedUpload) -> None:
        """Delete an unfinished upload's pieces, if they still exist. Raises TransientError."""
        with suppress(NotFoundError), _translate_errors(f"the upload of {unfinished.key} cannot be aborted"):
            self._s3.abort_multipart_upload(Bucket=self._bucket, Key=unfinished.key, UploadId=unfinished.id)

    def link(self, key: str, *, seconds: int) -> str:
        """Return a link by which anyone can read an object; it ends earlier if the role's session does."""
        parameters = {"Bucket": self._bucket, "Key": key}
        return self._s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)


@contextmanager
def _translate_errors(failure: str) -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError, OSError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in {"NoSuchKey", "NoSuchUpload", "404"}:
            raise NotFoundError(f"{failure}: it does not exist (any more)") from error
        raise TransientError(f"{failure}: {error}") from error


# Bytes, the fewest that S3 accepts, since each piece is in memory until it is sent. 10,000 pieces hold 52 GB.
PIECE = 5 << 20
# Pieces of all uploads of a pool that are in memory at once.
UNDER_WAY = 4


class Place(TypedDict):
    """The bucket and key of an object, as S3's calls take them."""

    Bucket: str
    Key: str


class UploadPool:
    """The threads that send pieces; the caller waits while all are busy."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(UNDER_WAY, thread_name_prefix="upload")
        self._free = BoundedSemaphore(UNDER_WAY)

    def submit(self, send: Callable[[], CompletedPartTypeDef]) -> Future[CompletedPartTypeDef]:
        """Wait for a free thread, and return the future of sending a piece in it."""
        self._free.acquire()
        future = self._threads.submit(send)
        future.add_done_callback(lambda _: self._free.release())
        return future

    def close(self) -> None:
        """Wait for all pieces, and end the threads."""
        self._threads.shutdown()


def upload(s3: S3Client, place: Place, chunks: Iterable[bytes], *, content_type: str, pool: UploadPool) -> None:
    """Store an object of `chunks`; any error, theirs too, leaves no object.

    Raises BotoCoreError, ClientError, and what `chunks` raise.
    """
    pieces = _pieces(chunks)
    piece = next(pieces)
    if len(piece) < PIECE:
        # One call instead of three, and most parts are small.
        s3.put_object(**place, Body=piece, ContentType=content_type)
        return
    # A bucket with an object lock requires checksums, of the algorithm that this call names.
    begun = s3.create_multipart_upload(**place, ContentType=content_type, ChecksumAlgorithm="CRC32")
    upload_id = begun["UploadId"]
    sent: list[CompletedPartTypeDef] = []
    under_way: deque[Future[CompletedPartTypeDef]] = deque()
    try:
        while piece:
            number = len(sent) + len(under_way) + 1
            under_way.append(pool.submit(partial(_send, s3, place, upload_id, number, piece)))
            while under_way and under_way[0].done():
                sent.append(under_way.popleft().result())
            piece = next(pieces, b"")
        sent += [future.result() for future in under_way]
        s3.complete_multipart_upload(**place, UploadId=upload_id, MultipartUpload={"Parts": sent})
    except BaseException:
        # A piece that arrives after the abort would stay.
        wait(under_way)
        _abort(s3, place, upload_id)
        raise


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = BytesIO()
    for chunk in chunks:
        held.write(chunk)
        if held.tell() >= PIECE:
            # Without a copy.
            yield held.getvalue()
            held = BytesIO()
    yield held.getvalue()


def _send(s3: S3Client, place: Place, upload_id: str, number: int, piece: bytes) -> CompletedPartTypeDef:
    answer = s3.upload_part(**place, UploadId=upload_id, PartNumber=number, Body=piece, ChecksumAlgorithm="CRC32")
    part: CompletedPartTypeDef = {"PartNumber": number, "ETag": answer["ETag"]}
    if "ChecksumCRC32" in answer:
        part["ChecksumCRC32"] = answer["ChecksumCRC32"]
    return part


def _abort(s3: S3Client, place: Place, upload_id: str) -> None:
    try:
        s3.abort_multipart_upload(**place, UploadId=upload_id)
    except (BotoCoreError, ClientError) as error:
        # The original error is raised. The bucket's lifecycle rule removes the pieces.
        logger.warning("an upload could not be aborted", extra={"key": place["Key"], "error": str(error)})
