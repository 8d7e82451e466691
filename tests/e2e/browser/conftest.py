"""A browser, and what it is shown: a deployment's status, and the page of the local day."""

import os
from collections.abc import Iterator

import pytest

from tests.dev.conftest import database_url, empty_database, visitor
from tests.e2e.browser.browser import Browser, NoBrowserError, browser
from tests.status.conftest import deployment, with_history

__all__ = ["database_url", "deployment", "empty_database", "visitor", "with_history"]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests; without one they are skipped, or fail where CI has promised one."""
    running = browser(tmp_path_factory.mktemp("browser"))
    try:
        found = running.__enter__()
    except NoBrowserError as error:
        (pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip)(str(error))
    try:
        yield found
    finally:
        running.__exit__(None, None, None)
