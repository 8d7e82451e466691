"""A table of the database as the written file has it: its variable, the columns that are used, and their types."""

import keyword
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.sql.base import ReadOnlyColumnCollection

from chalicelib.columns import END_SECOND, FIRST_SECOND
from chalicelib.core.errors import ConfigurationError
from nightshift.adopt.choices import NONE, Choice, Choices
from nightshift.adopt.database import Column, Source, Table, words

FIRST_MS, END_MS = 10**12, 10**15
# The length of a UUID as text, which a column of the type Id holds.
ID_LENGTH = 36
UUID_BYTES = 16
LONG_TEXT = 16_000


@dataclass(kw_only=True)
class Mapped:
    """A table in the file. `types` and `keys` are by column; `key` is what Nightshift calls it, if not its name."""

    table: Table
    variable: str
    types: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def code(self, column: str) -> str:
        """Return the code that names a column of it."""
        return f"{self.variable}.c{_attribute(self.keys.get(column, column))}"


@dataclass(kw_only=True)
class Types:
    """Chooses the types of columns by what the database stores, and asks once in which zone DATETIMEs are."""

    source: Source
    choices: Choices
    zone: str | None = None
    moments: list[str] = field(default_factory=list)

    def id(self, mapped: Mapped, column: str) -> str:
        """Use a column as an id, and return its code."""
        found, table = mapped.table.columns[column], mapped.table
        if found.kind in {"integer", "flag"}:
            text = "IntegerId()"
        elif found.kind == "bytes" and found.type.length == UUID_BYTES:
            text = f"UuidId({'swapped=True' if _is_swapped(self.source.sample(table, column)) else ''})"
        elif found.kind == "text":
            length = getattr(found.type, "length", None) or ID_LENGTH
            text = "Id" if length <= ID_LENGTH else f"String({length})"
        else:
            raise ConfigurationError(
                f"{table.name}.{column} is {found.stored}, which Nightshift cannot use as an id: "
                "it takes INT, BIGINT, CHAR, VARCHAR and BINARY(16)"
            )
        return self._use(mapped, column, text)

    def key(self, mapped: Mapped, column: str) -> str:
        """Use a column of a key that the cleanup walks, which may be any bytes, and return its code."""
        found = mapped.table.columns[column]
        if found.kind == "bytes" and found.type.length != UUID_BYTES:
            return self._use(mapped, column, "LargeBinary")
        return self.id(mapped, column)

    def time(self, mapped: Mapped, column: str) -> str:
        """Use a column as a time, and return its code."""
        found, table = mapped.table.columns[column], mapped.table
        if found.kind == "moment":
            text = self._moment(table, found)
        else:
            text = _epoch(found, self.source.sample(table, column))
        return self._use(mapped, column, text)

    def plain(self, mapped: Mapped, column: str) -> str:
        """Use a column as it is, and return its code."""
        found = mapped.table.columns[column]
        length = getattr(found.type, "length", None) or max(map(len, found.choices), default=0)
        if found.kind == "moment":
            return self.time(mapped, column)
        if found.kind == "text":
            text = f"String({length})" if length and length < LONG_TEXT else "Text"
        else:
            text = {"flag": "Boolean", "integer": "BigInteger", "json": "Text"}.get(found.kind, "Text")
        return self._use(mapped, column, text)

    def is_time(self, table: Table, column: str) -> bool:
        """Return whether a column has times: a DATETIME, a TIMESTAMP, or a number that looks like epoch time."""
        found = table.columns[column]
        if found.kind != "integer":
            return found.kind == "moment"
        return all(_is_epoch(value) for value in self.source.sample(table, column))

    def _moment(self, table: Table, column: Column) -> str:
        if column.stored.startswith("TIMESTAMP") or {"gmt", "utc"} & set(words(column.name)):
            return "Moment()"
        if self.zone is None:
            self.zone = self._choose_zone(table, column)
        return "Moment()" if self.zone == "UTC" else f'Moment("{self.zone}")'

    def _choose_zone(self, table: Table, column: Column) -> str:
        sample = [value for value in self.source.sample(table, column.name) if isinstance(value, datetime)]
        # A post may be scheduled for later; a row's creation is never in the future.
        now = datetime.now(UTC).replace(tzinfo=None)
        ahead = [value - now for value in sample if timedelta(minutes=10) < value - now < timedelta(hours=15)]
        if ahead:
            reason = (
                f"{table.name}.{column.name} has times in the future, so it may be in a zone ahead of UTC: check it"
            )
        else:
            reason = "DATETIME has no zone; frameworks write UTC unless they are configured otherwise"
            if self.source.zone not in {"UTC", "+00:00"}:
                reason += f"; the server's clock is in {self.source.zone}, so check it"
        choice = Choice(
            key="zone",
            question="In which time zone does the application write DATETIMEs?",
            proposal="UTC",
            reason=reason,
            options=_zones(),
            is_sure=False,
            is_needed=True,
        )
        return self.choices.make(choice) or "UTC"

    def _use(self, mapped: Mapped, column: str, text: str) -> str:
        mapped.types[column] = text
        return mapped.code(column)


def variable_of(name: str, taken: Iterable[str] = ()) -> str:
    """Return a name for Python that is not taken."""
    snake = "_".join(words(name))
    while not snake.isidentifier() or keyword.iskeyword(snake) or snake in taken:
        snake = f"{snake}_table" if snake.isidentifier() else f"table_{snake}"
    return snake


def _attribute(name: str) -> str:
    is_plain = name.isidentifier() and not keyword.iskeyword(name) and not hasattr(ReadOnlyColumnCollection, name)
    return f".{name}" if is_plain else f'["{name}"]'


def _epoch(column: Column, sample: list[Any]) -> str:
    if sample:
        return "Seconds()" if FIRST_SECOND <= sample[0] < END_SECOND else "Millis"
    return "Millis" if type(column.type).__name__ in {"BIGINT", "DECIMAL"} else "Seconds()"


def _is_epoch(value: Any) -> bool:
    return bool(value == 0 or FIRST_SECOND <= value < END_SECOND or FIRST_MS <= value < END_MS)


def _is_swapped(sample: list[bytes]) -> bool:
    """Return whether the bytes are as of UUID_TO_BIN(…, 1), which puts the version first."""
    versions = {value[6] >> 4 for value in sample}
    first = {value[0] >> 4 for value in sample}
    is_straight = len(versions) == 1 and versions <= set(range(1, 9))
    return bool(sample) and not is_straight and len(first) == 1 and first <= set(range(1, 9))


def _zones() -> tuple[str, ...]:
    from zoneinfo import available_timezones

    return tuple(sorted(available_timezones()))


def none_if_empty(names: list[str]) -> str:
    """Return the first of the names, or `none`."""
    return names[0] if names else NONE
