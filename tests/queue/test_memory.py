"""A batch of the largest bodies that are allowed fits into the memory that the functions are deployed with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.queue.largest import SHAPES, WHAT
from tests.sweep import IS_SWEEP

CONFIG = json.loads((Path(__file__).parents[2] / ".chalice" / "config.json").read_text(encoding="utf-8"))
FUNCTIONS = CONFIG["stages"]["prod"]["lambda_functions"]
DEPLOYED = min(FUNCTIONS[name]["lambda_memory_size"] for name in ("work", "work_priority", "dispatch"))
# Text takes the memory of its bytes a few times over. What is made of many small values takes thirty times that.
MOST = {shape: DEPLOYED if shape in {"lists", "objects"} else DEPLOYED // 2 for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES if IS_SWEEP else ["text"])
@pytest.mark.parametrize("what", WHAT if IS_SWEEP else ["enqueue"])
def test_ten_of_the_largest_bodies_fit_into_the_deployed_memory(mysql_url: str, what: str, shape: str) -> None:
    command = [sys.executable, "-m", "tests.queue.largest", mysql_url, what, shape]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert json.loads(lines[-1])["peak"] < MOST[shape]
