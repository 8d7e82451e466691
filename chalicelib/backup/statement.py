"""The statements of a backup that define: each of a kind that backups have, or it is refused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import dropwhile, islice
from typing import Any

from chalicelib.backup.script import statements_of
from chalicelib.backup.tokens import Token, decode, encode, tokens_of
from chalicelib.core.errors import DamagedError

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
