"""Bodies too long for SQS, in our own bucket, behind pointers as the AWS extended clients write them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.errors import InvalidRequestError, PermanentError, TransientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

# Bytes that every queue accepts, attributes included; some queues are configured for more.
LIMIT = 262_144
# Bytes: with every quote escaped, a row of it still fits into the 16 MiB that MariaDB takes at once.
MAX_BYTES = 7 * 1024 * 1024
# The extended clients' classes: since 2020, and before.
CLASSES = ("software.amazon.payloadoffloading.PayloadS3Pointer", "com.amazon.sqs.javamessaging.MessageS3Pointer")

_POINTER = re.compile(rf'\s*\[\s*"(?:{"|".join(map(re.escape, CLASSES))})"')
# No segment begins with a dot, so that `..` cannot leave the folder.
_KEY = re.compile(r"payloads(?:/[\w-][\w.-]*)+", re.ASCII)
_MAX_KEY = 1024


class _Place(msgspec.Struct, frozen=True, rename={"bucket": "s3BucketName", "key": "s3Key"}):
    bucket: str
    key: str


def is_pointer(body: str) -> bool:
    """Return whether a body is a pointer to one in a bucket."""
    return _POINTER.match(body) is not None


class Payloads:
    """The bodies that one bucket keeps, each under a key of its own below `payloads/`.

    `connect` gives the client when it is needed, which is almost never: making it takes a fifth of a second.
    """

    def __init__(self, connect: Callable[[], S3Client], *, bucket: str) -> None:
        self._connect = connect
        self._bucket = bucket

    def store(self, body: str) -> str:
        """Put a body into the bucket and return the pointer to send in its place.

        Raises InvalidRequestError for a body that `fetch` would refuse, TransientError when S3 does not take it.
        """
        content = body.encode()
        if len(content) > MAX_BYTES:
            raise InvalidRequestError(f"the body has {len(content)} bytes, and {MAX_BYTES} are allowed; send less data")
        key = f"payloads/{uuid.uuid4()}"
        try:
            self._connect().put_object(Bucket=self._bucket, Key=key, Body=content, ContentType="application/json")
        except (BotoCoreError, ClientError) as error:
            raise TransientError(f"S3 does not take the payload {key}: {error}") from error
        return json.dumps([CLASSES[0], {"s3BucketName": self._bucket, "s3Key": key}], separators=(",", ":"))

    def fetch(self, body: str) -> str:
        """Return the body that a pointer refers to, or the body itself if it is not a pointer.

        Raises InvalidRequestError for a pointer that we do not follow or an object that is no body, PermanentError
        where there is no object, TransientError where it cannot be read now.
        """
        if not is_pointer(body):
            return body
        key = self._read_key(body)
        content = self._read_object(key)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequestError(f"the payload {key} is not UTF-8: {error}") from error

    def _read_key(self, pointer: str) -> str:
        try:
            _, place = msgspec.json.decode(pointer, type=tuple[str, _Place])
        except (ValueError, RecursionError) as error:
            raise InvalidRequestError(f"the pointer to a payload is not valid: {error}") from error
        if place.bucket != self._bucket:
            raise InvalidRequestError(f"the pointer is to another bucket; put payloads into {self._bucket}")
        if len(place.key) > _MAX_KEY or not _KEY.fullmatch(place.key):
            raise InvalidRequestError("the pointer's key is not a plain name below payloads/")
        return place.key

    def _read_object(self, key: str) -> bytes:
        try:
            answer = self._connect().get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as stream:
                length = answer["ContentLength"]
                content = stream.read(MAX_BYTES + 1) if length <= MAX_BYTES else b""
        except (BotoCoreError, ClientError, OSError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                raise PermanentError(f"the payload {key} does not exist (any more)") from error
            raise TransientError(f"the payload {key} cannot be read: {error}") from error
        if max(length, len(content)) > MAX_BYTES:
            raise InvalidRequestError(f"the payload {key} is longer than the {MAX_BYTES} bytes allowed")
        if len(content) < length:
            raise TransientError(f"the payload {key} broke off after {len(content)} of {length} bytes")
        return content
