"""What a shell offers behind a command: the names that this project has. Nothing is run or asked for it."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from nightshift import triggers
from nightshift.stages import stages_of


def complete_stage(incomplete: str) -> list[str]:
    """Return the stages of .chalice/config.json that begin so."""
    return _of(stages_of(Path.cwd()), incomplete)


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
    # Nobody waits for a sentence where a shell asks.
    with suppress(ValueError):
        return triggers.functions_of(triggers.read(Path.cwd()), *kinds)
    return []


def _of(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
