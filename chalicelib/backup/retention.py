"""Retention: decide which backups to keep and which to remove, with reasons. A pure function of a complete list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

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


# Longer than any backup takes. A younger unfinished one may still be running.
UNFINISHED = timedelta(days=2)


class BackupInfo(Protocol):
    """What retention and the catalogue need to know about a dump or a snapshot."""

    @property
    def id(self) -> str:
        """Its id, which sorts by `taken_at`."""

    @property
    def taken_at(self) -> datetime:
        """When its data was read."""

    @property
    def finished_at(self) -> datetime | None:
        """When it was completed; None if it is unfinished."""

    @property
    def verified_at(self) -> datetime | None:
        """When it was last verified."""

    @property
    def drilled_at(self) -> datetime | None:
        """When it was last drilled."""

    @property
    def touched_at(self) -> datetime:
        """When it was last modified."""

    @property
    def bytes(self) -> int:
        """Its stored size."""


B = TypeVar("B", bound=BackupInfo)


@dataclass(frozen=True, kw_only=True)
class RetentionDecision(Generic[B]):
    """Whether to keep a backup, and why."""

    backup: B
    keep: bool
    reasons: tuple[str, ...]


def decide(backups: Sequence[B], *, now: datetime, policy: Policy) -> list[RetentionDecision[B]]:
    """Return a decision on each backup, newest first. `backups` must be complete, as in a Listing.

    A backup is kept if any rule keeps it. Rules look back from the newest backup, not from now, and count only days
    that have a backup, so missing backups or a wrong clock never empty the bucket. Days are in UTC.
    """
    newest_first = sorted(backups, key=lambda backup: backup.id, reverse=True)
    reasons = _reasons([backup for backup in newest_first if backup.finished_at is not None], now=now, policy=policy)
    return [_decision(backup, reasons.get(backup.id, ()), now=now) for backup in newest_first]


def _decision(backup: B, reasons: tuple[str, ...], *, now: datetime) -> RetentionDecision[B]:
    if backup.finished_at is not None:
        return RetentionDecision(backup=backup, keep=bool(reasons), reasons=reasons or ("no rule keeps it",))
    if backup.touched_at + UNFINISHED < now:
        return RetentionDecision(backup=backup, keep=False, reasons=("unfinished, and untouched for two days",))
    return RetentionDecision(backup=backup, keep=True, reasons=("unfinished, and perhaps under way",))


def _reasons(newest_first: Sequence[BackupInfo], *, now: datetime, policy: Policy) -> dict[str, tuple[str, ...]]:
    reasons: dict[str, tuple[str, ...]] = {}

    def keep(backups: Sequence[BackupInfo], reason: str) -> None:
        for backup in backups:
            reasons[backup.id] = (*reasons.get(backup.id, ()), reason)

    keep(newest_first[:1], "the newest")
    verified = [backup for backup in newest_first if backup.verified_at is not None]
    keep(verified[:1], "the newest that is verified")
    if not verified:
        keep(newest_first, "none is verified")
    if newest_first:
        since = min(now, newest_first[0].taken_at) - timedelta(days=policy.all)
        keep([backup for backup in newest_first if backup.taken_at > since], f"of the last {policy.all} days")
    for count, word, form in _periods(policy):
        for name, backup in _last_of_each(newest_first, form)[:count]:
            keep([backup], f"the last of {word} {name}")
    return reasons


def _periods(policy: Policy) -> list[tuple[int, str, str]]:
    return [
        (policy.daily, "the day", "%Y-%m-%d"),
        (policy.weekly, "the week", "%G-W%V"),
        (policy.monthly, "the month", "%Y-%m"),
        (policy.yearly, "the year", "%Y"),
    ]


def _last_of_each(newest_first: Sequence[BackupInfo], form: str) -> list[tuple[str, BackupInfo]]:
    last: dict[str, BackupInfo] = {}
    for backup in newest_first:
        name = f"{backup.taken_at:{form}}"
        known = last.setdefault(name, backup)
        # A verified backup represents its period rather than a later unverified one.
        if known.verified_at is None and backup.verified_at is not None:
            last[name] = backup
    return list(last.items())
