"""Commands as the pages show them, and whether there is what they ask for. Nothing is run."""

import importlib.util
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import chalice.cli
import click
import typer

from nightshift import cli
from nightshift.project import triggers
from tests.docs.aws import UnknownError, aws
from tests.docs.pages import ROOT

NIGHTSHIFT: Any = typer.main.get_command(cli.app)
CHALICE: Any = chalice.cli.cli
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE))
FUNCTIONS = {trigger.function for trigger in triggers.read(ROOT)}
OTHERS = {"echo", "jq", "export", "git", "gh", "cd"}
ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")


def commands_in(text: str) -> Iterator[str]:
    """Yield each command behind a prompt, with the lines that it goes on in."""
    command = ""
    for line in text.splitlines():
        if command or line.startswith("$ "):
            command += line.removeprefix("$ ") if not command else f"\n{line}"
            if _is_whole(command):
                yield command.replace("\\\n", " ")
                command = ""
    if command:
        raise UnknownError(f"{command} has no end")


def _is_whole(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return False
    return not command.endswith("\\")


def check(command: str) -> None:
    """Raise UnknownError where a line of a shell asks for what there is not."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            parts.append([])
        else:
            parts[-1].append(word)
    for part in parts:
        _check_one(part)
    first, last = parts[0], parts[-1]
    if first[0] == "echo" and _program(last) == "chalice":
        _check_payload(first[1:])


def _program(words: Sequence[str]) -> str:
    return words[0].removeprefix(".venv/bin/")


def _check_one(words: list[str]) -> None:
    while words and ASSIGNMENT.match(words[0]):
        words = words[1:]
    program = _program(words) if words else "export"
    checks = {"nightshift": nightshift, "make": make, "chalice": invoke, "aws": aws, "python": python, "pytest": pytest}
    if program in checks:
        checks[program](words[1:])
    elif program not in OTHERS:
        raise UnknownError(f"no test knows {program}")


def nightshift(words: Sequence[str]) -> None:
    """Raise UnknownError where our own command line would not be understood."""
    command, names, rest = NIGHTSHIFT, [], list(words)
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            raise UnknownError(f"nightshift has no command {' '.join(words)}")
        names.append(rest.pop(0))
        command = command.commands[names[-1]]
    _parse(command, " ".join(names), rest)


def _parse(command: Any, name: str, words: list[str]) -> None:
    try:
        command.make_context(name, words)
    except click.ClickException as error:
        raise UnknownError(f"{name} {' '.join(words)}: {error.format_message()}") from None
    except Exception as error:
        # Typer brings a Click of its own.
        if not hasattr(error, "format_message"):
            raise
        raise UnknownError(f"{name} {' '.join(words)}: {error.format_message()}") from None


def make(words: Sequence[str]) -> None:
    """Raise UnknownError where the Makefile has no such target or variable."""
    for word in words:
        variable, is_assigned, _ = word.partition("=")
        if is_assigned and f"$({variable})" not in MAKEFILE:
            raise UnknownError(f"the Makefile has no variable {variable}")
        if not is_assigned and word not in TARGETS:
            raise UnknownError(f"the Makefile has no target {word}")


def invoke(words: Sequence[str]) -> None:
    """Raise UnknownError where Chalice would not understand its command line, or app.py has no such function."""
    if words[0] not in CHALICE.commands:
        raise UnknownError(f"chalice has no command {words[0]}")
    _parse(CHALICE.commands[words[0]], words[0], list(words[1:]))
    if "-n" in words and words[words.index("-n") + 1] not in FUNCTIONS:
        raise UnknownError(f"app.py has no function {words[words.index('-n') + 1]}")


def _check_payload(words: Sequence[str]) -> None:
    (payload,) = words
    if not isinstance(json.loads(payload), dict):
        raise UnknownError(f"{payload} is no JSON object")


def python(words: Sequence[str]) -> None:
    """Raise UnknownError where there is no such module or file."""
    if words[0] == "-m":
        try:
            found = importlib.util.find_spec(words[1])
        except ModuleNotFoundError:
            found = None
        if found is None:
            raise UnknownError(f"there is no module {words[1]}")
    elif not (ROOT / words[0]).exists():
        raise UnknownError(f"there is no {words[0]}")


def pytest(words: Sequence[str]) -> None:
    """Raise UnknownError where there are no such tests."""
    for word in words:
        if "/" in word and not Path(ROOT, word).exists():
            raise UnknownError(f"there is no {word}")
