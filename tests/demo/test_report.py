"""Which month's report the demo shows."""

from datetime import UTC, datetime

import pytest

from nightshift.demo.tasks import report_fire


@pytest.mark.parametrize(
    ("moment", "fired"),
    [
        ("2026-11-24T08:00", "2026-11-01T09:00"),
        ("2026-12-01T08:00", "2026-11-01T09:00"),
        ("2026-12-01T09:00", "2026-12-01T09:00"),
        ("2027-01-01T08:00", "2026-12-01T09:00"),
        ("2024-03-01T08:00", "2024-02-01T09:00"),
        ("2024-02-29T08:00", "2024-02-01T09:00"),
    ],
)
def test_the_report_is_that_of_its_latest_fire(moment: str, fired: str) -> None:
    asked = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert report_fire(asked) == datetime.fromisoformat(fired).replace(tzinfo=UTC)
