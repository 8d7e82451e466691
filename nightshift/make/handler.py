"""A new handler of jobs: the handler and a test. The workers perform its jobs, so it needs no function of its own."""

from functools import partial
from pathlib import Path

from nightshift.make import names
from nightshift.make.skeletons import fill, sentence_of


def contents_of(project: Path, name: str) -> dict[str, str]:
    """Return what each file is to hold, by its path. Raises ValueError where there can be no such handler."""
    names.check(name, partial(_check, project))
    handler, test = _paths(name)
    return {
        handler: fill("handler.txt", name=name, sentence=sentence_of(name)),
        test: fill("test_handler.txt", name=name),
    }


def _check(project: Path, name: str) -> None:
    names.check_free(project, name, modules=["chalicelib/handlers/__init__.py"])
    names.check_new(project, _paths(name))


def _paths(name: str) -> tuple[str, str]:
    return f"chalicelib/handlers/{name}.py", f"tests/handlers/test_{name}.py"
