"""An entry of a log: one line that a terminal can show, with what belongs below it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from chalicelib.operate.status.words import took
from nightshift.terminal import plain

# Of one line, and of a field's value, in characters: a log may hold whole documents.
LONG, LONG_VALUE = 2000, 120
INDENT = "    "


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was logged; `below` is a traceback, or whatever else has lines of its own."""

    level: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)
    below: str = ""
    at: datetime | None = None

    def text(self, *, at: datetime | None, source: str | None) -> str:
        """Return it as one line, and below it indented ones. `source` is the function that it is of."""
        moment = at or self.at
        when = [f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"] if moment else []
        told = [*([f"{source}:"] if source else []), self.message]
        told += [f"{key}={_short(str(value), LONG_VALUE)}" for key, value in self.fields.items()]
        line = " ".join([*when, f"{plain(self.level):7.8}", _short(plain(" ".join(told)), LONG)])
        return "\n".join([line, *self._below()])

    def _below(self) -> Iterator[str]:
        for line in self.below.splitlines():
            if words := plain(line):
                indent = len(line) - len(line.lstrip())
                yield INDENT + " " * min(indent, 40) + _short(words, LONG)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def duration(milliseconds: object) -> str:
    """Return a duration as people read it, and as it is where it is none."""
    try:
        return took(float(str(milliseconds)))
    except (ValueError, OverflowError):
        return str(milliseconds)
