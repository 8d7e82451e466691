"""What a month costs by AWS's list prices, line by line, for three sizes of team and for nobody at all.

What Nightshift adds stands apart from what the application has anyhow: its network, its database and its cache.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from scale.keeping import have, keep
from scale.line import Line
from scale.prices import AS_OF, REGION, Price
from scale.running import run
from scale.table import table
from scale.team import DAYS, IDLE, LARGE, MEDIUM, SMALL


@dataclass(frozen=True, kw_only=True)
class Month:
    """A team's month: the lines of what Nightshift adds, and of what the application has anyhow."""

    team: str
    users: int
    jobs_a_day: int
    added: tuple[Line, ...]
    apart: tuple[Line, ...]


def months() -> tuple[Month, ...]:
    """Return a month of each team."""
    return tuple(
        Month(
            team=team.name,
            users=team.users,
            jobs_a_day=team.jobs,
            added=(*run(team), *keep(team)),
            apart=tuple(have(team)),
        )
        for team in (IDLE, SMALL, MEDIUM, LARGE)
    )


def total(lines: Sequence[Line]) -> float:
    """Return what the lines come to, in dollars."""
    return sum(line.dollars for line in lines)


def as_json(found: Sequence[Month]) -> str:
    """Return months as JSON: each line with its dollars, and the sums."""
    told = [
        {
            "team": month.team,
            "users": month.users,
            "jobs_a_day": month.jobs_a_day,
            "dollars": round(total(month.added), 2),
            "added": [_told(line) for line in month.added],
            "apart": [_told(line) for line in month.apart],
        }
        for month in found
    ]
    return json.dumps({"region": REGION, "prices_of": AS_OF, "months": told}, indent=2)


def as_markdown(found: Sequence[Month]) -> str:
    """Return months as tables, line by line, with their sums."""
    return "\n\n".join(_tell(month) for month in found)


def as_summary(found: Sequence[Month]) -> str:
    """Return months as a table, a line each."""
    heads = (
        "team",
        "users",
        "jobs a day",
        "Nightshift adds",
        "without SES",
        "for a million jobs",
        "what is there anyhow",
    )
    rows = []
    for month in found:
        added, mails = total(month.added), total([line for line in month.added if line.service == "SES"])
        rows.append(
            (
                month.team,
                f"{month.users:,}",
                f"{month.jobs_a_day:,}",
                f"${added:,.0f}",
                f"${added - mails:,.0f}",
                f"${(added - mails) / (DAYS * month.jobs_a_day / 1e6):,.2f}" if month.jobs_a_day else "–",
                f"${total(month.apart):,.0f}",
            )
        )
    return table(heads, rows, texts=1)


def as_prices(found: Sequence[Month]) -> str:
    """Return the prices of these months, and how far each was checked."""
    every = dict.fromkeys(line.price for month in found for line in (*month.added, *month.apart))
    rows = [(price.unit, _link(price.page), _link(price.checked), tell_price(price)) for price in every]
    return table(("of", "AWS's page", "checked against", "price"), rows, texts=3)


def _told(line: Line) -> dict[str, object]:
    return asdict(line) | {"dollars": round(line.dollars, 2)}


def _tell(month: Month) -> str:
    heads = (f"{month.team}: {month.users:,} users, {month.jobs_a_day:,} jobs a day", "reckoned", "quantity", "dollars")
    rows = [
        *map(_row, month.added),
        ("**Nightshift adds**", "", "", f"**{total(month.added):,.2f}**"),
        *map(_row, month.apart),
        ("what is there anyhow", "", "", f"{total(month.apart):,.2f}"),
    ]
    return table(heads, rows, texts=2)


def _row(line: Line) -> tuple[str, str, str, str]:
    quantity = f"{line.quantity:,.2f}" if line.quantity < 1000 else f"{line.quantity:,.0f}"
    return f"{line.service}: {line.what}", line.arithmetic, f"{quantity} {line.price.unit}", f"{line.dollars:,.2f}"


def _link(page: str | None) -> str:
    if page is None:
        return "nothing, remembered"
    parts = urlsplit(page)
    name = parts.path.split("/")[1] if parts.netloc == "aws.amazon.com" else parts.netloc.removeprefix("www.")
    return f"[{name}]({page})"


def tell_price(price: Price) -> str:
    """Return a price as a table has it."""
    every = "" if price.per == 1 else f" for {price.per:,.0f}"
    return f"${price.dollars:.10f}".rstrip("0").rstrip(".") + every
