"""The pages have every metric that our code writes, with its unit, and no other."""

import re

import pytest

from tests.infra.emitted import Emitted
from tests.infra.templates import INFRA

DOCS = INFRA.parent / "docs"
TABLE = re.compile(r"^\| metric \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
UNITS = {"Count": "count", "Milliseconds": "milliseconds"}


def documented() -> dict[str, str]:
    """Return what stands behind each metric's name in the tables of metrics."""
    rows = [
        row.strip("|\n").split("|")[:2]
        for page in sorted(DOCS.glob("*.md"))
        for table in TABLE.findall(page.read_text(encoding="utf-8"))
        for row in table.splitlines()
    ]
    return {name: second.strip() for first, second in rows for name in re.findall(r"`(\w+)`", first)}


def test_the_pages_name_each_metric_that_is_written_and_no_other(emitted: Emitted) -> None:
    assert set(documented()) == {metric.name for metric in emitted.metrics}


@pytest.mark.parametrize("unit", UNITS)
def test_the_page_tells_the_unit_of_each(unit: str, emitted: Emitted) -> None:
    names = {metric.name for metric in emitted.metrics if metric.unit == unit}
    assert names
    assert {documented()[name] for name in names} == {UNITS[unit]}
