"""The whole bench, in tiny sizes: each part measures something, and all of it is one report."""

import subprocess
import sys
from pathlib import Path

from bench.__main__ import PARTS

PROJECT = Path(__file__).parents[2]


def test_every_part_of_the_bench_measures() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"], cwd=PROJECT, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = [line.removeprefix("## ") for line in ended.stdout.splitlines() if line.startswith("## ")]
    assert told == ["run", *PARTS]
    assert "no figure means anything" in ended.stdout
