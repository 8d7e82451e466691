"""What a task or a handler may be called: what Python, AWS and Chalice take alike, and what is not there yet."""

import builtins
import keyword
import re
import symtable
from collections.abc import Callable, Collection
from pathlib import Path

from nightshift.project import configuration, triggers

FORM = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
# A Lambda function, an IAM role and an EventBridge rule: Chalice makes one of each, and a rule's name is the longest.
LONGEST = 64
RULE = "nightshift-{stage}-{name}-event"
# The columns for a task and a type.
LONGEST_TYPE = 64


def check(name: str, others: Callable[[str], None]) -> None:
    """Refuse, with ValueError, what is no name in lower-case words, a word of Python's own, and what others refuse."""
    if not FORM.fullmatch(name):
        raise ValueError(
            f"{name[:40]!r} is no name: it needs lower-case words of letters and digits, joined by _, as in "
            f"send_weekly_newsletter{_hint(name, others)}"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name):
        raise ValueError(f"{name} means something else to Python; add a word that says what it does")
    if len(name) > LONGEST_TYPE:
        raise ValueError(f"{name[:40]}… has {len(name)} characters, and the tables keep {LONGEST_TYPE}")
    others(name)


def _hint(name: str, others: Callable[[str], None]) -> str:
    # What is left of été without its accents is nothing that somebody meant.
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name) if name.isascii() else []
    near = "_".join(words).lower()
    if not FORM.fullmatch(near):
        return ""
    try:
        check(near, others)
    except ValueError:
        return ""
    return f"; did you mean {near}?"


def check_length(project: Path, name: str) -> None:
    """Refuse, with ValueError, the name of a function of which AWS would refuse what is named after it."""
    stages = configuration.read(project).get("stages", {})
    rule = max((RULE.format(stage=stage, name=name) for stage in stages), key=len, default="")
    if len(rule) > LONGEST:
        allowed = len(name) - (len(rule) - LONGEST)
        raise ValueError(
            f"{name[:40]}… has {len(name)} characters, and may have {allowed} here: AWS takes no rule of more than "
            f"{LONGEST}, and its would be {rule}"
        )


def check_free(project: Path, name: str, *, modules: Collection[str]) -> None:
    """Refuse, with ValueError, a name that one of these modules has in use, each given by the path of its file.

    A module's own functions are names of it, and a new submodule is bound in its package, over what has its name there.
    """
    for path in modules:
        if name in bound_in(project / path):
            raise ValueError(f"there is {name} already, in {path}; take another name")


def check_new(project: Path, paths: Collection[str]) -> None:
    """Refuse, with ValueError, to write over a file."""
    for path in paths:
        if (project / path).exists():
            raise ValueError(f"there is {path} already; take another name")


def check_distinct(name: str, functions: Collection[str]) -> None:
    """Refuse, with ValueError, a name that differs from a function's by underscores alone."""
    for function in functions:
        if function.replace("_", "") == name.replace("_", ""):
            raise ValueError(
                f"there is {function} already, and CloudFormation's names, without _, could not tell them apart"
            )


def check_alarm(project: Path, name: str) -> None:
    """Refuse, with ValueError, a task whose alarm on runs that were given up would have another alarm's name."""
    path = project / "infra" / "alarms.yaml"
    if path.exists() and f'-dead-{name}"' in path.read_text(encoding="utf-8"):
        raise ValueError(f"its alarm would be called dead-{name}, and infra/alarms.yaml has one; take another name")


def bound_in(path: Path) -> set[str]:
    """Return the names that a module binds. Raises ValueError where it cannot be read."""
    source = triggers.source_of(path)
    try:
        module = symtable.symtable(source.decode("utf-8"), path.name, "exec")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    return {symbol.get_name() for symbol in module.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
