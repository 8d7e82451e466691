"""A report says the same in Python, in JSON and in Markdown, and its ratios are those of the medians that it shows."""

import argparse
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.markdown import as_markdown, tell_part, tell_ratio, tell_table
from bench.report import Column, Part, Ratio, Report, Table, find
from bench.stored import STORED, as_json, read_part, read_report
from bench.tabulate import measure, tabulate
from tests.bench import small_part

PART = replace(small_part.measure(argparse.Namespace(rounds=3, server=None)), date="2026-11-29")
REPORT = Report(date="2026-11-29", machine="a machine", quick=False, parts={"small": PART}, failed={"other": "why"})


def cells(table: Table) -> list[list[str]]:
    """Return the cells of a table's Markdown, without the line below its head."""
    lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in tell_table(table).splitlines()]
    return [lines[0], *lines[2:]]


def shown(cell: str) -> float | None:
    """Return the median that a cell shows."""
    return float(cell.split(" ")[0].replace(",", "")) if cell else None


def test_a_table_has_medians_their_spread_and_ratios() -> None:
    assert tell_part(PART).splitlines() == [
        "Two ways. (a machine; 2026-11-29, 0 s)",
        "",
        "| way  |          time, s | done, rows | × slow |",
        "| ---- | ---------------: | ---------: | -----: |",
        "| slow | 3.00 (2.00–4.00) |      1,234 |    1.0 |",
        "| fast | 1.50 (1.00–2.00) |            |    0.5 |",
        "",
        "Left out: a third, which is not here.",
    ]


def test_a_report_comes_back_from_json_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(as_json(REPORT), encoding="utf-8")
    again = read_report(tmp_path / "bench.json")
    assert again == REPORT
    assert as_markdown(again) == as_markdown(REPORT)


def test_json_has_the_ratios_that_markdown_has() -> None:
    assert '"× slow": 0.5' in as_json(REPORT)


@pytest.mark.parametrize(
    ("values", "column", "told"),
    [
        ([0.0123456], Column(name="time"), 0.0123),
        ([1.0, 12_345.0, 99_999.0], Column(name="time"), 12_300.0),
        ([-0.5], Column(name="time"), -0.5),
        ([0.0], Column(name="time"), 0.0),
        ([1_234.5678], Column(name="dollars", decimals=2), 1_234.57),
        ([1_234.4], Column(name="rows", decimals=0), 1_234.0),
        ([1.0, 2.0], Column(name="time"), 1.5),
    ],
)
def test_figures_are_kept_as_they_are_shown(values: list[float], column: Column, told: float) -> None:
    assert measure(values, column).median == told


def test_the_ratios_of_the_last_bench_are_those_of_the_medians_that_it_shows() -> None:
    checked = 0
    for part in read_report(STORED).parts.values():
        for table in part.tables:
            heads, *lines = cells(table)
            columns = {column.name: len(table.texts) + n for n, column in enumerate(table.columns)}
            for ratio in table.ratios:
                (other,) = (shown(line[columns[ratio.column]]) for line in lines if line[0] == ratio.to)
                for line in lines:
                    ours, told = shown(line[columns[ratio.column]]), line[heads.index(ratio.name)]
                    if not ours or not other:
                        assert told == ""
                    else:
                        assert told == tell_ratio(other / ours if ratio.inverse else ours / other)
                        checked += 1
    assert checked > 30


def test_a_row_without_the_figure_or_beside_nothing_has_no_ratio() -> None:
    ratios = [Ratio(name="×", column="a", to="none"), Ratio(name="/", column="a", to="none", inverse=True)]
    table = tabulate("", [Column(name="a")], {"none": [{"a": 0.0}], "some": [{"a": 2.0}], "other": [{}]}, ratios=ratios)
    assert cells(table)[1:] == [["none", "0", "", ""], ["some", "2.00", "", "0"], ["other", "", "", ""]]
    lost = replace(table, ratios=(Ratio(name="×", column="a", to="nobody"),))
    assert [line[-1] for line in cells(lost)[1:]] == ["", "", ""]


def test_a_bar_in_a_name_divides_no_cell() -> None:
    table = tabulate("", [Column(name="a")], {"dump | zstd": [{"a": 1.0}]})
    assert r"dump \| zstd" in tell_table(table)
    assert cells(table)[1] == [r"dump \| zstd", "1.00"]


def test_a_figure_is_found_by_its_row_or_is_the_last() -> None:
    assert find(REPORT, "small", "slow", "time") == 3.0
    assert find(REPORT, "small", None, "time") == 1.5


@pytest.mark.parametrize(
    ("part", "row", "column", "table"),
    [
        ("big", "slow", "time", 0),
        ("small", "slower", "time", 0),
        ("small", "fast", "done", 0),
        ("small", "slow", "time", 1),
    ],
)
def test_a_figure_that_there_is_not_is_named(part: str, row: str, column: str, table: int) -> None:
    with pytest.raises(ValueError, match=f"no '{column}' of '{row}' in '{part}': run make bench"):
        find(REPORT, part, row, column, table=table)


def test_a_file_that_is_no_report_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bench\.json has no report of the bench, which make bench writes"):
        read_report(tmp_path / "bench.json")
    (tmp_path / "bench.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="missing required field"):
        read_report(tmp_path / "bench.json")


def test_a_part_is_not_read_out_of_anything_else() -> None:
    assert read_part('{"about": "", "machine": "", "tables": []}') == Part(about="", machine="", tables=())
    with pytest.raises(ValueError, match="it printed no result"):
        read_part("done")
