"""The mapping that may be overwritten is the project's own, and no other."""

import zlib
from pathlib import Path

import pytest

from chalicelib.core.errors import ConfigurationError
from nightshift.adopt import writing
from tests.adopt.adopting import ORIGINAL


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "chalicelib").mkdir()
    (tmp_path / writing.PATH).write_text(ORIGINAL)
    return tmp_path


def test_the_original_is_known() -> None:
    # If you change chalicelib/application.py, write its new checksum into nightshift/adopt/writing.py.
    assert zlib.crc32(ORIGINAL.encode()) == writing.ORIGINAL


def test_the_original_is_overwritten(project: Path) -> None:
    writing.write(project, "# mine\n")
    assert (project / writing.PATH).read_text() == "# mine\n"


def test_a_changed_file_is_overwritten_only_by_force(project: Path) -> None:
    (project / writing.PATH).write_text(f"{ORIGINAL}# mine\n")
    with pytest.raises(ConfigurationError, match="--force overwrites it"):
        writing.write(project, "")
    writing.write(project, "", force=True)
    assert (project / writing.PATH).read_text() == ""
