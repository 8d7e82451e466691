"""What a monthly report tells: each month's figures, its top posts, and when they were counted."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from chalicelib.tasks.monthly_report.month import Month


@dataclass(frozen=True, kw_only=True)
class MonthFigures:
    """A month in numbers; `active_users` is None where nothing was recorded, which is not the same as zero."""

    month: Month
    new_users: int
    new_posts: int
    active_users: int | None


@dataclass(frozen=True, kw_only=True)
class TopPost:
    """A post of the reported month. Its texts are as its author wrote them, so whoever shows them escapes them."""

    title: str
    link: str
    author: str | None
    points: int
    comments: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """The reported month, last of `months`, and those before it, oldest first: thirteen where all are known.

    `top_posts` stand best first, `computed_at` is aware. Raises ValueError for months with a gap, or none.
    """

    months: tuple[MonthFigures, ...]
    top_posts: tuple[TopPost, ...]
    computed_at: datetime
    site_name: str
    site_url: str

    def __post_init__(self) -> None:
        if not self.months:
            raise ValueError("A report needs at least the month that it reports.")
        for earlier, later in pairwise(figures.month for figures in self.months):
            if earlier.next() != later:
                raise ValueError(f"The months of a report follow each other, but {later} stands behind {earlier}.")
        if self.computed_at.utcoffset() is None:
            raise ValueError(f"{self.computed_at} has no time zone, so it names no one moment.")

    @property
    def month(self) -> Month:
        """The reported month."""
        return self.months[-1].month


def change(before: int | None, now: int | None) -> float | None:
    """Return the change in percent; None where a figure is missing, or grew from zero."""
    return 100 * (now - before) / before if before and now is not None else None
