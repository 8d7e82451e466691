"""The clients of AWS that commands use."""

import json
from pathlib import Path

from nightshift.deploy.session import invoker

CONFIGURATION = Path(__file__).parent.parent.parent / ".chalice" / "config.json"


def test_whoever_invokes_a_function_waits_for_as_long_as_any_may_run() -> None:
    stages = json.loads(CONFIGURATION.read_text())["stages"].values()
    longest = max(function["lambda_timeout"] for stage in stages for function in stage["lambda_functions"].values())
    assert invoker().meta.config.read_timeout > longest
