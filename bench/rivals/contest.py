"""What a contender is, and how its processes begin together and are timed."""

import json
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Seconds from the first job's start to the last one's end, and how often a job was performed meanwhile."""

    seconds: float
    executions: int


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A way to perform as many jobs as it is called with."""

    name: str
    run: Callable[[int], Taken]


def make_data(jobs: int) -> list[dict[str, str]]:
    """Return the data of as many jobs, the same for every contender."""
    return [{"user_id": str(UUID(int=number))} for number in range(jobs)]


def race(commands: Sequence[Sequence[str]]) -> Taken:
    """Run scripts that talk by `tally`, each in a process of its own, which begin once all are ready."""
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for command in commands
        ]
        for child in children:
            _read_line(child)
        for child in children:
            print("go", file=child.stdin, flush=True)
        # The clock of perf_counter is the machine's, the same in every process.
        moments = [moment for child in children for moment in json.loads(_read_line(child))]
    return Taken(seconds=max(moments) - min(moments), executions=len(moments))


def _read_line(child: "subprocess.Popen[str]") -> str:
    if child.stdout is None or not (line := child.stdout.readline()):
        raise RuntimeError(f"{child.args!r} ended before its time")
    return line
