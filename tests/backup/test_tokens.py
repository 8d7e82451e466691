"""SQL text as a server reads it: strings, comments and code are told apart, whatever the settings."""

import pytest

from chalicelib.backup.restore.statements import decode, encode, tokenize
from chalicelib.core.errors import DamagedError


def texts(text: str, *, has_escapes: bool = True) -> list[str]:
    return [token.text for token in tokenize(text, has_escapes=has_escapes) if token.kind != "comment"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT a.b", ["SELECT", "a", ".", "b"]),
        ("`a``.b`.c", ["`a``.b`", ".", "c"]),
        ("'it''s' 'it\\'s' ''", ["'it''s'", "'it\\'s'", "''"]),
        ('"a""b" "\\""', ['"a""b"', '"\\""']),
        ("a/* ' */b -- '\nc # '\nd", ["a", "b", "c", "d"]),
        ("1--1", ["1", "-", "-", "1"]),
        ("2*/* c */3", ["2", "*", "3"]),
        ("a/*!50100 b*/c/*M!c*/", ["a", "/*!50100", "b", "*/", "c", "/*M!", "c", "*/"]),
        ("'not closed", ["'", "not", "closed"]),
        ("/* not closed '", ["/", "*", "not", "closed", "'"]),
        ("\u00fcx$_1", ["\u00fcx$_1"]),
    ],
)
def test_text_is_told_apart(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


def test_a_backslash_is_an_escape_or_none() -> None:
    assert texts("'\\' b '", has_escapes=False) == ["'\\'", "b", "'"]
    assert texts("'\\' b '") == ["'\\' b '"]


@pytest.mark.parametrize(
    "text",
    [
        "/*!1 a /*!2 b */ c */",
        "/*!1 ' */ a /*!1 ' */",
        "/*!1 ` */ a /*!1 ` */",
        '/*!1 " */ a /*!1 " */',
        "/*!1 -- */ a\n*/",
        "/*!1 # */ a\n*/",
        "/*!1 /* ' */ a */",
    ],
)
def test_a_comment_whose_end_depends_on_the_server_is_refused(text: str) -> None:
    with pytest.raises(DamagedError, match="comments that servers interpret differently"):
        texts(text)


@pytest.mark.parametrize(
    ("charset", "first"),
    [("sjis", b"\x83"), ("cp932", b"\x83"), ("gbk", b"\x81"), ("big5", b"\xa5"), ("gb18030", b"\x81")],
)
def test_a_backslash_that_is_half_a_character_is_no_escape(charset: str, first: bytes) -> None:
    text = b"'" + first + b"\\', x"
    decoded = decode(text, charset=charset)
    assert texts(decoded)[1:] == [",", "x"]
    assert encode(decoded, charset=charset) == text
    assert texts(decode(text, charset="latin1"))[1:] != [",", "x"]


def test_any_bytes_are_text_of_other_character_sets() -> None:
    for charset in ("utf8mb4", "latin1", "binary", "ujis"):
        assert encode(decode(bytes(range(256)), charset=charset), charset=charset) == bytes(range(256))


def test_what_is_no_text_of_its_character_set_is_refused() -> None:
    with pytest.raises(DamagedError, match="is not text in the character set sjis"):
        decode(b"'\x83", charset="sjis")
