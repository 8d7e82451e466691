"""Retention: which backups are kept and which go, each with its reasons. A pure function of a complete list."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

_PAIR = re.compile(r"([a-z]+)=(\d{1,4})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """`all` in days; the others count days, weeks, months and years that have a backup, the newest first."""

    all: int
    daily: int
    weekly: int
    monthly: int
    yearly: int


def read_policy(text: str) -> Policy:
    """Return the policy that a setting names: all=7 daily=14 weekly=8 monthly=12 yearly=3. Raises ValueError."""
    names = [field.name for field in fields(Policy)]
    matches = [_PAIR.fullmatch(word) for word in text.split()]
    numbers = {match[1]: int(match[2]) for match in matches if match}
    if not all(matches) or len(numbers) < len(matches) or set(numbers) != set(names) or not any(numbers.values()):
        raise ValueError(f"must give a number, not all zero, to each of {', '.join(names)}, such as all=7 daily=14 …")
    return Policy(**numbers)


# Longer than any backup takes: an unfinished one may be under way.
UNFINISHED = timedelta(days=2)


class Kept(Protocol):
    """What retention and the catalogue have to know of a backup, be it a dump or a snapshot."""

    @property
    def id(self) -> str:
        """Its id, which sorts by `taken_at`."""

    @property
    def taken_at(self) -> datetime:
        """The moment that it holds."""

    @property
    def finished_at(self) -> datetime | None:
        """When it became a backup; None for what was begun only."""

    @property
    def verified_at(self) -> datetime | None:
        """When it was last read whole."""

    @property
    def drilled_at(self) -> datetime | None:
        """When it was last restored on trial."""

    @property
    def touched_at(self) -> datetime:
        """When anything last happened to it."""

    @property
    def bytes(self) -> int:
        """The bytes that are stored of it."""


B = TypeVar("B", bound=Kept)


@dataclass(frozen=True, kw_only=True)
class Decision(Generic[B]):
    """What is to become of a backup, and why."""

    backup: B
    keep: bool
    reasons: tuple[str, ...]


def decide(backups: Sequence[B], *, now: datetime, policy: Policy) -> list[Decision[B]]:
    """Return a decision on each backup, the newest first; all backups have to be there, as a Listing has them.

    Kept is what any rule keeps. Rules look back from the newest backup, not from now, and count the days that have
    one: when backups fail to come, or a clock is wrong, those that are there stay. Days are those of UTC.
    """
    newest_first = sorted(backups, key=lambda backup: backup.id, reverse=True)
    reasons = _reasons([backup for backup in newest_first if backup.finished_at is not None], now=now, policy=policy)
    return [_decision(backup, reasons.get(backup.id, ()), now=now) for backup in newest_first]


def _decision(backup: B, reasons: tuple[str, ...], *, now: datetime) -> Decision[B]:
    if backup.finished_at is not None:
        return Decision(backup=backup, keep=bool(reasons), reasons=reasons or ("no rule keeps it",))
    if backup.touched_at + UNFINISHED < now:
        return Decision(backup=backup, keep=False, reasons=("unfinished, and untouched for two days",))
    return Decision(backup=backup, keep=True, reasons=("unfinished, and perhaps under way",))


def _reasons(newest_first: Sequence[Kept], *, now: datetime, policy: Policy) -> dict[str, tuple[str, ...]]:
    reasons: dict[str, tuple[str, ...]] = {}

    def keep(backups: Sequence[Kept], reason: str) -> None:
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


def _last_of_each(newest_first: Sequence[Kept], form: str) -> list[tuple[str, Kept]]:
    last: dict[str, Kept] = {}
    for backup in newest_first:
        name = f"{backup.taken_at:{form}}"
        known = last.setdefault(name, backup)
        # One that was read back stands for its day rather than a later one that was not.
        if known.verified_at is None and backup.verified_at is not None:
            last[name] = backup
    return list(last.items())
