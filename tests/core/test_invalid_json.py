"""What is said of text that is not valid JSON."""

import json

import msgspec
import pytest

from chalicelib.core.error_text import explain

SURROGATE = r"it has half of a surrogate pair, such as \ud800, which is no character"
BOM = "it begins with a byte order mark (U+FEFF), which JSON does not allow"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r'{"x":"\ud800"}', SURROGATE),
        (r'{"x":"\ud83dx"}', SURROGATE),
        (r'{"x":"\uDC00"}', SURROGATE),
        (r'{"x":"\ud83d\ud83d"}', SURROGATE),
        ("\ufeff{}", BOM),
        ('{"x":%s}' % ("9" * 5000), "it has an integer of too many digits"),
        ("[" * 100_000, "it nests too deeply"),
        (r'{"x":"\ud83d\ude00', "Input data was truncated"),
        (r'{"x":"\\ud800', "Input data was truncated"),
        ("", "Input data was truncated"),
        ('{"x":NaN}', "JSON is malformed: invalid character (byte 5)"),
    ],
    ids=lambda text: ascii(text[:30]),
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises((ValueError, RecursionError)) as caught:
        msgspec.json.decode(text)
    assert explain(text, caught.value) == explain(text.encode(), caught.value) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [("\ufeff{}", BOM), ("9" * 5000, "it has an integer of too many digits"), ("[" * 100_000, "it nests too deeply")],
    ids=["mark", "integer", "depth"],
)
def test_what_the_standard_library_refuses_is_said_alike(text: str, said: str) -> None:
    with pytest.raises((ValueError, RecursionError)) as caught:
        json.loads(text)
    assert explain(text, caught.value) == said
