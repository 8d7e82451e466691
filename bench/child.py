"""A process of its own for what is measured: it prints its result as JSON, in its last line."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def result_of(command: Sequence[str], *, given: str = "", environment: Mapping[str, str] | None = None) -> Any:
    """Run a command to its end and return its result. Ends this process with the reason where it fails."""
    done = subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        told = done.stderr.strip() or done.stdout.strip() or "it says nothing"
        sys.exit(f"{told}\n{' '.join(command[1:])[:200]} failed: {told.splitlines()[-1]}")
    return json.loads(done.stdout.strip().rpartition("\n")[2])
