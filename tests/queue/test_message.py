"""The contract of a message: what is decoded, what is refused."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import InvalidRequestError
from chalicelib.queue.message import Message, decode, encode, read_data

any_text = st.text(st.characters())


def json_values(texts: st.SearchStrategy[str], *, allow_nan: bool) -> st.SearchStrategy[Any]:
    floats = st.floats(allow_nan=allow_nan, allow_infinity=allow_nan)
    return st.recursive(
        st.none() | st.booleans() | st.integers() | floats | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=8,
    )


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    day: str
    limit: int = 10


@settings(max_examples=150)
@given(type_=st.text(), data=st.dictionaries(st.text(), json_values(st.text(), allow_nan=False), max_size=4))
def test_every_message_is_decoded_as_it_was_encoded(type_: str, data: dict[str, Any]) -> None:
    message = Message(type=type_, data=data)
    body = encode(message)
    assert decode(body) == message
    assert body.isascii()


def test_a_body_is_one_json_object_that_any_program_can_write() -> None:
    message = Message(type="send_digest", data={"day": "2016-08-03", "n": [1, 2.5, None, True]})
    assert json.loads(encode(message)) == {"type": "send_digest", "data": message.data}
    assert decode(json.dumps({"data": message.data, "type": "send_digest"}, indent=2)) == message


def test_unknown_keys_are_ignored() -> None:
    assert decode('{"type":"a","data":{},"trace":[1,{"b":null}],"version":2}') == Message(type="a", data={})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "truncated"),
        (" ", "truncated"),
        ("nonsense", "malformed"),
        ('{"type":"a","data":{}', "truncated"),
        ('{"type":"a","data":{}}}', "malformed"),
        ("{'type':'a','data':{}}", "malformed"),
        ("\ufeff{}", "malformed"),
        ("null", "Expected `object`, got `null`"),
        ("[]", "Expected `object`, got `array`"),
        ('"a"', "Expected `object`, got `str`"),
        ("1", "Expected `object`, got `int`"),
        ("{}", "missing required field `type`"),
        ('{"data":{}}', "missing required field `type`"),
        ('{"type":"a"}', "missing required field `data`"),
        ('{"Type":"a","data":{}}', "missing required field `type`"),
        ('{"type":null,"data":{}}', "Expected `str`, got `null` - at `$.type`"),
        ('{"type":1,"data":{}}', "Expected `str`, got `int` - at `$.type`"),
        ('{"type":"a","data":null}', "Expected `object`, got `null` - at `$.data`"),
        ('{"type":"a","data":[]}', "Expected `object`, got `array` - at `$.data`"),
        ('{"type":"a","data":"{}"}', "Expected `object`, got `str` - at `$.data`"),
        ('{"type":"a","data":{1:2}}', "malformed"),
    ],
)
def test_a_body_that_is_no_message_is_refused_with_the_reason(body: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode(body)
    assert str(caught.value).startswith("the message is not valid: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", "+1", ".5", "9" * 5000])
def test_a_number_that_json_does_not_know_or_nobody_can_hold_is_refused(number: str) -> None:
    with pytest.raises(InvalidRequestError):
        decode(f'{{"type":"a","data":{{"x":{number}}}}}')


@pytest.mark.parametrize("digits", [18, 19, 20, 40, 309, 4000])
def test_a_huge_integer_keeps_every_digit(digits: int) -> None:
    number = 10**digits - 1
    assert decode(f'{{"type":"a","data":{{"x":{number}}}}}').data == {"x": number}
    assert decode(encode(Message(type="a", data={"x": -number}))).data == {"x": -number}


@pytest.mark.parametrize("brackets", ["[", "]", '{"x":', "{", "[{", '[{"x":'])
@pytest.mark.parametrize("before", ["", '{"type":"a","data":', '{"type":"a","data":{"x":', '{"unknown":'])
def test_deep_nesting_is_refused(before: str, brackets: str) -> None:
    with pytest.raises(InvalidRequestError):
        decode(before + brackets * 100_000)


@pytest.mark.parametrize("before", ['{"type":"a","data":{"x":', '{"type":"a","data":{},"unknown":{"x":'])
def test_deep_nesting_that_is_complete_is_refused_too(before: str) -> None:
    with pytest.raises(InvalidRequestError):
        decode(f"{before}{'[' * 100_000}{']' * 100_000}}}}}")


@pytest.mark.parametrize("text", ["\ud800", "\\ud800", "\\udc00\\ud800", "\x00", "\n"])
def test_text_that_json_cannot_hold_is_refused(text: str) -> None:
    for body in (f'{{"type":"{text}","data":{{}}}}', f'{{"type":"a","data":{{"x":"{text}"}}}}'):
        with pytest.raises(InvalidRequestError):
            decode(body)


@settings(max_examples=200)
@given(
    any_text
    | json_values(any_text, allow_nan=True).map(json.dumps)
    | st.fixed_dictionaries(
        {"type": json_values(any_text, allow_nan=True), "data": json_values(any_text, allow_nan=True)}
    ).map(lambda value: json.dumps(value, ensure_ascii=False))
)
def test_every_text_is_a_message_or_refused_and_nothing_else(body: str) -> None:
    try:
        message = decode(body)
    except InvalidRequestError:
        return
    assert isinstance(message.type, str)
    assert isinstance(message.data, dict)
    assert decode(encode(message)) == message


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_no_worker_could_decode_is_not_encoded(value: float) -> None:
    with pytest.raises((ValueError, InvalidRequestError)):
        encode(Message(type="a", data={"x": value}))


def test_data_is_read_as_the_handlers_payload() -> None:
    assert read_data({"day": "2016-08-03", "limit": 3}, Payload) == Payload(day="2016-08-03", limit=3)
    assert read_data({"day": "2016-08-03"}, Payload) == Payload(day="2016-08-03", limit=10)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "missing required field `day`"),
        ({"day": 1}, "Expected `str`, got `int` - at `$.day`"),
        ({"day": None}, "Expected `str`, got `null` - at `$.day`"),
        ({"day": "x", "limit": "3"}, "Expected `int`, got `str` - at `$.limit`"),
        ({"day": "x", "limit": 3.5}, "Expected `int`, got `float` - at `$.limit`"),
        ({"day": "x", "limit": math.nan}, "Expected `int`, got `float` - at `$.limit`"),
        ({"day": "x", "limit": True}, "Expected `int`, got `bool` - at `$.limit`"),
        ({"day": "x", "dya": "y"}, "unknown field `dya`"),
    ],
)
def test_data_of_another_shape_is_refused_by_the_name_of_its_key(data: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_data(data, Payload)
    assert str(caught.value).startswith("the message's data is not valid: ")
    assert reason in str(caught.value)


@settings(max_examples=100)
# Without lone surrogates: `decode` lets none through.
@given(
    st.dictionaries(st.sampled_from(["day", "limit"]) | st.text(), json_values(st.text(), allow_nan=True), max_size=4)
)
def test_all_data_is_a_payload_or_refused_and_nothing_else(data: dict[str, Any]) -> None:
    try:
        payload = read_data(data, Payload)
    except InvalidRequestError:
        return
    assert payload.day == data["day"]
