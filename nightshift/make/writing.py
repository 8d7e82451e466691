"""Writing several files of a project together: all of them, or none."""

import shutil
from collections.abc import Mapping
from pathlib import Path


def write(project: Path, contents: Mapping[str, str]) -> None:
    """Write the contents, by path, or leave everything as it was and raise ValueError."""
    paths = {(project / name).resolve(): text for name, text in contents.items()}
    before: dict[Path, bytes | None] = {}
    is_done = False
    try:
        # All of them beside their places first: a full disk is found before anything is changed.
        for path, text in paths.items():
            _staged(path).write_bytes(text.encode())
        for path in paths:
            original = path.read_bytes() if path.is_file() else None
            if original is not None:
                shutil.copymode(path, _staged(path))
            _staged(path).replace(path)
            before[path] = original
        is_done = True
    except OSError as error:
        raise ValueError(f"nothing was changed: {error}") from error
    finally:
        # Also when somebody presses Ctrl-C in between.
        for path in paths:
            if _staged(path).is_file():
                _staged(path).unlink()
        if not is_done:
            _restore(before)


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _restore(before: Mapping[Path, bytes | None]) -> None:
    for path, original in before.items():
        if original is None:
            path.unlink()
        else:
            path.write_bytes(original)
