"""What the stacks that watch are told of the functions, which only the project knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightshift import triggers
from nightshift.deploy import configuration
from nightshift.deploy.functions import name_of, reporting

# Chalice's own.
DEFAULT_TIMEOUT_SECONDS = 60


def parameters_of(project: Path, stage: str) -> dict[str, str]:
    """Return the parameters that follow from app.py and `.chalice/config.json`, each a list with commas.

    Raises ValueError where either cannot be read.
    """
    known, configured = triggers.read(project), configuration.read(project)
    every = [trigger.function for trigger in known]
    lists = {
        "Tasks": triggers.functions_of(known, "task"),
        "Reporting": reporting(known),
        "Functions": every,
        "FunctionNames": [name_of(function, stage) for function in every],
        "Timeouts": [f"{function}-{_timeout_of(function, stage, configured)}" for function in every],
    }
    return {name: ",".join(values) for name, values in lists.items()}


def _timeout_of(function: str, stage: str, configured: Mapping[str, Any]) -> int:
    of_stage = configured["stages"][stage]
    of_function = of_stage.get("lambda_functions", {}).get(function, {})
    # As Chalice looks for it: the nearest counts.
    said = (place["lambda_timeout"] for place in (of_function, of_stage, configured) if "lambda_timeout" in place)
    return int(next(said, DEFAULT_TIMEOUT_SECONDS))
