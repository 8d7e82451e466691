"""A copy of the project that leaves parts out."""

import re
from pathlib import Path


def list_parts(project: Path, *parts: str) -> None:
    """Let the project's app.py list these parts alone."""
    source = (project / "app.py").read_text(encoding="utf-8")
    listed = "".join(f"{part}.PART, " for part in parts)
    changed, count = re.subn(r"^PARTS = \(.*\)$", f"PARTS = ({listed})", source, flags=re.MULTILINE)
    assert count == 1
    (project / "app.py").write_text(changed, encoding="utf-8")


def remove_functions(project: Path, *functions: str) -> None:
    """Remove functions from the project's app.py, each with its decorators."""
    source = (project / "app.py").read_text(encoding="utf-8")
    for function in functions:
        source, count = re.subn(rf"\n\n\n(?:@[^\n]+\n)+def {function}\(.*?(?=\n\n\n)", "", source, flags=re.DOTALL)
        assert count == 1, function
    (project / "app.py").write_text(source, encoding="utf-8")
