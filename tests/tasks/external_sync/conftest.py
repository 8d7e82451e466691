"""What tests of the sync stand on: an upstream, and a deployment that reads it."""

from collections.abc import Iterator

import pytest

from nightshift.testkit.kit import Kit
from tests.tasks.external_sync.deployment import Deployment
from tests.tasks.external_sync.upstream import Upstream, upstream


@pytest.fixture(name="upstream")
def _upstream() -> Iterator[Upstream]:
    with upstream() as running:
        yield running


@pytest.fixture
def deployment(upstream: Upstream, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment with each kind of database in turn."""
    return Deployment(Kit(database_url), upstream, monkeypatch)


@pytest.fixture
def lite(upstream: Upstream, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """A deployment for what the kind of database has no part in."""
    deployment = Deployment(Kit(sqlite_url), upstream, monkeypatch)
    deployment.empty()
    return deployment
