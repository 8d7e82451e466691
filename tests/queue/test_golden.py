"""The examples and the schema that producers read say the same as the code."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from chalicelib.core.errors import InvalidRequestError
from chalicelib.queue.message import TEN_YEARS_SECONDS, Message, decode, encode
from tests.sweep import examples

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "message.schema.json").read_text(encoding="utf-8"))
VALID = sorted((DOCS / "messages" / "valid").glob("*.json"))
INVALID = sorted((DOCS / "messages" / "invalid").glob("*.json"))
BEYOND_A_SCHEMA = frozenset(
    {
        "data-as-string-that-breaks-off",
        "expires-before-it-begins",
        "integer-beyond-64-bits",
        "key-twice",
        "lone-surrogate",
        "moment-that-never-was",
        "not-a-number",
        "number-too-large",
        "too-deep",
    }
)

schema = Draft202012Validator(SCHEMA)


def is_valid(body: str) -> bool:
    """Return what the schema says of a body, as a lenient parser reads it."""
    return bool(schema.is_valid(json.loads(body)))


def name_of(path: Path) -> str:
    return path.stem


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == {*Message.__struct_fields__, "v"} - {"unknown"}
    assert SCHEMA["properties"]["unique_for"]["maximum"] == TEN_YEARS_SECONDS


@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_a_valid_example_is_decoded_and_valid_under_the_schema(path: Path) -> None:
    body = path.read_text(encoding="utf-8")
    message = decode(body)
    assert decode(encode(message)) == message
    assert is_valid(body)
    assert is_valid(encode(message))


@pytest.mark.parametrize("path", INVALID, ids=name_of)
def test_an_invalid_example_is_refused_by_the_code_and_where_it_can_by_the_schema(path: Path) -> None:
    body = path.read_text(encoding="utf-8")
    with pytest.raises(InvalidRequestError):
        decode(body)
    assert is_valid(body) is (path.stem in BEYOND_A_SCHEMA)


def test_there_are_examples_of_both_and_of_all_that_is_beyond_a_schema() -> None:
    assert len(VALID) >= 8
    assert {path.stem for path in INVALID} > BEYOND_A_SCHEMA


def test_the_schemas_own_examples_are_messages() -> None:
    for example in SCHEMA["examples"]:
        assert decode(json.dumps(example)).type == example.get("type", "invalid")
        assert schema.is_valid(example)
    moments = SCHEMA["$defs"]["moment"]["examples"]
    for key, property_ in SCHEMA["properties"].items():
        for example in property_.get("examples", moments):
            tree = {"type": "a", "data": {}, "idempotency_key": "k"} | {key: example}
            assert decode(json.dumps(tree))
            assert schema.is_valid(tree)


ODD: list[Any] = [None, True, 0, 1, 1.0, 60, "", " ", "a", "A", "a b", "1", "é", "x" * 64, "x" * 129, "x" * 256, [], {}]
MOMENTS = ["2016-08-04T08:00:00Z", "2016-08-04T08:00:00", "2016-08-05T08:00:00.5+02:00", "2016-08-04t08:00:00z"]
odd = st.sampled_from([*ODD, *MOMENTS, "{}", " {", "[]", ["a", ""], ["a"] * 16, ["a"] * 17, [1], {"a": 1}])


@settings(max_examples=examples(300))
@given(
    st.fixed_dictionaries(
        {"type": st.just("a") | odd, "data": st.just({}) | odd},
        optional={key: odd for key in SCHEMA["properties"] if key not in {"type", "data"}},
    )
)
def test_the_schema_refuses_nothing_that_is_decoded(tree: dict[str, Any]) -> None:
    try:
        decode(json.dumps(tree))
    except InvalidRequestError:
        return
    assert schema.is_valid(tree)


@pytest.mark.parametrize("key", SCHEMA["properties"])
@pytest.mark.parametrize("value", [*ODD, *MOMENTS], ids=lambda value: repr(value)[:12])
def test_the_code_refuses_of_one_key_what_the_schema_refuses_and_no_more(key: str, value: Any) -> None:
    tree = {"type": "a", "data": {}, "idempotency_key": "k"} | {key: value}
    # Numbers that JSON Schema takes for integers, and a key whose absence is another key's matter.
    expected = schema.is_valid(tree) and not (key == "unique_for" and isinstance(value, float))
    try:
        decode(json.dumps(tree))
    except InvalidRequestError:
        assert not expected
    else:
        assert expected
