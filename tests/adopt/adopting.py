"""Adopt a schema in a copy of the project, and run all tasks with the mapping that was written."""

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests.mapping.living import DRIVER, fill
from tests.mapping.project import APPLICATION, ROOT, copy_project, run

ADOPT = "from nightshift.cli import app; app()"
ORIGINAL = (ROOT / APPLICATION).read_text(encoding="utf-8")


def adopt(folder: Path, url: str, *options: str) -> "CompletedProcess[str]":
    """Run `nightshift adopt` in a copy of the project."""
    if not (folder / APPLICATION).exists():
        copy_project(folder, ORIGINAL)
    return run(folder, ADOPT, "adopt", *options, environment={"DATABASE_URL": url})


def adopt_and_live(folder: Path, url: str, sql: str, *options: str, reader: str = "1") -> dict[str, Any]:
    """Fill a schema, adopt it, run all tasks with what was written, and return what they counted.

    The reader opts out at last.
    """
    fill(url, sql)
    adopted = adopt(folder, url, "--yes", "--at", "2016-08-04T08:00", *options)
    assert adopted.returncode == 0, adopted.stdout + adopted.stderr
    done = run(folder, DRIVER, reader, environment={"DATABASE_URL": url})
    assert done.returncode == 0, adopted.stdout + done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"printed": adopted.stdout}
