"""Uploads of objects while they are being made: whole in the bucket at their end, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from io import BytesIO
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.telemetry import logger

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

# Bytes, the fewest that S3 takes, since every piece is held until it has gone. An object of 10,000 has 52 GB.
PIECE = 5 << 20
# Of all uploads of a pool together: a piece that waits for the network is memory.
UNDER_WAY = 4


class Place(TypedDict):
    """Where an object goes."""

    Bucket: str
    Key: str


class UploadPool:
    """The threads that send pieces; whoever makes them waits while all are busy."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(UNDER_WAY, thread_name_prefix="upload")
        self._free = BoundedSemaphore(UNDER_WAY)

    def submit(self, send: Callable[[], CompletedPartTypeDef]) -> Future[CompletedPartTypeDef]:
        """Send a piece as soon as a thread is free, and return its future then."""
        self._free.acquire()
        future = self._threads.submit(send)
        future.add_done_callback(lambda _: self._free.release())
        return future

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        self._threads.shutdown()


def upload(s3: S3Client, place: Place, chunks: Iterable[bytes], *, content_type: str, pool: UploadPool) -> None:
    """Store what `chunks` give; whatever ends it early leaves no object, an error of theirs too.

    Raises BotoCoreError, ClientError, and what `chunks` raise.
    """
    pieces = _pieces(chunks)
    piece = next(pieces)
    if len(piece) < PIECE:
        # One call instead of three, and most parts are small.
        s3.put_object(**place, Body=piece, ContentType=content_type)
        return
    # A bucket with an object lock demands checksums, and S3 only takes those of an algorithm that was announced.
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
            # Its own memory, not a copy.
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
        # The error on its way out says more, and the bucket's own rule removes what is left.
        logger.warning("an upload could not be aborted", extra={"key": place["Key"], "error": str(error)})
