"""One cloud for all end-to-end tests, deployed once, in the order in which they are written."""

from collections.abc import Iterator

import pytest

from chalicelib.engine import engine_for
from nightshift.local.ministack import emulator_python, ministack
from tests.e2e.cloud import ROOT, SENDER, Cloud, copy_project, environment_of
from tests.services import main_server


@pytest.fixture(scope="session")
def deployed_url(request: pytest.FixtureRequest) -> str:
    """The database of the deployment."""
    url: str = request.getfixturevalue(f"{main_server()}_url")
    return url


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, deployed_url: str, redis_url: str) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    python = emulator_python(ROOT / ".venv-emulator")
    with ministack(folder / "emulator", python=python) as endpoint:
        cloud = Cloud(
            endpoint=endpoint,
            project=copy_project(folder, database_url=deployed_url, redis_url=redis_url),
            environment=environment_of(endpoint, folder),
            engine=engine_for(deployed_url),
        )
        cloud.client("sesv2").create_email_identity(EmailIdentity=SENDER)
        yield cloud
