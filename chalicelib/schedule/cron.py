"""The five fields of cron: what each may be, how cronsim is told, and what is wrong with one that cannot be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError


@dataclass(frozen=True, kw_only=True)
class Field:
    """One of the five; its names stand for the numbers from the first on."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    told: str

    def number(self, word: str) -> int:
        """Return the number that a word of the field means. Raises ValueError where it means none."""
        return self.first + self.names.index(word) if word in self.names else int(word)


FIELDS = (
    Field(name="minute", first=0, last=59, told="0-59"),
    Field(name="hour", first=0, last=23, told="0-23"),
    Field(name="day of month", first=1, last=31, told="1-31"),
    Field(
        name="month",
        first=1,
        last=12,
        names=("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
        told="1-12 or JAN-DEC",
    ),
    Field(
        name="day of week",
        first=0,
        last=7,
        names=("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
        told="0-7 or SUN-SAT, both 0 and 7 Sunday",
    ),
)
SATURDAY = 6
# Numbers that a sentence may list in place of a range with a step.
MOST_LISTED = 6
_TAKEN = re.compile(r"[0-9A-Z*,/-]+")
# What cronsim takes in the two day fields beyond Unix, such as L and 1#2, EventBridge could not be told.
_BEYOND_UNIX = re.compile(r"L|[0-9]W")
_RANGE = re.compile(r"([0-9]+|[A-Z]+)-([0-9]+|[A-Z]+)(?:/0*[1-9][0-9]*)?")


def plain(text: str) -> str:
    """Return the fields in capitals and as cronsim understands them as Unix does."""
    # Beyond ASCII there are letters whose capitals are within, such as the long s.
    words = "".join(letter.upper() if letter.isascii() else letter for letter in text).split()
    if len(words) != len(FIELDS):
        return " ".join(words)
    return " ".join(
        ",".join(_plain_step(field, part) for part in word.split(","))
        for field, word in zip(FIELDS, words, strict=True)
    )


def without_vain_days(cron: str) -> str:
    """Return five fields without days that restrict nothing, since either of them is enough and one takes them all."""
    minute, hour, _, month, _ = cron.split()
    engine = CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC))
    takes_all = len(engine.days) == 31 or len({n % 7 for n in engine.weekdays if isinstance(n, int)}) == 7
    return f"{minute} {hour} * {month} *" if takes_all and not engine.day_and else cron


def spelt_out(cron: str) -> str:
    """Return five fields with the numbers in place of steps that would mislead, and of months.

    "Every 16th day" would be the 1st and the 17th; "every 15 minutes" is what it says.
    """
    words = zip(FIELDS, cron.split(), strict=True)
    return " ".join(",".join(_numbers(field, part) for part in word.split(",")) for field, word in words)


def _numbers(field: Field, part: str) -> str:
    reach, slash, step = part.partition("/")
    if not slash and (reach == "*" or field.name != "month"):
        return part
    n = FIELDS.index(field)
    engine = CronSim(" ".join([*"*****"[:n], part, *"*****"[n + 1 :]]), datetime(2024, 1, 1, tzinfo=UTC))
    taken = (engine.minutes, engine.hours, engine.days, engine.months, engine.weekdays)[n]
    numbers = sorted({number % 7 if field.last == 7 else number for number in taken if isinstance(number, int)})
    size = field.last - field.first + (field.last != 7)
    if len(numbers) == size:
        return "*"
    is_even = reach == "*" and field.name in {"minute", "hour"} and size % int(step) == 0 and int(step) < size
    is_long = len(numbers) > MOST_LISTED and field.name != "month" and (reach != "*" or field.name == "day of month")
    return part if is_even or is_long else ",".join(map(str, numbers))


def meaning(cron: str) -> tuple[object, ...]:
    """Return what is equal for five fields that match the same minutes."""
    engine = CronSim(without_vain_days(cron), datetime(2024, 1, 1, tzinfo=UTC))
    weekdays = frozenset(n % 7 for n in engine.weekdays if isinstance(n, int))
    days = (*map(frozenset, (engine.minutes, engine.hours, engine.days, engine.months)), weekdays)
    # One of the two day fields that takes all leaves no choice between either and both.
    return (*days, engine.day_and or len(engine.days) == 31 or len(weekdays) == 7)


def check(cron: str) -> None:
    """Raise ValueError, with the reason, for the first of five fields that cannot be."""
    for n, (field, word) in enumerate(zip(FIELDS, cron.split(), strict=True)):
        try:
            if not _TAKEN.fullmatch(word) or (field.name.startswith("day") and _BEYOND_UNIX.search(word)):
                raise CronSimError
            CronSim(" ".join([*"*****"[:n], word, *"*****"[n + 1 :]]), datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError:
            hints = (_upwards(field, part) for part in word.split(","))
            reason = next((hint for hint in hints if hint), f", which is {field.told}")
            raise ValueError(f"{word!r} is no {field.name}{reason}") from None


def _plain_step(field: Field, part: str) -> str:
    start, slash, step = part.partition("/")
    ends = _ends(field, part if "-" in start else f"{start}-{start}/{step}") if slash else None
    # A step goes on from the end of a range, and so nowhere from one number; cronsim would go on as from 5/25.
    if ends and ends[0] == ends[1] and "-" in start:
        return start.split("-")[0]
    # A week ends on Saturday; cronsim would go on from 1/2 to 7, which is Sunday.
    if ends and "-" not in start and field.name == "day of week" and ends[0] <= SATURDAY:
        return f"{start}-{SATURDAY}/{step}" if ends[0] < SATURDAY else start
    return part


def _ends(field: Field, part: str) -> tuple[int, int] | None:
    found = _RANGE.fullmatch(part)
    if not found:
        return None
    try:
        ends = field.number(found[1]), field.number(found[2])
    except ValueError:
        return None
    return ends if all(field.first <= end <= field.last for end in ends) else None


def _upwards(field: Field, part: str) -> str:
    """Return how to write a range that goes downwards, or nothing where it does not."""
    ends = _ends(field, part)
    if ends is None or ends[0] <= ends[1]:
        return ""
    reason = ": a range goes upwards"
    if "/" in part:
        return reason
    start, end = part.split("-")
    first, last = (field.names[0], field.names[-1]) if {start, end} <= set(field.names) else (field.first, field.last)
    before = start if start == str(last) else f"{start}-{last}"
    after = end if end == str(first) else f"{first}-{end}"
    return f"{reason}; write {before},{after} for {part}"
