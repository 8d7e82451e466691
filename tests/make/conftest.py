"""A copy of the project, as a clone of it would be, for the generator to write into."""

import shutil
import subprocess
from pathlib import Path

import pytest

from nightshift.local.environment import isolated
from tests.shell import BASE, ROOT, Shell


def files_of(project: Path) -> dict[str, bytes]:
    """Return every file of the project that is no compiled code, by its path."""
    paths = (path for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(project)): path.read_bytes() for path in paths}


def copy_project(folder: Path) -> Path:
    """Copy what git knows of the project, or would, into the folder."""
    known = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(known, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def shell_in(project: Path) -> Shell:
    """Return the shell of a person in the project's folder, without any settings."""
    return Shell(environment=isolated(BASE), folder=project, group=("make",))


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that every test leaves as it is."""
    return copy_project(tmp_path_factory.mktemp("untouched"))


@pytest.fixture
def project(untouched: Path, tmp_path: Path) -> Path:
    """A copy of the test's own, of what the generator reads."""
    names = ("app.py", "chalicelib/tasks", "chalicelib/handlers", "tests/tasks", "tests/handlers", ".chalice", "infra")
    for name in (*names, "docs/deploy.md", "docs/schedules.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (untouched / name).is_dir():
            shutil.copytree(untouched / name, tmp_path / name)
        else:
            shutil.copy2(untouched / name, tmp_path / name)
    return tmp_path
