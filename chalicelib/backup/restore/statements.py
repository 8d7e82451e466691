"""The statements of a backup that define: each of a kind that backups have, or it is refused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import dropwhile, islice
from typing import Any

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


_BEGINNING = re.compile(rb"((?:SET [^\n]*;\n)*+)DELIMITER (\$\$+)\n")
_END = b"DELIMITER ;\n"
# Each takes memory beside its text. A schema has two for a program and one for a table.
MOST_STATEMENTS = 250_000


def statements_of(text: bytes, *, part: str) -> Iterator[bytes]:
    """Yield the statements of a part's text. Raises DamagedError where it is not written as such parts are."""
    beginning = _BEGINNING.match(text)
    if not beginning:
        raise DamagedError(f"{part} is damaged: it does not begin as definitions do")
    settings, delimiter = beginning.groups()
    separator = b"\n" + delimiter + b"\n"
    if (count := text.count(separator)) > MOST_STATEMENTS:
        raise DamagedError(f"{part} has {count:,} statements, and a restore reads {MOST_STATEMENTS:,}")
    *statements, end = text[beginning.end() :].split(separator)
    if end != _END:
        raise DamagedError(f"{part} is damaged: it does not end as definitions do")
    yield from (setting.removesuffix(b";") for setting in settings.splitlines())
    yield from statements


# What runs: with the rights of its definer, when a table is used, when it is called, or by itself.
RUNNING = frozenset({"TRIGGER", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "EVENT"})
PROGRAMS = RUNNING | {"VIEW"}

_SETTINGS = r"sql_mode|time_zone|character_set_client|collation_connection|foreign_key_checks|unique_checks"
_SETTING = rf"(?:{_SETTINGS})=(?:'[\w,+:/-]*'|[01])"
_SPACE = r"(?:\s|/\*(?!M?!).*?\*/|--\s[^\n]*\n|\#[^\n]*\n)"
_QUOTED = r"(?:`(?:[^`]|``)++`|\"(?:[^\"]|\"\")++\")"
_NAME = rf"(?:{_QUOTED}|[\w$\x80-\uffff]++)"
# The definer is as the server writes it; what comes behind a trigger's, as its author did.
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
    """What defines an object, its name quoted and in the statement's own bytes; or a setting, which has no name.

    `definer` is the clause of the text that names one. `charset` and `has_escapes` are the settings under which the
    server reads it.
    """

    kind: str
    text: bytes
    name: bytes = b""
    # A trigger's.
    table: str | None = None
    definer: bytes = b""
    charset: str
    has_escapes: bool

    @property
    def without_definer(self) -> bytes:
        """The text for whoever may not create in the name of others."""
        return self.text.replace(self.definer, b"", 1)

    def tokens(self) -> Iterator[Token]:
        """Yield its code and comments. Raises DamagedError as `tokens_of`."""
        return tokens_of(decode(self.text, charset=self.charset), has_escapes=self.has_escapes)

    def code(self) -> Iterator[Token]:
        """Yield its code. Raises DamagedError as `tokens_of`."""
        return (token for token in self.tokens() if token.kind != "comment")


class Statements:
    """The statements of a part, each read as the settings before it have it."""

    def __init__(self, text: bytes, *, part: str) -> None:
        self._text = text
        self._part = part
        self._charset = "utf8mb4"
        self._has_escapes = True

    def __iter__(self) -> Iterator[Statement]:
        """Yield them. Raises DamagedError for what no backup has."""
        for text in statements_of(self._text, part=self._part):
            try:
                statement = self._read(text)
            except DamagedError as error:
                raise DamagedError(f"{self._part} is damaged: {error}: {shortened(text)}") from None
            yield statement

    def _read(self, text: bytes) -> Statement:
        decoded = decode(text, charset=self._charset)
        for kind, shape in _SHAPES:
            if found := shape.fullmatch(decoded):
                return self._made(kind, found, text)
        raise DamagedError("no backup has such a statement")

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
            raise DamagedError("no backup has a function of a library")
        return replace(statement, table=_table_of(statement)) if kind == "TRIGGER" else statement

    def _note_settings(self, text: bytes) -> None:
        if charset := _CHARSET.search(text):
            self._charset = (charset[1] or charset[2]).decode()
        if mode := _MODE.search(text):
            self._has_escapes = b"NO_BACKSLASH_ESCAPES" not in mode[1]


def _table_of(trigger: Statement) -> str:
    # The first ON is that of the table: only the moment and what happens stand before it.
    after = dropwhile(lambda token: token.word != "ON", trigger.code())
    _, table, dot = (*islice(after, 3), None, None, None)[:3]
    if table is None or table.name is None or (dot and dot.text == "."):
        raise DamagedError("no backup has such a trigger")
    return encode(table.name, charset=trigger.charset).decode(errors="replace")


def _in_backticks(name: str) -> str:
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"').replace("`", "``")
    return name if name.startswith("`") else f"`{name}`"


def shortened(text: bytes) -> str:
    """Return the beginning of a statement, for a message."""
    return text[:80].decode(errors="replace")
