"""What tests need of this machine: without it they are skipped, or fail where CI has promised it."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from nightshift.local.servers import NotInstalledError

T = TypeVar("T")

# For what SQLite does not have: locks of rows, connections that break, plans.
on_each_server = pytest.mark.parametrize("database_url", ["mysql", "mariadb"], indirect=True)


@contextmanager
def needed(
    start: Callable[[Path], AbstractContextManager[T]],
    folder: Path,
    *,
    promise: str = "REQUIRE_SERVICES",
    missing: type[Exception] = NotInstalledError,
) -> Iterator[T]:
    """Run it in the folder and give what it gives; the variable `promise` is 1 where it may not be `missing`."""
    try:
        running = start(folder)
        given = running.__enter__()
    except missing as error:
        (pytest.fail if os.environ.get(promise) == "1" else pytest.skip)(str(error))
    try:
        yield given
    finally:
        running.__exit__(None, None, None)
