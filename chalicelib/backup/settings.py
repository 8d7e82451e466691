"""The settings of backups."""

import re
from dataclasses import dataclass, fields

from chalicelib.core.config import not_empty, optional, or_reference, patterns, positive, read_secrets, setting

_PAIR = re.compile(r"([a-z]+)=(\d{1,4})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """`all` is in days; the others count the newest days, weeks, months and years that have a backup."""

    all: int
    daily: int
    weekly: int
    monthly: int
    yearly: int


def read_policy(text: str) -> Policy:
    """Parse the setting BACKUP_KEEP: all=7 daily=14 weekly=8 monthly=12 yearly=3. Raises ValueError."""
    names = [field.name for field in fields(Policy)]
    matches = [_PAIR.fullmatch(word) for word in text.split()]
    numbers = {match[1]: int(match[2]) for match in matches if match}
    if not all(matches) or len(numbers) < len(matches) or set(numbers) != set(names) or not any(numbers.values()):
        raise ValueError(f"must give a number, not all zero, to each of {', '.join(names)}, such as all=7 daily=14 …")
    return Policy(**numbers)


def _rds(text: str) -> str:
    if not re.fullmatch(r"(instance|cluster):[A-Za-z][A-Za-z0-9-]{0,62}", text):
        raise ValueError("must be instance: or cluster: and the identifier that RDS has for the database")
    return text


@dataclass(frozen=True, kw_only=True)
class BackupSettings:
    """What backups hold, how they are encrypted, how long they are kept, and RDS's snapshots in their place."""

    backup_include: tuple[str, ...] = setting(patterns, default="*")
    backup_exclude: tuple[str, ...] = setting(patterns, default="")
    backup_schema_only: tuple[str, ...] = setting(patterns, default="")
    backup_key: str | None = setting(optional(or_reference(read_secrets)), default="")
    backup_keep: Policy = setting(read_policy, default="all=7 daily=14 weekly=8 monthly=12 yearly=3")
    backup_connections: int = setting(positive(int), default="2")
    backup_rds: str | None = setting(optional(_rds), default="")
    backup_export_role: str | None = setting(optional(not_empty), default="")
    backup_export_key: str | None = setting(optional(not_empty), default="")
