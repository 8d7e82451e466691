"""What parts add to the operation of a deployment: commands, probes, checks of the watch, rights, status sections."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import msgspec

import chalicelib
from chalicelib.core.context import Context
from chalicelib.core.part import Part

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection

    from chalicelib.operate.status.findings import Finding
    from chalicelib.schedule.schedule import Schedule

# The request that a command takes, and what does it.
Command = tuple[Any, Callable[[Context, Any], dict[str, Any]]]


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request that needs no more than its command."""


def _no_rights(_context: Context) -> Collection[str]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of the status.

    `read` returns its data, a dataclass. `find` returns what is wrong, given the data, the schedules and the time.
    `template` shows the data on the page, as `status.sections[name]`.
    """

    name: str
    read: Callable[[Connection], Any]
    find: Callable[[Any, Mapping[str, Schedule], datetime], Iterable[Finding]]
    template: Path


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What one part adds.

    `commands` is the module that has its COMMANDS by name. `probes` are what `check` tries, by the row that the doctor
    shows. `checks` are what the watch does every five minutes. `rights` returns for which purposes of
    `chalicelib.core.grants` the database's user needs rights.
    """

    commands: str
    probes: Mapping[str, Callable[[Context], dict[str, Any]]] = field(default_factory=dict)
    checks: Mapping[str, Callable[[Context], object]] = field(default_factory=dict)
    rights: Callable[[Context], Collection[str]] = _no_rights
    section: Section | None = None


def operations_of(parts: Iterable[Part]) -> list[Operations]:
    """Return what each part adds."""
    return [import_module(part.operations).OPERATIONS for part in parts]


def sections_of(parts: Iterable[Part]) -> list[Section]:
    """Return the sections that parts add to the status."""
    return [each.section for each in operations_of(parts) if each.section is not None]


def commands_of(parts: Iterable[Part]) -> dict[str, Command]:
    """Return the commands that parts add, by name."""
    found: dict[str, Command] = {}
    for operations in operations_of(parts):
        found |= import_module(operations.commands).COMMANDS
    return found


def find_owner(command: str) -> str | None:
    """Return the name of the part in chalicelib/ that has a command, whether or not a deployment lists the part."""
    return next((part.name for part in installed_parts() if command in commands_of([part])), None)


def installed_parts() -> Iterator[Part]:
    """Yield the parts in chalicelib/, whether or not a deployment lists them."""
    for module in iter_modules(chalicelib.__path__, "chalicelib."):
        part = getattr(import_module(module.name), "PART", None) if module.ispkg else None
        if part is not None:
            yield part
