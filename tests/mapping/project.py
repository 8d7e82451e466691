"""A copy of the project with an application.py of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
APPLICATION = Path("chalicelib", "application.py")


def copy_project(folder: Path, application: str) -> None:
    """Copy what Lambda and the local runtime need, and replace the mapping."""
    for name in ("chalicelib", "nightshift"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", folder)
    (folder / APPLICATION).write_text(application, encoding="utf-8")


def renamed(*names: tuple[str, str]) -> str:
    """Return the project's own mapping with other names."""
    text = (ROOT / APPLICATION).read_text(encoding="utf-8")
    for ours, theirs in names:
        assert ours in text
        text = text.replace(ours, theirs)
    return text


def run(folder: Path, script: str, *arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python in the folder."""
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
