"""Cron text in every form that Unix has, made up at random."""

from random import Random

from tests.schedule.unix import MONTHS, WEEKDAYS


def expression(random: Random) -> str:
    """Return five fields."""
    return " ".join((_field(random, 0, 59), _field(random, 0, 23), *_days(random)))


def daily(random: Random) -> str:
    """Return five fields with one time of day."""
    return " ".join((str(random.randint(0, 59)), str(random.randint(0, 23)), *_days(random)))


def usual(random: Random) -> str:
    """Return five fields of the kind that most crontabs have: a few numbers, and stars elsewhere."""
    minute = f"*/{random.choice((5, 10, 15, 20, 30))}" if random.random() < 0.2 else _usual(random, 0, 59, stars=0.1)
    rest = ((0, 23, 0.2), (1, 31, 0.6), (1, 12, 0.8), (0, 7, 0.6))
    return " ".join((minute, *(_usual(random, first, last, stars=stars) for first, last, stars in rest)))


def _usual(random: Random, first: int, last: int, *, stars: float) -> str:
    if random.random() < stars:
        return "*"
    number, other = sorted((random.randint(first, last), random.randint(first, last)))
    return random.choice((f"{number}", f"{other}", f"{number},{other}", f"{number}-{other}"))


def _days(random: Random) -> tuple[str, str, str]:
    day = "*" if random.random() < 0.4 else _field(random, 1, 31)
    month = "*" if random.random() < 0.6 else _field(random, 1, 12, MONTHS)
    return day, month, "*" if random.random() < 0.4 else _field(random, 0, 7, WEEKDAYS)


def _field(random: Random, first: int, last: int, names: list[str] | None = None) -> str:
    form = random.randrange(10)
    if form == 0:
        return "*"
    if form == 1:
        return f"*/{random.randint(1, last + 1)}"
    if form == 2:
        return f"{random.randint(first, last)}/{random.randint(1, last)}"
    if form == 3:
        return ",".join(_part(random, first, last, names) for _ in range(random.randint(2, 4)))
    if form == 4:
        return f"*/{random.randint(2, last)},{_part(random, first, last, names)}"
    if form < 7:
        return _part(random, first, last, names)
    return _part(random, first, last, names).partition("-")[0]


def _part(random: Random, first: int, last: int, names: list[str] | None) -> str:
    numbers = sorted((random.randint(first, last), random.randint(first, last)))
    if random.random() < 0.2:
        numbers[1] = numbers[0]
    start, end = (_spelt(random, number, first, names) for number in numbers)
    return random.choice((start, f"{start}-{end}", f"{start}-{end}/{random.randint(1, last)}"))


def _spelt(random: Random, number: int, first: int, names: list[str] | None) -> str:
    """Return a number as somebody may write it: its name, or with a zero before it."""
    if names and number - first < len(names) and random.random() < 0.4:
        return random.choice((str.upper, str.lower, str.title))(names[number - first])
    return f"{number:02}" if random.random() < 0.2 else str(number)
