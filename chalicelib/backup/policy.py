"""How many backups to keep: all of some days, then the last of each day, week, month and year."""

import re
from dataclasses import dataclass, fields

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
