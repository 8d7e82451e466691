"""A process of its own for what is measured: it prints its result as JSON, in its last line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def result_of(command: Sequence[str], *, given: str = "", environment: Mapping[str, str] | None = None) -> Any:
    """Run a command to its end and return its result. Ends this process with the reason where it fails."""
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        told = done.stderr.strip() or done.stdout.strip() or "it says nothing"
        sys.exit(f"{told}\n{' '.join(command[1:])[:200]} failed: {told.splitlines()[-1]}")
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def processor_seconds(pid: int) -> float:
    """Return how long processors have worked for a running process itself, not for its children, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
