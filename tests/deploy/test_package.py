"""The compiled package, made from a small project without dependencies."""

import sys
import zipfile
from hashlib import sha256
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


PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"


def wheel(folder: Path, platform: str, content: str) -> str:
    """Make a package with a wheel for a platform, and return its hash."""
    path = folder / f"fast-1.0-{PYTHON}-{PYTHON}-{platform}.whl"
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: fast\nVersion: 1.0\n",
        "WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {PYTHON}-{PYTHON}-{platform}\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("fast.py", content)
        for name, text in metadata.items():
            archive.writestr(f"fast-1.0.dist-info/{name}", text)
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def wheels(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Wheels of a package that the project requires, on a machine that is not of Lambda's kind."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    hashes = [wheel(folder, "linux_aarch64", "'here'"), wheel(folder, "manylinux_2_17_x86_64", "'Lambda'")]
    (project / "requirements.txt").write_text(f"fast==1.0 {' '.join(f'--hash=sha256:{each}' for each in hashes)}\n")
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": "/dev/null",
        "_PYTHON_HOST_PLATFORM": "linux-aarch64",
    }.items():
        monkeypatch.setenv(name, value)
    return folder


def test_another_kind_of_machine_ships_what_is_for_lambda(project: Path, wheels: Path) -> None:
    assert zipfile.ZipFile(package.build(project)).read("fast.py") == b"'Lambda'"


def test_another_kind_of_machine_checks_the_hashes_of_what_it_ships(project: Path, wheels: Path) -> None:
    wheel(wheels, "manylinux_2_17_x86_64", "'changed'")
    with pytest.raises(ValueError, match=r"requirements\.txt cannot be fetched for Lambda: .*DO NOT MATCH THE HASHES"):
        package.build(project)
