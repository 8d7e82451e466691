"""The deployment's own bucket: reports, and links that let a person read one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.errors import TransientError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client


class Store:
    """Objects of one bucket by key."""

    def __init__(self, s3: S3Client, *, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def put(self, key: str, content: bytes, *, content_type: str) -> None:
        """Store an object; the bucket keeps the versions before it. Raises TransientError."""
        try:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType=content_type)
        except (BotoCoreError, ClientError) as error:
            raise TransientError(f"{key} cannot be stored: {error}") from error

    def link(self, key: str, *, seconds: int) -> str:
        """Return a link with which anybody may read an object; a role's own session may end it earlier."""
        parameters = {"Bucket": self._bucket, "Key": key}
        return self._s3.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
