"""EventBridge's cron and its limits, as its documentation describes them, for every minute of two years."""

from datetime import date

from tests.schedule.minutes import calendar, spread

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
LONGEST = 256


def values(text: str, first: int, last: int, names: list[str] | None = None) -> set[int]:
    """Return the numbers that a field means, 1 the first of its names."""
    if text in {"*", "?"}:
        return set(range(first, last + 1))
    found: set[int] = set()
    for each in text.split(","):
        reach, slash, step = each.partition("/")
        words = [str(names.index(word) + 1) if names and word in names else word for word in reach.split("-")]
        start = first if reach == "*" else int(words[0])
        end = last if reach == "*" or slash else int(words[-1])
        found |= set(range(start, (int(words[1]) if len(words) == 2 else end) + 1, int(step or 1)))
    assert min(found) >= first
    assert max(found) <= last
    return found


class AwsCron:
    """What stands between the brackets of cron(…), in UTC, with Sunday as day 1 of the week."""

    def __init__(self, expression: str) -> None:
        assert len(expression) <= LONGEST
        assert (expression[:5], expression[-1]) == ("cron(", ")")
        minute, hour, day, month, weekday, year = expression[5:-1].split()
        # Whoever gives one of the two must put a question mark for the other, and one must be given.
        assert (day == "?") != (weekday == "?")
        assert year == "*"
        self._minutes, self._hours = values(minute, 0, 59), values(hour, 0, 23)
        # L is the last day of the month.
        self._is_last, self._months = day == "L", values(month, 1, 12, MONTHS)
        self._days = values("?" if self._is_last else day, 1, 31)
        self._weekdays = values(weekday, 1, 7, WEEKDAYS)

    def fires(self, start: date) -> int:
        """Return the minutes of UTC at which it fires, in two years."""
        is_taken = [
            day in self._days and month in self._months and weekday % 7 + 1 in self._weekdays
            for day, month, weekday in calendar(start)
        ]
        if self._is_last:
            following = calendar(start, margin=1)[2:]
            is_taken = [each and day == 1 for each, (day, _, _) in zip(is_taken, following, strict=True)]
        return spread(is_taken, self._hours, self._minutes)
