"""The bucket as a deployed worker finds it: what its policy does not allow is denied."""

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from nightshift.project import policies
from nightshift.testkit.memory import MemoryS3

POLICIES = Path(__file__).parent.parent.parent / ".chalice" / "policies"
OF_HANDLERS = f"{POLICIES.name}/{policies.SHARED}/handlers.json"


class PermittedS3:
    """Objects by key, within the policy of one of this project's functions."""

    def __init__(self, s3: MemoryS3, *, function: str) -> None:
        self._s3 = s3
        self._statements = policies.statements_of(POLICIES / f"{function}.json")

    def put_object(self, **call: Any) -> dict[str, Any]:
        """Store an object."""
        self._check("PutObject", call["Key"])
        return self._s3.put_object(**call)

    def get_object(self, **call: Any) -> dict[str, Any]:
        """Return an object."""
        self._check("GetObject", call["Key"])
        return self._s3.get_object(**call)

    def generate_presigned_url(self, operation: str, **call: Any) -> str:
        """Return what looks like a link to an object; the real one opens what its maker may read."""
        self._check("GetObject", call["Params"]["Key"])
        return self._s3.generate_presigned_url(operation, **call)

    def _check(self, operation: str, key: str) -> None:
        action, place = f"s3:{operation}", f"${{BucketArn}}/{key}"
        for statement in self._statements:
            if action in statement["Action"] and any(
                fnmatchcase(place, pattern) for pattern in policies.listed(statement["Resource"])
            ):
                return
        message = f"no policy allows {action} on {key}: .chalice/{OF_HANDLERS} is where handlers' rights are"
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, operation)
