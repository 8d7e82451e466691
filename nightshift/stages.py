"""The stages of a project, and which of them somebody may have meant."""

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from chalicelib.core.error_text import nearest


def stages_of(project: Path) -> list[str]:
    """Return the stages of a project's .chalice/config.json; none where that cannot be read."""
    # Whoever needs it says so; what is asked here only helps.
    with suppress(OSError, ValueError, KeyError, TypeError):
        return list(json.loads((project / ".chalice" / "config.json").read_bytes())["stages"])
    return []


def meant(stage: str, known: Collection[str]) -> str:
    """Return a hint at the nearest of the stages that there are, empty where none is near or it is one of them."""
    close = None if stage in known else nearest(stage, known)
    return f"; did you mean --stage {close}?" if close else ""
