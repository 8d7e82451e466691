"""What the pages show of JSON and YAML is that, and a message in it is one that the queue takes."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from chalicelib.queue.message import decode
from tests.docs.commands import commands_in
from tests.docs.pages import PAGES, ROOT, Block, blocks

SCHEMA = Draft202012Validator(json.loads((ROOT / "docs" / "message.schema.json").read_text(encoding="utf-8")))
# Each is looked into by a test of this folder, but for JavaScript and PHP, which the reader's own programs are.
LANGUAGES = {"console", "js", "json", "mermaid", "php", "python", "sql", "text", "yaml"}


def whole(text: str) -> str:
    """Return JSON with something in place of what is left out."""
    return re.sub(r"(?<=[:\[,]) ?…(?=[,}\]])", ' "…"', text)


def values_of(block: Block) -> list[Any]:
    """Return what a block holds: one value, some keys of an object, or a value a line."""
    text = whole(block.text)
    if block.text.startswith('"'):
        return [json.loads(f"{{{text}}}")]
    try:
        return [json.loads(text)]
    except ValueError:
        return [json.loads(line) for line in text.splitlines()]


def messages() -> Iterator[tuple[str, str]]:
    """Yield each message that a page shows, with where it does."""
    for block in blocks("json"):
        for value in values_of(block):
            if isinstance(value, dict) and {"type", "data"} <= set(value):
                yield block.name, json.dumps(value)
    for block in blocks("console"):
        for command in commands_in(block.text):
            words = shlex.split(command, comments=True)
            yield from ((block.name, words[n + 1]) for n, word in enumerate(words) if word == "--message-body")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_has_a_language_that_is_looked_into(page: Any) -> None:
    assert [block.name for block in page.blocks if block.language not in LANGUAGES] == []
    assert page.text.count("```") == 2 * len(list(page.blocks))


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.name)
def test_each_block_of_json_is_json(block: Block) -> None:
    assert values_of(block)


def test_each_block_of_yaml_is_yaml() -> None:
    assert None not in [yaml.safe_load(block.text) for block in blocks("yaml")]


def test_each_message_is_valid_under_the_schema_and_decoded() -> None:
    found = list(messages())
    assert {name.partition(":")[0] for name, _ in found} >= {"docs/queue.md", "examples/enqueue/README.md"}
    for name, body in found:
        assert [error.message for error in SCHEMA.iter_errors(json.loads(body))] == [], name
        assert decode(body).type


@pytest.mark.parametrize("text", ['{"to": …}', '{"a": […], "b": "5f1c…"}', "[1, …]"])
def test_what_is_left_out_of_json_leaves_it_json(text: str) -> None:
    assert json.loads(whole(text))
