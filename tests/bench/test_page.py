"""docs/speed.md is what docs/bench.json renders to, and both have every part, of a bench in full size."""

from bench.__main__ import PARTS
from bench.markdown import sections
from bench.stored import STORED, as_json, read_report
from nightshift.project import triggers
from scale.document import fill
from tests.docs.pages import ROOT

REPORT = read_report(STORED)


def test_the_page_is_what_its_json_renders_to() -> None:
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert fill(page, sections(REPORT, PARTS), mark="bench") == page, "make bench writes the tables of docs/speed.md"


def test_the_json_is_as_the_bench_writes_it() -> None:
    assert STORED.read_text(encoding="utf-8") == as_json(REPORT)


def test_each_part_is_there_in_full_size_with_figures() -> None:
    # A part that is new is measured with all others, by the next bench.
    assert list(REPORT.parts) == list(PARTS)
    assert not REPORT.failed
    assert not REPORT.quick
    for name, part in REPORT.parts.items():
        assert part.about, name
        assert part.machine, name
        assert all(row.measures for table in part.tables for row in table.rows), name


def test_the_cold_start_of_each_function_is_measured() -> None:
    measured = {row.name for row in REPORT.parts["cold_start"].tables[0].rows if "a cold start" in row.measures}
    functions = {trigger.function for trigger in triggers.read(ROOT)}
    assert "daily_digest" in functions
    assert functions | {"unsubscribe"} <= measured


def test_a_fire_that_is_dropped_takes_as_little_as_the_page_of_schedules_says() -> None:
    assert "[less than a millisecond](speed.md#a-cold-start)" in (ROOT / "docs" / "schedules.md").read_text("utf-8")
    [dropped] = [row for row in REPORT.parts["cold_start"].tables[0].rows if row.name == "a fire that is dropped"]
    assert dropped.measures["next answer"].median < 1


def test_the_digest_is_measured_at_three_sizes() -> None:
    assert [row.name for row in REPORT.parts["digest"].tables[0].rows] == [
        "1,000 readers",
        "10,000 readers",
        "100,000 readers",
    ]
