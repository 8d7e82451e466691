"""The five cron fields: validation, translation to cronsim's dialect, and errors that say what to write instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field; its names stand for the numbers from `first` on, and `allowed` says in an error what it takes."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()
    allowed: str

    def number(self, word: str) -> int:
        """Return the number that a name or numeral means. Raises ValueError."""
        return self.first + self.names.index(word) if word in self.names else int(word)


FIELDS = (
    Field(name="minute", first=0, last=59, allowed="0-59"),
    Field(name="hour", first=0, last=23, allowed="0-23"),
    Field(name="day of month", first=1, last=31, allowed="1-31"),
    Field(
        name="month",
        first=1,
        last=12,
        names=("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"),
        allowed="1-12 or JAN-DEC",
    ),
    Field(
        name="day of week",
        first=0,
        last=7,
        names=("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"),
        allowed="0-7 or SUN-SAT, both 0 and 7 Sunday",
    ),
)
SATURDAY = 6
# How many numbers a sentence may list instead of a range with a step.
MOST_LISTED = 6
_CHARACTERS = re.compile(r"[0-9A-Z*,/-]+")
# cronsim accepts more than Unix in the day fields, such as L and 1#2; EventBridge has no equivalent.
_BEYOND_UNIX = re.compile(r"L|[0-9]W")
_RANGE = re.compile(r"([0-9]+|[A-Z]+)-([0-9]+|[A-Z]+)(?:/0*[1-9][0-9]*)?")


def normalise(text: str) -> str:
    """Return the fields in capitals, with steps written so that cronsim reads them as Unix does."""
    # ASCII only: some other letters, such as the long s, have ASCII capitals.
    words = "".join(letter.upper() if letter.isascii() else letter for letter in text).split()
    if len(words) != len(FIELDS):
        return " ".join(words)
    return " ".join(
        ",".join(_normalise_step(field, part) for part in word.split(","))
        for field, word in zip(FIELDS, words, strict=True)
    )


def without_unrestricted_days(cron: str) -> str:
    """Return five fields with both days as `*` if one of them matches every day and either is enough."""
    minute, hour, _, month, _ = cron.split()
    engine = CronSim(cron, datetime(2024, 1, 1, tzinfo=UTC))
    takes_all = len(engine.days) == 31 or len({n % 7 for n in engine.weekdays if isinstance(n, int)}) == 7
    return f"{minute} {hour} * {month} *" if takes_all and not engine.day_and else cron


def list_steps(cron: str) -> str:
    """Return five fields with numbers in place of months and of steps that would be misread.

    "Every 16th day" means the 1st and the 17th; "every 15 minutes" is clear.
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
    """Return a value that is equal for five fields that match the same minutes."""
    engine = CronSim(without_unrestricted_days(cron), datetime(2024, 1, 1, tzinfo=UTC))
    weekdays = frozenset(n % 7 for n in engine.weekdays if isinstance(n, int))
    days = (*map(frozenset, (engine.minutes, engine.hours, engine.days, engine.months)), weekdays)
    # If one day field matches every day, "either" and "both" mean the same.
    return (*days, engine.day_and or len(engine.days) == 31 or len(weekdays) == 7)


def check(cron: str) -> None:
    """Raise ValueError, with the reason, for the first invalid field."""
    for n, (field, word) in enumerate(zip(FIELDS, cron.split(), strict=True)):
        try:
            if not _CHARACTERS.fullmatch(word) or (field.name.startswith("day") and _BEYOND_UNIX.search(word)):
                raise CronSimError
            CronSim(" ".join([*"*****"[:n], word, *"*****"[n + 1 :]]), datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError:
            hints = (_hint_descending(field, part) for part in word.split(","))
            reason = next((hint for hint in hints if hint), f"; use {field.allowed}")
            raise ValueError(f"{word!r} is not a valid {field.name}{reason}") from None


def _normalise_step(field: Field, part: str) -> str:
    start, slash, step = part.partition("/")
    ends = _ends(field, part if "-" in start else f"{start}-{start}/{step}") if slash else None
    # A step within a range of one number adds nothing; cronsim would read it as 5/25.
    if ends and ends[0] == ends[1] and "-" in start:
        return start.split("-")[0]
    # The week ends on Saturday; cronsim would continue 1/2 to 7, which is Sunday.
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


def _hint_descending(field: Field, part: str) -> str:
    """Return how to write a descending range; an empty text for any other."""
    ends = _ends(field, part)
    if ends is None or ends[0] <= ends[1]:
        return ""
    reason = ": ranges go upwards"
    if "/" in part:
        return reason
    start, end = part.split("-")
    first, last = (field.names[0], field.names[-1]) if {start, end} <= set(field.names) else (field.first, field.last)
    before = start if start == str(last) else f"{start}-{last}"
    after = end if end == str(first) else f"{first}-{end}"
    return f"{reason}; write {before},{after} for {part}"
