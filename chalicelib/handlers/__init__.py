"""Handlers of jobs, one file a type. A handler's type is its file's name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from chalicelib.context import Context
from chalicelib.errors import InvalidRequestError
from chalicelib.outcome import Counts


@dataclass(frozen=True, kw_only=True)
class Handler:
    """What performs jobs of one type: `perform` is given a message's data as the `payload` struct."""

    type: str
    payload: Any
    perform: Callable[[Context, Any], Counts]


def find(type_: str) -> Handler:
    """Return the handler of this type. Raises InvalidRequestError when there is none."""
    known = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py"))
    if type_ not in known:
        raise InvalidRequestError(f"there is no handler for jobs of type {type_[:64]!r}; there are {', '.join(known)}")
    handler: Handler = import_module(f"{__name__}.{type_}").HANDLER
    return handler
