"""The compiled package, made from a small project without dependencies."""

import zipfile
from pathlib import Path

import pytest

from nightshift.deploy import package


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "chalicelib").mkdir()
    (tmp_path / "app.py").write_text("app = 1\n")
    (tmp_path / "chalicelib" / "__init__.py").write_text("")
    (tmp_path / "chalicelib" / "work.py").write_text("VALUE = 1\n")
    (tmp_path / "requirements.txt").write_text("")
    return tmp_path


def test_every_module_is_shipped_with_its_source_and_compiled(project: Path) -> None:
    names = zipfile.ZipFile(package.build(project)).namelist()
    assert {"app.py", "chalicelib/work.py", "chalice/app.py"} <= set(names)
    assert any(name.startswith("chalicelib/__pycache__/work.") for name in names)


def test_the_same_sources_give_the_same_bytes(project: Path) -> None:
    path = package.build(project)
    first = path.read_bytes()
    path.unlink()
    assert package.build(project).read_bytes() == first


def test_what_this_machine_compiled_is_not_shipped(project: Path) -> None:
    stale = project / "chalicelib" / "__pycache__"
    stale.mkdir()
    (stale / "work.cpython-39.pyc").write_bytes(b"stale")
    names = zipfile.ZipFile(package.build(project)).namelist()
    assert not [name for name in names if "cpython-39" in name]


def test_a_package_is_built_once_and_earlier_ones_are_swept(project: Path) -> None:
    first = package.build(project)
    assert package.build(project) == first
    (project / "chalicelib" / "work.py").write_text("VALUE = 2\n")
    second = package.build(project)
    assert package.sweep(second) == [first.name]
    assert not first.exists()


def test_sizes_are_told_by_part_the_largest_first(project: Path) -> None:
    sizes = package.sizes(package.build(project))
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    assert {"chalice", "chalicelib"} <= set(sizes)
