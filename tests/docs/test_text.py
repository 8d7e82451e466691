"""Queries of the log ask for fields that lines have, and diagrams draw states that the code knows."""

import ast
import re

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks
from tests.infra.watching import FIELDS_OF_AWS, fields_of

QUERIES = [block for block in blocks("text") if re.search(r"^filter ", block.text, re.MULTILINE)]
(LOGS,) = (page for page in PAGES if page.name == "docs/logs.md")
# That these are the fields of lines, tests/docs/test_logs_page.py holds.
FIELDS = {name for row in re.findall(r"^\| (`.+?) \|", LOGS.text, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
FIELDS |= FIELDS_OF_AWS | {"@requestId"}
FUNCTIONS = {"avg", "pct", "or"}


@pytest.mark.parametrize("block", QUERIES, ids=lambda block: block.name)
def test_each_query_of_the_log_asks_for_fields_that_lines_have(block: Block) -> None:
    assert fields_of(block.text) - FUNCTIONS <= FIELDS


def test_there_are_queries() -> None:
    assert len(QUERIES) > 1
    assert "duration_ms" in FIELDS


def words_of_the_code() -> set[str]:
    """Return each text that shipped code has."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "chalicelib").rglob("*.py"))
    constants = (node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in constants if isinstance(value, str)}


@pytest.mark.parametrize("block", blocks("mermaid"), ids=lambda block: block.name)
def test_each_state_that_a_diagram_draws_is_one_of_the_code(block: Block) -> None:
    first, *moves = block.text.strip().splitlines()
    assert first == "stateDiagram-v2"
    drawn = [re.fullmatch(r" +(\w+|\[\*\]) --> (\w+)(?:: .+)?", move) for move in moves]
    assert None not in drawn
    states = {state for move in drawn if move for state in move.groups()} - {"[*]"}
    assert len(states) > 3
    assert states <= words_of_the_code()
