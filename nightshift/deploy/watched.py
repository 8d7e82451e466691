"""What the stacks that watch are told of the functions, which only the project knows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightshift.deploy import configuration, triggers
from nightshift.deploy.functions import ROUTES, name_of, reporting
from nightshift.deploy.route import UNSUBSCRIBE, is_served

# Chalice's own.
DEFAULT_TIMEOUT_SECONDS = 60
# An invocation that has less left at its end could not hand its work on: that happens at ten, and a job is stopped at
# five.
LEAST_SECONDS_LEFT = 3


def parameters_of(project: Path, stage: str) -> dict[str, str]:
    """Return the parameters that follow from app.py and `.chalice/config.json`; lists have commas.

    Raises ValueError where either cannot be read.
    """
    known, configured, parts = triggers.read(project), configuration.read(project), triggers.parts(project)
    tasks = triggers.functions_of(known, "task")
    backs_up = "backup" in parts and "database_backup" in tasks
    every, is_route = [trigger.function for trigger in known], is_served(configured["stages"][stage])
    lists = {
        "Tasks": tasks,
        "Reporting": [*reporting(known), *([UNSUBSCRIBE] if is_route else [])],
        "Functions": every,
        "FunctionNames": [name_of(function, stage) for function in [*every, *([ROUTES] if is_route else [])]],
        "Timeouts": [
            f"{function}-{_timeout_of(function, stage, configured) - LEAST_SECONDS_LEFT}" for function in every
        ],
    }
    switches = {
        "UnsubscribeRoute": is_route,
        "Mails": "mail" in parts,
        "Backups": backs_up,
        "Drills": backs_up and "backup_drill" in tasks,
    }
    return {name: ",".join(values) for name, values in lists.items()} | {
        name: "on" if is_on else "off" for name, is_on in switches.items()
    }


def _timeout_of(function: str, stage: str, configured: Mapping[str, Any]) -> int:
    of_stage = configured["stages"][stage]
    of_function = of_stage.get("lambda_functions", {}).get(function, {})
    # As Chalice looks for it: the nearest counts.
    said = (place["lambda_timeout"] for place in (of_function, of_stage, configured) if "lambda_timeout" in place)
    return int(next(said, DEFAULT_TIMEOUT_SECONDS))
