"""The triggers of app.py, read without importing it: each function, what invokes it, and when.

Chalice must be the first to import app.py, with the stage's variables set. And of several invalid schedules, an import
would name only the first.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

from chalicelib.schedule.schedule import is_expression

# A task with a schedule, a function with an expression of EventBridge's own, a worker of a queue, a subscriber of a
# topic, any other function.
Kind = Literal["task", "expression", "queue", "topic", "function"]
DECORATORS: dict[str, Kind] = {
    "app.schedule": "task",
    "app.on_sqs_message": "queue",
    "app.on_sns_message": "topic",
    "app.lambda_function": "function",
}
APPLICATION = "nightshift"
# Chalice's name for the one function that serves every route.
ROUTES = "api_handler"


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A function of app.py; `text` is its schedule or expression, and `last_line` its last line, from 1."""

    function: str
    kind: Kind
    text: str
    last_line: int


def read(project: Path) -> list[Trigger]:
    """Return the triggers of a project's app.py, in order. Raises ValueError if it cannot be read."""
    return list(triggers_of(parse(project / "app.py")))


def parts(project: Path) -> list[str]:
    """Return the names of the parts that a project's app.py lists in PARTS."""
    for node in parse(project / "app.py").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PARTS":
            return [each.value.id for each in ast.walk(node.value) if _is_part(each)]
    return []


def _is_part(node: ast.AST) -> TypeGuard[Any]:
    return isinstance(node, ast.Attribute) and node.attr == "PART"


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a file. Raises ValueError if it cannot be read, or is not Python."""
    source = source_of(path)
    try:
        return ast.parse(source, filename=path.name)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def source_of(path: Path) -> bytes:
    """Return the content of a file of the project. Raises ValueError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "; run it in the root of the project, where app.py is" if isinstance(error, FileNotFoundError) else ""
        raise ValueError(f"{path} cannot be read: {error.strerror}{hint}") from error


def triggers_of(module: ast.Module) -> Iterator[Trigger]:
    """Yield the triggers of an app.py. Raises ValueError for a schedule that is not literal text."""
    for function in module.body:
        if isinstance(function, ast.FunctionDef):
            for call in function.decorator_list:
                if isinstance(call, ast.Call) and ast.unparse(call.func) in DECORATORS:
                    kind, text = DECORATORS[ast.unparse(call.func)], ""
                    if kind == "task":
                        kind, text = _schedule_of(function, call)
                    yield Trigger(
                        function=function.name, kind=kind, text=text, last_line=function.end_lineno or function.lineno
                    )


def _schedule_of(function: ast.FunctionDef, call: ast.Call) -> tuple[Kind, str]:
    given = [*call.args, *(each.value for each in call.keywords if each.arg == "expression")]
    match given[:1]:
        case [ast.Constant(value=str(text))]:
            return ("expression" if is_expression(text) else "task"), text
        case [ast.Call(func=ast.Name(id="Rate" | "Cron")) as expression]:
            return "expression", ast.unparse(expression)
    raise ValueError(
        f"app.py:{call.lineno}: the schedule of {function.name} must be literal text, or a Rate or Cron of Chalice"
    )


def functions_of(triggers: Iterable[Trigger], *kinds: Kind) -> list[str]:
    """Return the names of the functions of these kinds."""
    return [trigger.function for trigger in triggers if trigger.kind in kinds]


def reporting(known: Iterable[Trigger]) -> list[str]:
    """Return the functions that report runs by their own names, and whose failed events must not get lost.

    Those are the tasks, and what a topic calls: Lambda repeats it as a schedule's fire.
    """
    return functions_of(known, "task", "topic")


def name_of(function: str, stage: str) -> str:
    """Return the name under which Chalice deploys a function; what serves routes has the application's own."""
    return f"{APPLICATION}-{stage}" if function == ROUTES else f"{APPLICATION}-{stage}-{function}"
