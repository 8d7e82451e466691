"""A deployment in the test's process, on each database in turn."""

import pytest

from nightshift.testkit.kit import Kit


@pytest.fixture
def kit(database_url: str) -> Kit:
    return Kit(database_url)
