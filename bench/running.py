"""Parts one after the other, each in a process of its own, so that none finds what another has left."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import machine
from bench.report import Part, Report
from bench.stored import as_json, read_part

PROJECT = Path(__file__).parent.parent


class FailedError(Exception):
    """A part came to no result; the text says why."""


def run_all(
    modules: Mapping[str, str],
    *,
    quick: bool,
    servers: Sequence[str],
    once: Collection[str] = (),
    known: Report | None = None,
) -> Report:
    """Run modules by the names of their parts, say on standard error where it is, and return what came of all.

    Each is run on the first of the servers, and on the second too, where there is one, unless it is of `once`. A part
    may read what was measured before it, in this run or in the `known` report, which stays for the other parts.
    """
    date, told = f"{datetime.now(UTC):%Y-%m-%d}", machine()
    passes: Sequence[str | None] = servers or (None,)
    parts: dict[str, Part] = dict(known.parts) if known else {}
    again: dict[str, Part] = dict(known.again) if known else {}
    failed: dict[str, str] = {}

    def so_far() -> Report:
        return Report(date=date, machine=told, quick=quick, parts=parts, failed=failed, again=again)

    for name, module in modules.items():
        for server, done in zip(passes, (parts, again), strict=False):
            if done is again and name in once:
                continue
            told_as = name if done is parts else f"{name} on {server}"
            print(f"{told_as} ...", file=sys.stderr, flush=True)
            try:
                done[name] = replace(run_part(module, server=server, before=so_far()), date=date)
            except FailedError as error:
                failed[told_as] = str(error)
                print(f"{told_as} failed: {error}", file=sys.stderr, flush=True)
    return so_far()


def run_part(module: str, *, server: str | None, before: Report) -> Part:
    """Run a part, which may read what was measured before it. Raises FailedError."""
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "bench.json"
        measured.write_text(as_json(before), encoding="utf-8")
        options = ["--json", *["--quick"] * before.quick, *([f"--server={server}"] if server else [])]
        done = subprocess.run(
            [sys.executable, "-m", module, *options],
            cwd=PROJECT,
            env=os.environ | {"MEASURED": str(measured)},
            capture_output=True,
            text=True,
            check=False,
        )
    told = [line for line in done.stderr.splitlines() if line.strip()]
    if done.returncode:
        raise FailedError(told[-1] if told else f"{module} ended with code {done.returncode}")
    try:
        return read_part(done.stdout.strip().rpartition("\n")[2])
    except ValueError as error:
        raise FailedError(str(error)) from error
