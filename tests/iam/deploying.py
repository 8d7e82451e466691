"""The policy for who deploys, as the page about deploying has it."""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent.parent / "docs" / "deploy.md"
HEADING = "## Rights that deploying needs"


def policy() -> dict[str, Any]:
    """Return the policy."""
    section = PAGE.read_text(encoding="utf-8").split(HEADING)[1]
    document: dict[str, Any] = json.loads(section.split("```json")[1].split("```")[0])
    return document
