"""One cloud for all end-to-end tests, deployed once, in the order in which they are written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from chalicelib.core.engine import engine_for
from nightshift.local.ministack import emulator_python, ministack
from tests.e2e.cloud import ROOT, SENDER, Cloud, copy_project, environment_of
from tests.servers import main_server


@pytest.fixture(scope="session")
def deployed_url(request: pytest.FixtureRequest) -> str:
    """The database of the deployment."""
    url: str = request.getfixturevalue(f"{main_server()}_url")
    return url


@contextmanager
def new_cloud(folder: Path, *, database_url: str, redis_url: str, engine: Engine) -> Iterator[Cloud]:
    """Run an emulator with nothing in it but a verified sender, and give it with a copy of the project."""
    python = emulator_python(ROOT / ".venv-emulator")
    with ministack(folder / "emulator", python=python) as endpoint:
        cloud = Cloud(
            endpoint=endpoint,
            project=copy_project(folder, database_url=database_url, redis_url=redis_url),
            environment=environment_of(endpoint, folder),
            engine=engine,
        )
        cloud.client("sesv2").create_email_identity(EmailIdentity=SENDER)
        yield cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, deployed_url: str, redis_url: str) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with new_cloud(folder, database_url=deployed_url, redis_url=redis_url, engine=engine_for(deployed_url)) as cloud:
        yield cloud
