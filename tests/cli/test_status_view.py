"""The status in a terminal: whole in any window, folded at words, with every id in one piece."""

from dataclasses import replace

import pytest

from nightshift.cli.status_view import lines
from tests.operate.status.samples import status, task

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def shown(width: int | None) -> list[str]:
    return [line.plain.rstrip() for line in lines(status(), width=width)]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_nothing_runs_over_and_every_word_is_there(width: int) -> None:
    found = shown(width)
    assert max(map(len, found)) <= width
    told = " ".join(" ".join(found).split())
    for part in (
        "✗ 2 things are not well. First: daily_digest failed on 2 Mar 08:00.",
        "1 daily_digest failed on 2 Mar 08:00: SES is away",
        f"dead {ID} send_email, 10 attempts: Maximum sending rate exceeded",
        "running cache_warming for 1 h, attempt 1",
        "backup newest verified: 2 Mar 01:00, 11 h ago",
        "paused database_cleanup since 2 Mar 11:00: It deletes too much.",
    ):
        assert part in told


def test_in_a_narrow_window_a_task_is_a_few_lines_and_a_queue_a_sentence() -> None:
    found = shown(40)
    name = found.index("daily_digest")
    assert found[name + 1].endswith("□FD")
    assert len(found[name + 1]) == 32
    assert found[name + 2 : name + 4] == ["  failed 4 h ago", "  took 1.6 s, next 3 Mar 08:00"]
    assert found[found.index("database_cleanup") + 3] == "  took –, paused"
    assert found[found.index("external_sync") + 2 :][:2] == ["  not run yet", "  took 1.6 s, every 15 minutes"]
    queue = found.index("work")
    assert found[queue + 1 : queue + 3] == ["    1,234 due, 5 paused, 3 in work, 41", "    later, 21 dead, oldest 1 h"]


def test_a_task_whose_line_would_run_over_has_every_task_shown_in_a_few_lines() -> None:
    long = replace(task(), name="send_the_newsletter_of_the_week_to_all")
    found = [line.plain.rstrip() for line in lines(status(tasks=(task(), long)), width=60)]
    assert {"daily_digest", long.name} < set(found)
    assert max(map(len, found)) <= 60


def test_for_whatever_reads_lines_each_is_whole() -> None:
    found = shown(None)
    assert found[0] == "✗ 2 things are not well. First: daily_digest failed on 2 Mar 08:00."
    assert f"dead      {ID} send_email, 10 attempts: Maximum sending rate exceeded" in found
