"""The folder of a backup: `backups/<id>/` in the bucket; ids sort by the time of what the backup holds."""

import re
from datetime import UTC, datetime

from chalicelib.core.errors import InvalidRequestError

PREFIX = "backups/"
MANIFEST = "manifest.json"
# Written after a backup was read back, and after it was restored on trial.
VERIFIED, DRILLED = "verified.json", "drilled.json"

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)
_PART = re.compile(r"\d{5,}\.(?:sql|sqlite)\.zst(?:\.enc)?", re.ASCII)
_MOMENT = "%Y%m%dT%H%M%SZ"


def new_id(taken_at: datetime, *, run_id: str, attempt: int) -> str:
    """Return the id of a backup of this moment, by this attempt at the run: 20261125T010000Z-1a2b3c01."""
    return f"{taken_at.astimezone(UTC).strftime(_MOMENT)}-{run_id.replace('-', '')[:6]}{attempt % 256:02x}"


def moment_of(id: str) -> datetime:
    """Return the moment of the backup with this id. Raises InvalidRequestError for what is no id."""
    if _ID.fullmatch(id):
        try:
            return datetime.strptime(id.partition("-")[0], _MOMENT).replace(tzinfo=UTC)
        except ValueError:
            pass
    raise InvalidRequestError(f"{id!r} is no backup's id; they look like 20261125T010000Z-1a2b3c01")


def is_id(text: str) -> bool:
    """Return whether a text is a backup's id."""
    try:
        moment_of(text)
    except InvalidRequestError:
        return False
    return True


def is_part(name: str) -> bool:
    """Return whether an object of this name can be a part; no such name leads out of the backup's folder."""
    return _PART.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Return whether an object of this name in a backup's folder was written by a backup."""
    return name in {MANIFEST, VERIFIED, DRILLED} or is_part(name)


def key_of(id: str, name: str) -> str:
    """Return an object's key."""
    return f"{PREFIX}{id}/{name}"
