"""What every command does about where its output goes: a full disk, an old encoding, a reader that has left."""

import re
import subprocess
from pathlib import Path
from shlex import quote

import pytest

from tests.shell import NIGHTSHIFT, ROOT, migrated

FULL = "nightshift: cannot write to standard output: No space left on device\n"


def run(command: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of a shell in which `nightshift` is the command, on a new database."""
    settings = migrated(folder, endpoint="http://127.0.0.1:1") | environment
    line = ["bash", "-o", "pipefail", "-c", command.replace("nightshift", quote(str(NIGHTSHIFT)), 1)]
    return subprocess.run(line, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["status", "status --json", "schedule list", "jobs list"])
def test_a_full_disk_is_a_sentence(tmp_path: Path, command: str) -> None:
    done = run(f"nightshift {command} > /dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (1, FULL)


def test_what_an_encoding_lacks_is_replaced_and_the_rest_is_told(tmp_path: Path) -> None:
    done = run("nightshift status", tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("? Nothing has run yet, and nothing is wrong.\n")
    assert re.search(r"^daily_digest +\?{30} +", done.stdout, re.MULTILINE)


def test_whoever_reads_only_the_first_line_hears_no_complaint(tmp_path: Path) -> None:
    done = run("nightshift status | head -1", tmp_path)
    assert (done.stdout, done.stderr) == ("✓ Nothing has run yet, and nothing is wrong.\n", "")
