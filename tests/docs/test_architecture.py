"""The page of the architecture names files that exist, and its picture is what the script draws."""

import re

from docs.pictures import architecture
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_each_file_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(chalicelib/[\w/]+\.py|app\.py|tests/[\w/]+\.py)`", PAGE))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_each_folder_and_file_of_the_picture_exists() -> None:
    layers = [name for boxes in architecture.LAYERS for _, name, *_ in boxes]
    steps = [name for kind, name, _ in (*architecture.FIRE, *architecture.MESSAGE) if kind != "outside"]
    places = [ROOT / name if name == "app.py" else ROOT / "chalicelib" / name for name in (*layers, *steps)]
    assert [str(place) for place in places if not place.exists()] == []


def test_the_picture_is_what_the_script_draws() -> None:
    drawn = architecture.PICTURE.read_text(encoding="utf-8")
    assert drawn == architecture.draw(), "run python -m docs.pictures.architecture"
