"""A stage: which stacks of `infra/` it has, and with which parameters, from `infra/stages.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightshift.stages import meant

# In the order in which they can be made; the outputs of one are parameters of a later one. The first has the bucket,
# and in it the lock of a deployment.
CONCERNS = ("storage", "network", "queues", "secrets", "mail", "data", "exports", "alarms", "dashboard", "queries")
# Those about the functions, so they come after these: what does not run yet alarms, and has no log to be asked.
WATCHING = frozenset({"alarms", "dashboard", "queries"})
# MasterUsername of data.yaml.
ADMINISTRATOR = "nightshift"
REQUIRED = frozenset({"queues", "storage", "secrets", "mail"})


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage's stacks, each with its parameters."""

    name: str
    stacks: Mapping[str, Mapping[str, str]]


def read_stage(project: Path, name: str) -> Stage:
    """Return a stage of `infra/stages.json`. Raises ValueError, which names what is missing or unknown."""
    path = project / "infra" / "stages.json"
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if name not in stages:
        there_are = f"there are {', '.join(sorted(stages))}{meant(name, stages)}"
        raise ValueError(f"there is no stage {name!r} in infra/stages.json; {there_are}")
    stacks = stages[name]
    unknown, missing = set(stacks) - set(CONCERNS), REQUIRED - set(stacks)
    if unknown or missing:
        told = [f"{', '.join(sorted(unknown))} is unknown"] if unknown else []
        told += [f"{', '.join(sorted(missing))} is missing"] if missing else []
        raise ValueError(f"the stage {name!r} in infra/stages.json is not right: {'; '.join(told)}")
    if "data" in stacks and stacks["secrets"].get("DatabaseUsername", "") in {"", ADMINISTRATOR}:
        raise ValueError(
            f"the stage {name!r} in infra/stages.json makes a database: give its functions a user of their own, "
            f'such as "secrets": {{"DatabaseUsername": "nightshift_app"}}; {ADMINISTRATOR} is the administrator'
        )
    return Stage(name=name, stacks=stacks)
