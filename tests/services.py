"""The servers that tests need: without them a test is skipped, or fails where CI has promised them."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from nightshift.local.servers import NotInstalledError


@contextmanager
def needed(server: Callable[[Path], AbstractContextManager[str]], folder: Path) -> Iterator[str]:
    """Run a server in the folder and give its URL."""
    try:
        running = server(folder)
        url = running.__enter__()
    except NotInstalledError as error:
        (pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip)(str(error))
    try:
        yield url
    finally:
        running.__exit__(None, None, None)
