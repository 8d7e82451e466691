"""SQL text as tokens, so that what stands in strings and comments is not taken for code, nor code for such."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chalicelib.core.errors import DamagedError

# These have characters whose second byte is a quote or a backslash to everybody else.
_CODECS = {"big5": "big5", "gbk": "gbk", "sjis": "shift_jis", "cp932": "cp932", "gb18030": "gb18030"}
_PATTERN = r"""
    (?P<space> [\ \t\n\v\f\r]+ )
    | (?P<comment> /\*(?!M?!).*?\*/ | --(?=[\0-\x20\x7f]|\Z)[^\n]* | \#[^\n]* )
    | (?P<mark> /\*M?!\d* | \*/ )
    | (?P<name> `(?:[^`]|``)*+` )
    | (?P<string> '(?:[^'{0}]|{1}'')*+' | "(?:[^"{0}]|{1}"")*+" )
    | (?P<word> [\w$\x80-\uffff]+ )
    | (?P<sign> . )
"""
_WITH_ESCAPES = re.compile(_PATTERN.format(r"\\", r"\\.|"), re.S | re.X)
_WITHOUT_ESCAPES = re.compile(_PATTERN.format("", ""), re.S | re.X)
_AMBIGUOUS = "has comments that not all servers understand alike"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of code: a name in backticks, a string in either quotes, a word, a sign, a comment.

    A mark begins or ends a comment that some servers execute; what stands within is code.
    """

    kind: str
    text: str

    @property
    def name(self) -> str | None:
        """What it names, where it can be a name: a string in double quotes is one in some modes."""
        if self.kind == "name" or self.text[:1] == '"':
            return self.text[1:-1].replace(self.text[0] * 2, self.text[0])
        return self.text if self.kind == "word" else None

    @property
    def word(self) -> str:
        """The word in capitals, empty for what is none."""
        return self.text.upper() if self.kind == "word" else ""


def decode(text: bytes, *, charset: str) -> str:
    """Return a statement as text in which every byte, or character of several, is one. Raises DamagedError."""
    try:
        return text.decode(_CODECS.get(charset, "latin-1"))
    except UnicodeDecodeError:
        raise DamagedError(f"is no text of the character set {charset}") from None


def encode(text: str, *, charset: str) -> bytes:
    """Return the bytes of a piece of decoded text."""
    return text.encode(_CODECS.get(charset, "latin-1"))


def tokens_of(text: str, *, has_escapes: bool) -> Iterator[Token]:
    """Yield the tokens; `has_escapes` says whether a backslash in a string is one.

    Raises DamagedError where a server that skips a comment would see another end of it than one that executes it.
    """
    pattern = _WITH_ESCAPES if has_escapes else _WITHOUT_ESCAPES
    is_executable, at = False, 0
    while found := pattern.match(text, at):
        kind, piece = found.lastgroup or "", found[0]
        if kind == "mark" and piece == "*/" and not is_executable:
            # Ends nothing: a product before a comment, perhaps.
            kind, piece = "sign", "*"
        elif kind == "mark":
            if is_executable and piece != "*/":
                raise DamagedError(_AMBIGUOUS)
            is_executable = not is_executable
        elif is_executable and "*/" in piece:
            raise DamagedError(_AMBIGUOUS)
        at += len(piece)
        if kind != "space":
            yield Token(kind, piece)
