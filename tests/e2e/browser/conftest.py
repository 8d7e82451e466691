"""A browser, and what it is shown: a deployment's status, and the page of the local day."""

from collections.abc import Iterator

import pytest

from tests.dev.conftest import database_url, empty_database, visitor
from tests.e2e.browser.browser import Browser, NoBrowserError, browser
from tests.operate.status.conftest import deployment, with_history
from tests.servers import needed

__all__ = ["database_url", "deployment", "empty_database", "visitor", "with_history"]


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests; without one they are skipped, or fail where CI has promised one."""
    folder = tmp_path_factory.mktemp("browser")
    with needed(browser, folder, promise="REQUIRE_BROWSER", missing=NoBrowserError) as found:
        yield found
