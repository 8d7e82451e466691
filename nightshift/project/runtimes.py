"""Lambda's Python runtimes, and until when AWS supports each.

As forecast in July 2026 by https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Literal

SUPPORTED_UNTIL: Mapping[str, date] = {
    "3.11": date(2027, 6, 30),
    "3.12": date(2028, 10, 31),
    "3.13": date(2029, 6, 30),
    "3.14": date(2029, 6, 30),
}
# As long before, AWS begins to write to the account's owner.
NOTICE = timedelta(days=180)


def assess(version: str, today: date) -> tuple[Literal["ok", "warning", "problem"], str]:
    """Return whether functions should run on a version of Python, and a sentence about it."""
    if version not in SUPPORTED_UNTIL:
        return "problem", f"{version} is not among {', '.join(SUPPORTED_UNTIL)}: make .venv with one of these"
    end = SUPPORTED_UNTIL[version]
    text = f"{version}, and so is the functions' runtime, which AWS supports until {end:%-d %B %Y}"
    if today < end - NOTICE:
        return "ok", text
    longest = [each for each, its_end in SUPPORTED_UNTIL.items() if its_end == max(SUPPORTED_UNTIL.values())]
    return "warning", text if version in longest else f"{text}: make .venv with Python {' or '.join(longest)}"
