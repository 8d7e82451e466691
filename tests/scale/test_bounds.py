"""Bounds on paper: what binds first comes first, and is what arithmetic says."""

from itertools import pairwise

import pytest

from scale.bound import tell
from scale.paths import bounds

BOUNDS = bounds()


def room(path: str, limit: str) -> float:
    return next(bound.room for bound in BOUNDS if (bound.path, bound.limit) == (path, limit))


def test_each_path_has_its_limits_and_the_tightest_first() -> None:
    assert {bound.path for bound in BOUNDS} >= {
        "digest",
        "queue",
        "backup",
        "restore, drill",
        "cleanup",
        "sync",
        "report",
    }
    assert all(first.room <= second.room for first, second in pairwise(BOUNDS) if first.path == second.path)
    assert all(bound.allows > 0 and bound.needs > 0 and bound.change for bound in BOUNDS)


def test_the_figures_are_those_of_arithmetic() -> None:
    # 14 mails a second, where a million are to go in an hour.
    assert room("digest", "SES's send rate") == pytest.approx(14 * 3600 / 1e6)
    # 890 s, half of them to read it back, at 10 MB/s, of 1 TB.
    assert room("backup", "its estimate, at 10 MB/s") == pytest.approx(890 / 2 * 10e6 / 1e12)
    assert room("cleanup", "`max_rows`, if all jobs are mails") == pytest.approx(0.1)


def test_what_binds_stands_out() -> None:
    table = tell(BOUNDS)
    assert "**0.05×**" in table
    assert table.count("**") == 2 * sum(bound.room < 1 for bound in BOUNDS)
