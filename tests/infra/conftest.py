"""What the real code emits, once for all tests that hold a template to it."""

import pytest

from tests.infra.emitted import Emitted, emit


@pytest.fixture(scope="session")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Emitted:
    return emit(tmp_path_factory.mktemp("emitted"))
