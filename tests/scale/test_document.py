"""docs/scale.md has what the commands print, and its picture is what its script draws."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.pictures import scale as picture
from scale.__main__ import DOCUMENT, tell_all, tell_reckoned
from scale.document import fill
from scale.table import number, span, table
from tests.sweep import IS_SWEEP

TEXT = "Before.\n\n<!-- scale: a -->\nold\n<!-- /scale -->\n\n<!-- scale: b -->\n<!-- /scale -->\n"


def test_the_page_has_the_tables_that_the_command_prints() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    # Each simulated day takes a second or more.
    for name, told in (tell_all() if IS_SWEEP else tell_reckoned()).items():
        assert f"<!-- scale: {name} -->\n{told}\n<!-- /scale -->" in text, "make scale writes these tables anew"


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = picture.draw()
    assert picture.PICTURE.read_text(encoding="utf-8") == drawn, "python -m docs.pictures.scale draws it anew"
    ElementTree.fromstring(drawn)
    assert "prefers-color-scheme: dark" in drawn


def test_the_command_prints_costs_as_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scale", "cost", "--json"],
        cwd=Path(DOCUMENT).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [month["team"] for month in json.loads(done.stdout)["months"]] == ["idle", "small", "medium", "large"]


def test_tables_come_into_their_places_and_the_rest_stays() -> None:
    filled = fill(TEXT, {"a": "| 1 |", "b": "| 2 |"}, mark="scale")
    assert filled == TEXT.replace("old", "| 1 |").replace("b -->\n", "b -->\n| 2 |\n")
    assert fill(filled, {"a": "| 1 |", "b": "| 2 |"}, mark="scale") == filled


@pytest.mark.parametrize("tables", [{"a": ""}, {"a": "", "b": "", "c": ""}, {"a": "", "c": ""}])
def test_a_table_without_a_place_or_a_place_without_a_table_is_an_error(tables: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="each needs one place"):
        fill(TEXT, tables, mark="scale")


def test_figures_are_told_as_people_read_them() -> None:
    assert [span(1), span(59), span(60), span(5000), span(7200)] == [
        "under 1 min",
        "under 1 min",
        "1 min",
        "83 min",
        "2.0 h",
    ]
    assert [number(0.123456), number(47.21), number(200.0), number(1_085_356.4)] == [
        "0.123",
        "47.2",
        "200",
        "1,085,356",
    ]
    assert table(("a", "b"), [("x", "1")], texts=1) == "| a | b |\n| --- | ---: |\n| x | 1 |"
