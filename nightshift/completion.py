"""What a shell offers behind a command: the names that this project has. Nothing is run or asked for it."""

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from nightshift import triggers


def complete_stage(incomplete: str) -> list[str]:
    """Return the stages of .chalice/config.json that begin so."""
    # Nobody waits for a sentence where a shell asks.
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _of(json.loads(Path(".chalice", "config.json").read_bytes())["stages"], incomplete)
    return []


def complete_task(incomplete: str) -> list[str]:
    """Return the tasks of app.py that begin so."""
    return _of(_functions("task"), incomplete)


def complete_function(incomplete: str) -> list[str]:
    """Return the functions of app.py that begin so."""
    return _of(_functions("task", "rate", "queue", "topic", "function"), incomplete)


def complete_type(incomplete: str) -> list[str]:
    """Return the types of jobs that have a handler and begin so."""
    return _of((path.stem for path in Path("chalicelib", "handlers").glob("[!_]*.py")), incomplete)


def _functions(*kinds: triggers.Kind) -> list[str]:
    with suppress(ValueError):
        return triggers.functions_of(triggers.read(Path.cwd()), *kinds)
    return []


def _of(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
