"""What docs/status.md shows is what the command prints."""

import re
from pathlib import Path

from nightshift.cli.status_view import lines
from nightshift.demo.history import read_example

DOCUMENT = Path(__file__).parents[2] / "docs" / "status.md"


def test_the_example_in_the_document_is_what_is_printed() -> None:
    shown = re.search(
        r"^\$ nightshift status --stage prod\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S
    )
    assert shown is not None
    printed = "".join(f"{line.plain.rstrip()}\n" for line in lines(read_example(), width=112))
    assert shown[1] == printed
