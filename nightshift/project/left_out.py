"""The parts that a project has and its app.py leaves out, and what still uses them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from chalicelib.core.config import declared_in
from chalicelib.operate.operations import installed_parts
from nightshift.project import configuration, triggers


def names(project: Path) -> list[str]:
    """Return the names of the parts that are left out."""
    return [part.name for part in installed_parts() if part.name not in triggers.parts(project)]


def settings(project: Path) -> set[str]:
    """Return the variables of the parts that are left out."""
    unused = (part.settings for part in installed_parts() if part.name not in triggers.parts(project))
    needed = {variable for kind in configuration.settings_of(project) for variable in declared_in(kind)}
    return {variable for kind in unused for variable in declared_in(kind)} - needed


def functions_that_use(project: Path, part: str) -> list[str]:
    """Return the functions of app.py that import a part, themselves or in their task."""
    module = triggers.parse(project / "app.py")
    bodies = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    tasks = set(_modules_that_use(project / "chalicelib" / "tasks", part))
    known = [trigger.function for trigger in triggers.triggers_of(module)]
    return [name for name in known if name in tasks or _imports(bodies[name], part)]


def handlers_that_use(project: Path, part: str) -> list[str]:
    """Return the handlers that import a part."""
    return list(_modules_that_use(project / "chalicelib" / "handlers", part))


def _modules_that_use(folder: Path, part: str) -> Iterator[str]:
    for path in sorted(folder.glob("*")):
        files = [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
        if any(_imports(triggers.parse(file), part) for file in files):
            yield path.stem


def _imports(tree: ast.AST, part: str) -> bool:
    wanted = f"chalicelib.{part}"
    return any(name == wanted or name.startswith(f"{wanted}.") for name in _imported(tree))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
