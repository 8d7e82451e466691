"""The contract of a message: what is decoded, what is refused and why, and that nothing else happens."""

import json
import math
import time
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.errors import InvalidRequestError
from chalicelib.queue.message import Message, decode, decode_data, encode, encode_data, read_data
from tests.sweep import examples

INT64 = st.integers(-(2**63), 2**63 - 1)
# With lone surrogates, which `st.text()` never makes.
any_text = st.text(st.characters())
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def json_values(texts: st.SearchStrategy[str], *, hostile: bool = False) -> st.SearchStrategy[Any]:
    numbers = st.floats(allow_nan=hostile, allow_infinity=hostile) | (st.integers() if hostile else INT64)
    return st.recursive(
        st.none() | st.booleans() | numbers | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=8,
    )


json_objects = st.dictionaries(st.text(), json_values(st.text()), max_size=4)
known_keys = frozenset(Message.__struct_fields__) - {"unknown"} | {"v"}


@st.composite
def messages(draw: st.DrawFn) -> Message:
    # Far enough from the ends of time for any offset.
    span = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=offsets)  # noqa: DTZ001 (made aware)
    begin, end = draw(st.none() | span), draw(st.none() | span)
    if begin and end and end <= begin:
        begin, end = end, begin + timedelta(microseconds=1)
    key = draw(st.none() | st.text(min_size=1, max_size=255))
    return Message(
        type=draw(st.from_regex("[a-z][a-z0-9_]{0,63}", fullmatch=True)),
        data=draw(json_objects),
        id=draw(st.none() | st.from_regex("[!-~]{1,36}", fullmatch=True)),
        idempotency_key=key,
        unique_for=draw(st.none() | st.integers(1, 315_360_000)) if key else None,
        not_before=begin,
        expires_at=end,
        tags=tuple(draw(st.lists(st.text(min_size=1, max_size=64), max_size=16))),
        source=draw(st.none() | st.text(min_size=1, max_size=128)),
        traceparent=draw(st.none() | st.text(min_size=1, max_size=128)),
        unknown={key: value for key, value in draw(json_objects).items() if key not in known_keys},
    )


def refused(body: str) -> str:
    """Return the reason for which a body is refused."""
    with pytest.raises(InvalidRequestError) as caught:
        decode(body)
    reason = str(caught.value)
    assert reason.startswith(("the message is not valid: ", "the job's data is not valid: "))
    assert len(reason) < 400
    return reason


def with_data(value: str) -> str:
    return f'{{"type":"a","data":{{"x":{value}}}}}'


def with_key(key: str, value: str) -> str:
    return f'{{"type":"a","data":{{}},"{key}":{value}}}'


@settings(max_examples=examples(150))
@given(message=messages())
def test_every_message_is_decoded_as_it_was_encoded(message: Message) -> None:
    body = encode(message)
    assert decode(body) == message
    assert body.isascii()


@settings(max_examples=examples(100))
@given(data=json_objects)
def test_all_data_is_decoded_as_it_was_encoded(data: dict[str, Any]) -> None:
    text = encode_data(data)
    assert decode_data(text) == data
    assert text.isascii()


def test_a_body_is_one_json_object_that_any_program_can_write() -> None:
    message = Message(type="send_digest", data={"day": "2016-08-03", "n": [1, 2.5, None, True]})
    assert json.loads(encode(message)) == {"type": "send_digest", "data": message.data}
    assert decode(json.dumps({"data": message.data, "type": "send_digest"}, indent=2)) == message


def test_every_key_is_read_and_written() -> None:
    tree = {
        "type": "send_digest",
        "data": {"day": "2016-08-03"},
        "id": "7f3d6e1c-8d5b-4a53-9a0e-2f1b6c9d0e11",
        "idempotency_key": "digest/2016-08-03",
        "unique_for": 86400,
        "not_before": "2016-08-04T08:00:00Z",
        "expires_at": "2016-08-05T08:00:00.250000Z",
        "tags": ["digest", "räksmörgås"],
        "source": "blog",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "colour": {"of": ["the", None]},
    }
    message = decode(json.dumps(tree | {"v": 1}))
    assert message == Message(
        type="send_digest",
        data={"day": "2016-08-03"},
        id="7f3d6e1c-8d5b-4a53-9a0e-2f1b6c9d0e11",
        idempotency_key="digest/2016-08-03",
        unique_for=86400,
        not_before=datetime(2016, 8, 4, 8, tzinfo=UTC),
        expires_at=datetime(2016, 8, 5, 8, microsecond=250_000, tzinfo=UTC),
        tags=("digest", "räksmörgås"),
        source="blog",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        unknown={"colour": {"of": ["the", None]}},
    )
    assert json.loads(encode(message)) == tree


def test_unknown_keys_are_kept_and_come_out_again() -> None:
    message = decode('{"type":"a","data":{},"trace":[1,{"b":null}],"unknown":{"c":2},"Type":null}')
    assert message.unknown == {"trace": [1, {"b": None}], "unknown": {"c": 2}, "Type": None}
    assert json.loads(encode(message)) == {"type": "a", "data": {}} | message.unknown


@pytest.mark.parametrize("key", sorted(known_keys - {"type", "data"}))
def test_null_key_equals_missing_key(key: str) -> None:
    message = decode(with_key(key, "null"))
    assert message == Message(type="a", data={})
    assert encode(message) == '{"type":"a","data":{}}'


@pytest.mark.parametrize("text", ["{}", ' {"x": [1.5, "\\u00e4"]}\n', '{"x":"{\\"y\\":1}"}'])
def test_data_may_be_a_string_that_holds_the_object(text: str) -> None:
    message = decode(json.dumps({"type": "a", "data": text}))
    assert message == Message(type="a", data=json.loads(text))
    assert json.loads(encode(message))["data"] == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("null", "Expected `object`, got `null`"),
        ("[]", "Expected `object`, got `array`"),
        ('"{}"', "Expected `object`, got `str`"),
        ("{}{}", "Extra data"),
        ("\ufeff{}", "it begins with a byte order mark"),
        ('{"x":"\\ud800"}', "it has half of a surrogate pair"),
        ('{"x":1,"x":1}', "the key 'x' comes twice"),
        ('{"x":NaN}', "NaN"),
        ('{"x":1e999}', "Number out of range"),
        ('{"x":"\\ud800 and more"}', "surrogate"),
        ('{"x":9223372036854775808}', "9223372036854775808 does not fit"),
        ('{"x":' + "[" * 63 + "]" * 63 + "}", "more than 63 levels"),
    ],
)
def test_a_string_of_data_is_read_as_strictly_as_the_rest(text: str, reason: str) -> None:
    for read in (decode_data, lambda text: decode(json.dumps({"type": "a", "data": text}))):
        with pytest.raises(InvalidRequestError) as caught:
            read(text)
        assert str(caught.value).startswith("the job's data is not valid: ")
        assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
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
        ('{"type":"a","data":1}', "Expected `object`, got `int` - at `$.data`"),
        (with_key("v", "2"), "v is 2, and the only version is 1"),
        (with_key("v", "0"), "v is 0"),
        (with_key("v", '"1"'), "v is '1'"),
        (with_key("v", "true"), "v is True"),
        (with_key("id", "1"), "got `int` - at `$.id`"),
        (with_key("idempotency_key", "[]"), "got `array` - at `$.idempotency_key`"),
        (with_key("idempotency_key", '""'), "length >= 1 - at `$.idempotency_key`"),
        (with_key("source", '""'), "length >= 1 - at `$.source`"),
        (with_key("source", "{}"), "got `object` - at `$.source`"),
        (with_key("traceparent", '""'), "length >= 1 - at `$.traceparent`"),
        (with_key("tags", '"a"'), "Expected `array`, got `str` - at `$.tags`"),
        (with_key("tags", '["a",""]'), "length >= 1 - at `$.tags[1]`"),
        (with_key("tags", '["a",null]'), "got `null` - at `$.tags[1]`"),
        (with_key("tags", json.dumps(["a"] * 17)), "length <= 16 - at `$.tags`"),
        (with_key("unique_for", "60"), "unique_for needs an idempotency_key"),
        (with_key("unique_for", '60,"idempotency_key":null'), "unique_for needs an idempotency_key"),
        (with_key("unique_for", '0,"idempotency_key":"k"'), ">= 1 - at `$.unique_for`"),
        (with_key("unique_for", '315705600,"idempotency_key":"k"'), "<= 315619200 - at `$.unique_for`"),
        (with_key("unique_for", '60.5,"idempotency_key":"k"'), "got `float` - at `$.unique_for`"),
        (with_key("unique_for", 'true,"idempotency_key":"k"'), "got `bool` - at `$.unique_for`"),
        (with_key("unique_for", '"60","idempotency_key":"k"'), "got `str` - at `$.unique_for`"),
    ],
)
def test_a_message_of_another_shape_is_refused_by_the_name_of_its_key(body: str, reason: str) -> None:
    assert reason in refused(body)


@pytest.mark.parametrize("name", ["a", "z9_", "a" * 64])
def test_a_type_is_a_plain_name(name: str) -> None:
    assert decode(json.dumps({"type": name, "data": {}})).type == name


@pytest.mark.parametrize("name", ["", "A", "aB", "_a", "9a", "a-b", "a.b", "a b", "a\n", "\na", "ä", "a٣", "a" * 65])
def test_any_other_type_is_refused(name: str) -> None:
    assert "at `$.type`" in refused(json.dumps({"type": name, "data": {}}))


@pytest.mark.parametrize("text", ["!", "~", "a" * 36, "arn:aws:sqs/7{}"])
def test_an_id_is_printable_ascii(text: str) -> None:
    assert decode(with_key("id", json.dumps(text))).id == text


@pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "a" * 37, "ä", "\x00", "\x7f"])
def test_any_other_id_is_refused(text: str) -> None:
    assert "at `$.id`" in refused(with_key("id", json.dumps(text)))


@pytest.mark.parametrize(("key", "length"), [("idempotency_key", 255), ("source", 128), ("traceparent", 128)])
def test_a_text_is_measured_in_characters(key: str, length: int) -> None:
    assert getattr(decode(with_key(key, json.dumps("🙂" * length))), key) == "🙂" * length
    assert f"length <= {length} - at `$.{key}`" in refused(with_key(key, json.dumps("🙂" * (length + 1))))


def test_tags_are_up_to_sixteen_texts() -> None:
    tags = ["🙂" * 64] * 16
    assert decode(with_key("tags", json.dumps(tags))).tags == tuple(tags)
    assert "length <= 64 - at `$.tags[0]`" in refused(with_key("tags", json.dumps(["🙂" * 65])))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2016-08-04T08:00:00Z", datetime(2016, 8, 4, 8, tzinfo=UTC)),
        ("2016-08-04T08:00:00-00:00", datetime(2016, 8, 4, 8, tzinfo=UTC)),
        ("2016-08-04T08:00:00+05:45", datetime(2016, 8, 4, 2, 15, tzinfo=UTC)),
        ("2016-08-04T08:00:00.5Z", datetime(2016, 8, 4, 8, microsecond=500_000, tzinfo=UTC)),
        ("2016-02-29T23:59:59.1234561Z", datetime(2016, 2, 29, 23, 59, 59, 123_456, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_is_rfc_3339_and_comes_in_utc(text: str, moment: datetime) -> None:
    for key in ("not_before", "expires_at"):
        read = getattr(decode(with_key(key, f'"{text}"')), key)
        assert (read, read.tzinfo) == (moment, UTC)


NO_MOMENTS = r"""
    tomorrow 2016-08-04 2016-08-04T08:00Z 2016-08-04T08:00:00 2016-08-04T08:00:00z 2016-08-04t08:00:00Z 20160804T080000Z
    ２０１６-08-04T08:00:00Z 2016-08-04T08:00:00+0200 2016-08-04T08:00:00+02 2016-08-04T08:00:00+24:00
    2016-08-04T08:00:00+01:60 2016-08-04T08:00:00.Z 2016-08-04T08:00:00,5Z 2016-08-04T08:00:00Z\n
    2016-08-04T08:00:00Z\u0000 2016-02-30T08:00:00Z 2015-02-29T08:00:00Z 2016-13-01T08:00:00Z 2016-08-04T24:00:00Z
    2016-08-04T23:59:60Z 0000-01-01T00:00:00Z 10000-01-01T00:00:00Z 0001-01-01T00:00:00+00:01 9999-12-31T23:59:59-00:01
"""


@pytest.mark.parametrize(
    "value",
    [
        *(f'"{text}"' for text in NO_MOMENTS.split()),
        *('""', '"2016-08-04 08:00:00Z"', '" 2016-08-04T08:00:00Z"', "1470297600", "1470297600.5", "true", "[]"),
    ],
)
def test_moment_without_zone_or_out_of_range_is_refused(value: str) -> None:
    for key in ("not_before", "expires_at"):
        assert f"{key} must be a moment with a zone" in refused(with_key(key, value))


def test_a_message_must_not_expire_before_it_may_begin() -> None:
    pair = '{{"type":"a","data":{{}},"not_before":"2016-08-04T08:00:00Z","expires_at":"{}"}}'
    assert decode(pair.format("2016-08-04T10:00:01+02:00")).expires_at == datetime(2016, 8, 4, 8, 0, 1, tzinfo=UTC)
    for expires_at in ("2016-08-04T10:00:00+02:00", "2016-08-04T07:59:59Z"):
        assert "expires_at must be later than not_before" in refused(pair.format(expires_at))


# The ideas of https://github.com/nst/JSONTestSuite: what some parser lets through, each as a value inside the data.
NUMBERS = """
    - + +1 ++1 --1 -01 01 -x 0x1 0b1 0e 0e+ 0.1.2 1. .5 -.5 1.e1 -2. 2.e+3 1e 1e+ 1eE2 1.0e- 1_000 0,5 1a -1x 1n 1+2 １
    Inf -Inf infinity nan NaN -NaN Infinity -Infinity 1e999 -1e999 1.8e308
"""
WORDS = r"tru nul fals True None undefined nUll <null> # a 'a' `a` \u0020 () /**/1 1/**/ 1//x 1; !1 &a *a ?"
LISTS = '[ [1 [1,] [,1] [,] [1,,2] [1;2] [1:2] ] [1]] [a] [*] [-] [1.] (1] [1) [1} [{} ["a",4,1, ["a'
STRINGS = r"""
    " "a a" "a"b" "a""b" "\" "\\\" "\a" "\0" "\'" "\x" "\x00" "\u" "\u00" "\u00g0" "\U0041" "\u{41}" "\🙂"
    "\ud800" "\udc00" "\udc00\ud800" "\ud800\ud800" "\uD834\u" "\ud800a,and,more" "\ud834\\udd1e"
"""
OBJECTS = r"""
    {" {"a" {"a"} {"a":} {"a":1 {"a":1,} {,} {,"a":1} {"a":1,,"b":2} {"a":1"b":2} {"a"::1} {"a",1} {"a"=1} {"a":1}}
    {"a":1}# {"a":1}/**/ {"a":/*x*/1} {:1} {a:1} {'a':1} {1:1} {null:1} {[]:1} {{}:1} {"\ud800":1}
    {"a":1,"a":1} {"a":1,"\u0061":2} {"a":{"b":1},"a":{"c":2}} {"":1,"":2}
"""
SPACED = ["", " ", "1 000", "- 1", "t rue", "[1 true]", '["a" "b"]', '{"a":1 "b":2}', "[1\x00]", "[\f]", "[\u00a0]"]
RAW = ['"\x00"', '"\n"', '"\t"', '"\x1f"', '"\\\n"', '"\ud800"', '"\udfff"', '{"\ud800":1}', "\ufeff1", "1\u2028"]


@pytest.mark.parametrize("value", [*f"{NUMBERS} {WORDS} {LISTS} {STRINGS} {OBJECTS}".split(), *SPACED, *RAW])
def test_invalid_or_ambiguous_json_is_refused(value: str) -> None:
    refused(with_data(value))
    refused(with_key("unknown", value))
    refused(with_key("other", f'[{{"y":{value}}}]'))


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("-0", 0),
        ("-0.0", 0.0),
        ("1E5", 1e5),
        ("123e-10000000", 0.0),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("5e-324", 5e-324),
        ("9007199254740993", 9007199254740993),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("100000000000000000000.0", 1e20),
        ('"\\u0000"', "\x00"),
        ('"\x7f\u2028\ufeff\uffff"', "\x7f\u2028\ufeff\uffff"),
        ('"\\ud834\\udd1e"', "𝄞"),
        ('"\\/\\"\\\\\\b\\f\\n\\r\\t"', '/"\\\b\f\n\r\t'),
        ('{"":{"":{}}}', {"": {"": {}}}),
        ('{"x":{"x":1},"X":[{"x":2},{"x":2}]}', {"x": {"x": 1}, "X": [{"x": 2}, {"x": 2}]}),
        ("\t[\r\n1 , 2 ] ", [1, 2]),
    ],
)
def test_what_json_allows_is_read_exactly(value: str, read: Any) -> None:
    assert decode(with_data(value)).data == {"x": read}
    assert decode(with_key("other", value)).unknown == {"other": read}


@pytest.mark.parametrize("end", ["", " ", "x", "{}", ",", "\x00", "\ufeff", "]", "}", "//", "\x0b", "\u00a0", "\u2003"])
def test_a_body_is_all_of_one_object(end: str) -> None:
    whole = '{"type":"a","data":{}}'
    if end.strip(" \n"):
        refused(whole + end)
        refused(end + whole)
    else:
        assert decode(f"{end}{whole}{end}") == Message(type="a", data={})
    for length in range(len(whole)):
        refused(whole[:length])


@pytest.mark.parametrize(
    "number",
    ["9223372036854775808", "-9223372036854775809", "18446744073709551616", "-1" + "0" * 20, "-" + "9" * 100_000],
)
def test_an_integer_beyond_64_bits_is_refused_wherever_it_is(number: str) -> None:
    for body in (with_data(number), with_key("other", f'[{{"n":{number}}}]'), with_key("unique_for", number)):
        assert f"the integer {number[:21]} does not fit into 64 bits" in refused(body)


def test_a_repeated_key_is_refused_by_its_name() -> None:
    for body in ('{"type":"a","type":"a","data":{}}', '{"data":{},"type":"a","\\u0074ype":"b"}'):
        assert "the key 'type' comes twice in one object" in refused(body)


@settings(max_examples=examples(150))
@given(
    outer=st.lists(st.booleans(), max_size=40),
    members=json_objects.filter(bool),
    chosen=st.randoms(),
    same=st.booleans(),
)
def test_a_repeated_key_is_refused_at_every_depth(
    outer: list[bool], members: dict[str, Any], chosen: Any, *, same: bool
) -> None:
    key = chosen.choice(list(members))
    pairs = [*members.items(), (key, members[key] if same else {"other": 1})]
    chosen.shuffle(pairs)

    def nest(inner: str) -> str:
        for is_object in outer:
            inner = f'{{"a":{inner},"b":0}}' if is_object else f"[{inner},0]"
        return inner

    repeated = "{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in pairs) + "}"
    assert "comes twice in one object" in refused(with_data(nest(repeated)))
    assert "comes twice in one object" in refused(with_key("other", nest(repeated)))
    assert decode(with_data(nest(json.dumps(members)))).type == "a"


@settings(max_examples=examples(100))
@given(shape=st.lists(st.booleans(), min_size=55, max_size=75), filling=st.sampled_from(["", '"[[{{"', "[],[]"]))
def test_sixty_four_levels_are_the_limit(shape: list[bool], filling: str) -> None:
    value = f"[{filling}]"
    for is_object in shape:
        value = f'{{"k":{value}}}' if is_object else f"[{value}]"
    # The innermost list, the data and the message are levels too, and so may be a list within the filling.
    depth = len(shape) + 3 + filling.startswith("[")
    body = with_data(value)
    if depth <= 64:
        assert encode(decode(body)) == body
    else:
        assert "it nests more than 64 levels deep" in refused(body)


@pytest.mark.parametrize("brackets", ["[", "]", '{"x":', "{", "[{", '[{"x":'])
@pytest.mark.parametrize("before", ["", '{"type":"a","data":', '{"type":"a","data":{"x":', '{"unknown":'])
def test_deep_nesting_without_an_end_is_refused(before: str, brackets: str) -> None:
    refused(before + brackets * 100_000)


def test_deep_nesting_that_is_complete_is_refused_too() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for body in (with_data(deep), with_key("other", deep), json.dumps({"type": "a", "data": f'{{"x":{deep}}}'})):
        assert "levels deep" in refused(body)


def test_many_brackets_are_not_deep() -> None:
    data = {"x": [[], {}] * 1000, "y": "[" * 1000}
    assert decode(encode(Message(type="a", data=data))).data == data


@pytest.mark.parametrize("long", ["k" * 100_000, "🙂" * 100_000, "\\n" * 100_000])
def test_the_reason_is_short_whatever_was_sent(long: str) -> None:
    refused(with_key(long, f'1,"{long}":1'))
    refused(f'{{"type":"{long}","data":{{}}}}')
    refused(with_key("v", f'"{long}"'))
    refused(with_key("not_before", f'"{long}"'))
    with pytest.raises(InvalidRequestError) as caught:
        read_data({"day": "x", long: 1}, Payload)
    assert len(str(caught.value)) < 400


def test_a_million_values_are_read_in_a_moment() -> None:
    body = with_data("[" + ",".join(map(str, range(1_000_000))) + "]")
    began = time.perf_counter()
    assert decode(body).data["x"][-1] == 999_999
    # A tenth of a second by itself: this catches what grows faster than the body, not a slow machine.
    assert time.perf_counter() - began < 3


@settings(max_examples=examples(300))
@given(
    any_text
    | json_values(any_text, hostile=True).map(json.dumps)
    | st.fixed_dictionaries(
        {"type": st.just("a") | json_values(any_text), "data": json_objects | json_values(any_text, hostile=True)},
        optional={key: json_values(any_text, hostile=True) for key in [*sorted(known_keys - {"type", "data"}), "x"]},
    ).map(lambda tree: json.dumps(tree, ensure_ascii=False))
)
def test_every_text_is_a_message_or_refused_and_nothing_else(body: str) -> None:
    try:
        message = decode(body)
    except InvalidRequestError as error:
        assert len(str(error)) < 400  # noqa: PT017 (either end is fine)
        return
    assert decode(encode(message)) == message


NO_JSON: list[Any] = [math.nan, math.inf, -math.inf, "\ud800", {"\ud800": 1}, b"", {1}, object(), (1, 2), Decimal(1)]
HUGE = [2**63, -(2**63) - 1, [10**5000]]
NO_KEYS: list[Any] = [{1: 2}, {None: 1}, {True: 1}, {1.5: 1}, {("a",): 1}, {1: 1, "1": 1}]


@pytest.mark.parametrize("value", [*NO_JSON, *HUGE, *NO_KEYS, datetime(2016, 8, 4, tzinfo=UTC)])
def test_undecodable_message_is_not_encoded(value: Any) -> None:
    for message in (Message(type="a", data={"x": [value]}), Message(type="a", data={}, unknown={"x": [value]})):
        with pytest.raises(InvalidRequestError, match=r"^the message is not valid: "):
            encode(message)
    with pytest.raises(InvalidRequestError, match=r"^the job's data is not valid: "):
        encode_data({"x": [value]})


@pytest.mark.parametrize("levels", [62, 63, 1_000, 100_000])
def test_what_is_too_deep_is_not_encoded(levels: int) -> None:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    if levels == 62:
        assert decode_data(encode_data({"x": value})) == {"x": value}
        assert decode(encode(Message(type="a", data={"x": value}))).data == {"x": value}
        return
    with pytest.raises(InvalidRequestError):
        encode_data({"x": value})
    with pytest.raises(InvalidRequestError):
        encode(Message(type="a", data={"x": value}))


def test_what_contains_itself_is_not_encoded() -> None:
    data: dict[str, Any] = {}
    data["x"] = data
    with pytest.raises(InvalidRequestError, match="Circular reference"):
        encode_data(data)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "A"},
        {"type": ""},
        {"type": None},
        {"data": None},
        {"data": []},
        {"id": ""},
        {"id": "a b"},
        {"id": "\ud800"},
        {"idempotency_key": ""},
        {"unique_for": 60},
        {"idempotency_key": "k", "unique_for": 0},
        {"idempotency_key": "k", "unique_for": True},
        {"tags": ("",)},
        {"tags": ("a",) * 17},
        {"source": ""},
        {"traceparent": "t" * 129},
        {"not_before": datetime(2016, 8, 4)},  # noqa: DTZ001 (the point of it)
        {"not_before": datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))},
        {"expires_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))},
        {"not_before": datetime(2016, 8, 4, tzinfo=UTC), "expires_at": datetime(2016, 8, 4, tzinfo=UTC)},
        {"unknown": {"type": "b"}},
        {"unknown": {"id": "b"}},
        {"unknown": {"v": 1}},
        {"unknown": {"source": None}},
    ],
    ids=str,
)
def test_a_message_that_breaks_the_contract_is_not_encoded(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        encode(msgspec.structs.replace(Message(type="a", data={}), **fields))


def test_a_moment_of_any_zone_is_written_in_utc() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    second_half_past_two = datetime(2016, 10, 30, 2, 30, tzinfo=berlin, fold=1)
    before_there_were_zones = datetime(1890, 1, 1, tzinfo=berlin)
    assert '"not_before":"2016-10-30T01:30:00Z"' in encode(Message(type="a", data={}, not_before=second_half_past_two))
    assert '"1889-12-31T23:06:32Z"' in encode(Message(type="a", data={}, not_before=before_there_were_zones))


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    day: str
    limit: int = 10


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
        ({"day": "x", "\ud800": "y"}, "surrogates not allowed"),
    ],
)
def test_data_of_another_shape_is_refused_by_the_name_of_its_key(data: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_data(data, Payload)
    assert str(caught.value).startswith("the job's data is not valid: ")
    assert reason in str(caught.value)


@settings(max_examples=examples(100))
# Without lone surrogates: `decode` lets none through.
@given(st.dictionaries(st.sampled_from(["day", "limit"]) | st.text(), json_values(st.text(), hostile=True), max_size=4))
def test_all_data_is_a_payload_or_refused_and_nothing_else(data: dict[str, Any]) -> None:
    try:
        payload = read_data(data, Payload)
    except InvalidRequestError:
        return
    assert payload.day == data["day"]
