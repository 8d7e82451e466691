"""The statements of a backup's definitions, each of a known kind, and their tokens.

Any other statement is refused. Tokens separate code from strings and comments.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import dropwhile, islice
from typing import Any

from chalicelib.core.errors import DamagedError

# Character sets in which the second byte of a character can be a quote or a backslash.
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
_AMBIGUOUS = "has comments that servers interpret differently"


@dataclass(frozen=True, slots=True)
class Token:
    """A token: a name in backticks, a string in either quotes, a word, a sign, a comment or a mark.

    A mark begins or ends a comment that some servers execute, such as /*!80000; the text in it is code.
    """

    kind: str
    text: str

    @property
    def name(self) -> str | None:
        """The name, or None if it cannot be one. A string in double quotes is a name in some modes."""
        if self.kind == "name" or self.text[:1] == '"':
            return self.text[1:-1].replace(self.text[0] * 2, self.text[0])
        return self.text if self.kind == "word" else None

    @property
    def word(self) -> str:
        """The word in capitals, or an empty string."""
        return self.text.upper() if self.kind == "word" else ""


def decode(text: bytes, *, charset: str) -> str:
    """Decode a statement so that no quote or backslash is part of another character. Raises DamagedError."""
    try:
        return text.decode(_CODECS.get(charset, "latin-1"))
    except UnicodeDecodeError:
        raise DamagedError(f"is not text in the character set {charset}") from None


def encode(text: str, *, charset: str) -> bytes:
    """Encode a piece of decoded text."""
    return text.encode(_CODECS.get(charset, "latin-1"))


def tokenize(text: str, *, has_escapes: bool) -> Iterator[Token]:
    """Yield the tokens; `has_escapes` is whether backslashes are escapes in strings.

    Raises DamagedError if servers that skip a comment and servers that execute it would disagree about its end.
    """
    pattern = _WITH_ESCAPES if has_escapes else _WITHOUT_ESCAPES
    is_executable, at = False, 0
    while found := pattern.match(text, at):
        kind, piece = found.lastgroup or "", found[0]
        if kind == "mark" and piece == "*/" and not is_executable:
            # It ends no comment. It may be a product before one.
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


_BEGINNING = re.compile(rb"((?:SET [^\n]*;\n)*+)DELIMITER (\$\$+)\n")
_END = b"DELIMITER ;\n"
# Limits memory. A schema has two statements per program and one per table.
MAX_STATEMENTS = 250_000


def split_statements(text: bytes, *, part: str) -> Iterator[bytes]:
    """Split a part's text into statements. Raises DamagedError if it has another format."""
    beginning = _BEGINNING.match(text)
    if not beginning:
        raise DamagedError(f"{part} is damaged: it does not begin with the header of definitions")
    settings, delimiter = beginning.groups()
    separator = b"\n" + delimiter + b"\n"
    if (count := text.count(separator)) > MAX_STATEMENTS:
        raise DamagedError(f"{part} has {count:,} statements, and a restore reads at most {MAX_STATEMENTS:,}")
    *statements, end = text[beginning.end() :].split(separator)
    if end != _END:
        raise DamagedError(f"{part} is damaged: it does not end with the footer of definitions")
    yield from (setting.removesuffix(b";") for setting in settings.splitlines())
    yield from statements


# Programs that can run code with their definer's rights.
RUNNING = frozenset({"TRIGGER", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "EVENT"})
PROGRAMS = RUNNING | {"VIEW"}

_SETTINGS = r"sql_mode|time_zone|character_set_client|collation_connection|foreign_key_checks|unique_checks"
_SETTING = rf"(?:{_SETTINGS})=(?:'[\w,+:/-]*'|[01])"
_SPACE = r"(?:\s|/\*(?!M?!).*?\*/|--\s[^\n]*\n|\#[^\n]*\n)"
_QUOTED = r"(?:`(?:[^`]|``)++`|\"(?:[^\"]|\"\")++\")"
_NAME = rf"(?:{_QUOTED}|[\w$\x80-\uffff]++)"
# The server writes the definer; what follows it in a trigger is as its author wrote it.
_DEFINER = rf"(?P<definer>DEFINER=(?:{_QUOTED}@)?{_QUOTED} )?"
_FORMS = [
    ("SETTING", rf"SET NAMES (?:binary|utf8mb4)|SET SESSION {_SETTING}(?:,{_SETTING})*"),
    ("COLLATION", r"ALTER DATABASE COLLATE [a-z0-9_]+"),
    ("POSITION", r"DO SETVAL\((?P<name>`(?:[^`]|``)++`),-?\d+,0\)"),
    ("TABLE", r"CREATE TABLE (?P<name>`(?:[^`]|``)++`) \(\s*(?=`|PRIMARY KEY|CONSTRAINT).*"),
    ("SEQUENCE", r"CREATE SEQUENCE (?P<name>`(?:[^`]|``)++`) .*"),
    (
        "PROGRAM",
        r"CREATE (?:OR REPLACE )?(?:ALGORITHM=\w+ )?(?:MATERIALIZED (?:/\*\(BY ENGINE=\w+\)\*/ )?)?"
        rf"{_DEFINER}(?:SQL SECURITY \w+ )?(?:AGGREGATE |JSON RELATIONAL DUALITY )?"
        r"(?P<kind>(?i:VIEW|TRIGGER|FUNCTION|PROCEDURE|PACKAGE BODY|PACKAGE|EVENT))"
        rf"{_SPACE}+(?:(?i:IF{_SPACE}+NOT{_SPACE}+EXISTS){_SPACE}+)?(?P<name>{_NAME})(?=\W)(?!{_SPACE}*\.).*",
    ),
]
_SHAPES = [(kind, re.compile(form, re.S)) for kind, form in _FORMS]
_CHARSET = re.compile(rb"character_set_client='(\w+)'|NAMES (\w+)")
_MODE = re.compile(rb"sql_mode='([\w,]*)'")


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A statement that defines an object, or a setting, which has no name. The name is quoted and encoded.

    `definer` is its DEFINER clause. `charset` and `has_escapes` are the settings under which the server parses it.
    """

    kind: str
    text: bytes
    name: bytes = b""
    # Of a trigger.
    table: str | None = None
    definer: bytes = b""
    charset: str
    has_escapes: bool

    @property
    def without_definer(self) -> bytes:
        """The text without its DEFINER clause, for users who may not set another definer."""
        return self.text.replace(self.definer, b"", 1)

    def tokens(self) -> Iterator[Token]:
        """Yield all tokens. Raises DamagedError as `tokenize`."""
        return tokenize(decode(self.text, charset=self.charset), has_escapes=self.has_escapes)

    def code(self) -> Iterator[Token]:
        """Yield the tokens except comments. Raises DamagedError as `tokenize`."""
        return (token for token in self.tokens() if token.kind != "comment")


class Statements:
    """The statements of a part, each parsed under the settings before it."""

    def __init__(self, text: bytes, *, part: str) -> None:
        self._text = text
        self._part = part
        self._charset = "utf8mb4"
        self._has_escapes = True

    def __iter__(self) -> Iterator[Statement]:
        """Yield the statements. Raises DamagedError for an unknown one."""
        for text in split_statements(self._text, part=self._part):
            try:
                statement = self._read(text)
            except DamagedError as error:
                raise DamagedError(f"{self._part} is damaged: {error}: {shorten(text)}") from None
            yield statement

    def _read(self, text: bytes) -> Statement:
        decoded = decode(text, charset=self._charset)
        for kind, shape in _SHAPES:
            if found := shape.fullmatch(decoded):
                return self._made(kind, found, text)
        raise DamagedError("unknown kind of statement")

    def _made(self, kind: str, found: "re.Match[str]", text: bytes) -> Statement:
        settings: Any = {"charset": self._charset, "has_escapes": self._has_escapes}
        if kind in {"SETTING", "COLLATION"}:
            self._note_settings(text)
            return Statement(kind=kind, text=text, **settings)
        parts = found.groupdict()
        if kind == "PROGRAM":
            kind = parts["kind"].upper()
        statement = Statement(
            kind=kind,
            text=text,
            name=encode(_in_backticks(parts["name"]), charset=self._charset),
            definer=encode(parts.get("definer") or "", charset=self._charset),
            **settings,
        )
        if kind == "FUNCTION" and "SONAME" in {token.word for token in statement.code()}:
            raise DamagedError("loadable functions are not part of backups")
        return replace(statement, table=_table_of(statement)) if kind == "TRIGGER" else statement

    def _note_settings(self, text: bytes) -> None:
        if charset := _CHARSET.search(text):
            self._charset = (charset[1] or charset[2]).decode()
        if mode := _MODE.search(text):
            self._has_escapes = b"NO_BACKSLASH_ESCAPES" not in mode[1]


def _table_of(trigger: Statement) -> str:
    # The first ON precedes the table; only the trigger's time and event come before it.
    after = dropwhile(lambda token: token.word != "ON", trigger.code())
    _, table, dot = (*islice(after, 3), None, None, None)[:3]
    if table is None or table.name is None or (dot and dot.text == "."):
        raise DamagedError("unknown form of trigger")
    return encode(table.name, charset=trigger.charset).decode(errors="replace")


def _in_backticks(name: str) -> str:
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"').replace("`", "``")
    return name if name.startswith("`") else f"`{name}`"


def shorten(text: bytes) -> str:
    """Return the beginning of a statement for a message."""
    return text[:80].decode(errors="replace")
