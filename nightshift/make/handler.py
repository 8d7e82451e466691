"""A new handler of jobs: the handler and a test. The workers perform its jobs, so it needs no function of its own."""

from pathlib import Path

from nightshift.make import names
from nightshift.make.skeletons import fill, sentence_of


def contents_of(project: Path, name: str) -> dict[str, str]:
    """Return what each file is to hold, by its path. Raises ValueError where there can be no such handler."""
    names.check_form(name)
    names.check_free(project, name, modules=["chalicelib/handlers/__init__.py"])
    contents = {
        f"chalicelib/handlers/{name}.py": fill("handler.txt", name=name, sentence=sentence_of(name)),
        f"tests/handlers/test_{name}.py": fill("test_handler.txt", name=name),
    }
    for path in contents:
        if (project / path).exists():
            raise ValueError(f"there is {path} already; take another name")
    return contents
