"""A stage: which stacks of `infra/` it has, and with which parameters, from `infra/stages.json`."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chalicelib.core.error_text import nearest
from nightshift.project import triggers

# In the order in which they can be made; the outputs of one are parameters of a later one. The first has the bucket,
# and in it the lock of a deployment.
CONCERNS = ("storage", "network", "queues", "secrets", "mail", "data", "exports", "alarms", "dashboard", "queries")
# Those about the functions, so they come after these: what does not run yet alarms, and has no log to be asked.
WATCHING = frozenset({"alarms", "dashboard", "queries"})
# MasterUsername of data.yaml.
ADMINISTRATOR = "nightshift"
REQUIRED = frozenset({"queues", "storage", "secrets"})
# By stack: the part that it is for. Without the part there is no such stack.
PARTS = {"mail": "mail", "exports": "backup"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage's stacks, each with its parameters."""

    name: str
    stacks: Mapping[str, Mapping[str, str]]


def read_stage(project: Path, name: str) -> Stage:
    """Return a stage of `infra/stages.json`, without the stacks of parts that app.py leaves out.

    Raises ValueError, which names what is missing or unknown.
    """
    path = project / "infra" / "stages.json"
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if name not in stages:
        there_are = f"there are {', '.join(sorted(stages))}{meant(name, stages)}"
        raise ValueError(f"there is no stage {name!r} in infra/stages.json; {there_are}")
    stacks = stages[name]
    parts = triggers.parts(project)
    required = REQUIRED | {"mail"} if "mail" in parts else REQUIRED
    unknown, missing = set(stacks) - set(CONCERNS), required - set(stacks)
    if unknown or missing:
        told = [f"{', '.join(sorted(unknown))} is unknown"] if unknown else []
        told += [f"{', '.join(sorted(missing))} is missing"] if missing else []
        raise ValueError(f"the stage {name!r} in infra/stages.json is not right: {'; '.join(told)}")
    if "data" in stacks and stacks["secrets"].get("DatabaseUsername", "") in {"", ADMINISTRATOR}:
        raise ValueError(
            f"the stage {name!r} in infra/stages.json makes a database: give its functions a user of their own, "
            f'such as "secrets": {{"DatabaseUsername": "nightshift_app"}}; {ADMINISTRATOR} is the administrator'
        )
    listed = {concern: each for concern, each in stacks.items() if PARTS.get(concern) in (None, *parts)}
    return Stage(name=name, stacks=listed)


def stages_of(project: Path) -> list[str]:
    """Return the stages of a project's .chalice/config.json; none if it cannot be read."""
    # Completion and hints only help: a command that needs the file reports what is wrong.
    with suppress(OSError, ValueError, KeyError, TypeError):
        return list(json.loads((project / ".chalice" / "config.json").read_bytes())["stages"])
    return []


def meant(stage: str, known: Collection[str]) -> str:
    """Return a hint at the nearest known stage; empty if the stage is known or none is similar."""
    close = None if stage in known else nearest(stage, known)
    return f"; did you mean --stage {close}?" if close else ""
