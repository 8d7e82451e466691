"""The package that Lambda gets: as Chalice builds it, then compiled, for Lambda cannot write what Python compiles.

It lies where Chalice looks for a package of the same sources, so that a plain `chalice deploy` ships it too.
"""

import base64
import compileall
import hashlib
import json
import os
import py_compile
import re
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chalice.cli.factory import CLIFactory
from chalice.deploy.packager import DependencyBuilder, LambdaDeploymentPackager, PipRunner, SubprocessPip
from chalice.utils import UI, OSUtils

from nightshift.project.template import merge_file, resource_of

MARKER = "nightshift-compiled"
# Typing stubs, C sources and tests of dependencies: nothing that runs.
NEEDLESS = re.compile(r"\.(pyi|pyx|pxd|c|h)$|(^|/)(tests?|testing)/|/dialects/oracle/|\.dist-info/RECORD$")
IN_LAMBDA = "/var/task"
# What Chalice puts into a package.
SOURCES = ("app.py", "chalicelib", "vendor", "requirements.txt")


def talk() -> UI:
    """Return where Chalice talks: beside our steps, to whoever waits."""
    return UI(out=sys.stderr)


def code_sha256(package: bytes) -> str:
    """Return what Lambda calls the SHA-256 of a package."""
    return base64.b64encode(hashlib.sha256(package).digest()).decode()


@contextmanager
def copied(project: Path) -> Iterator[Path]:
    """Give a project of the same sources, and the same packages, whose configuration can be written for a plan."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(project / ".chalice", copy / ".chalice", ignore=shutil.ignore_patterns("deployments"))
        packages = project / ".chalice" / "deployments"
        packages.mkdir(exist_ok=True)
        (copy / ".chalice" / "deployments").symlink_to(packages.absolute())
        for name in SOURCES:
            if (project / name).exists():
                (copy / name).symlink_to((project / name).absolute())
        yield copy


class LambdaPip(PipRunner):
    """Fetches what Lambda's platform needs, whatever this machine is, and checks each hash of the requirements.

    Chalice fetches for this machine, and then what does not fit Lambda once more, by name and version alone.
    """

    def download_all_dependencies(self, requirements_filename: str, directory: str) -> None:
        """Fetch every requirement as a wheel. Raises ValueError with pip's own explanation."""
        arguments = ["-r", requirements_filename, "--dest", directory, "--require-hashes", "--no-deps", *_platform()]
        code, _, said = self._execute("download", arguments)
        if code != 0:
            raise ValueError(f"requirements.txt cannot be fetched for Lambda: {' '.join(said.decode().split())}")


def _platform() -> list[str]:
    major, minor = sys.version_info[:2]
    # The C libraries of Amazon Linux 2 and 2023. Pip takes each name literally, so all up to there are listed.
    newest = 26 if (major, minor) < (3, 12) else 34
    platforms = [f"manylinux_2_{each}_x86_64" for each in range(17, newest + 1)]
    options = [f"--platform={each}" for each in (*platforms, "manylinux2014_x86_64")]
    return [*options, "--only-binary=:all:", "--implementation=cp", f"--python-version={major}.{minor}"]


def build(project: Path) -> Path:
    """Build the package of this project for the running Python, compiled, and return its path."""
    # Chalice counts everything in chalicelib as source, also what Python compiled here, for this machine's paths.
    for compiled in (project / "chalicelib").rglob("__pycache__"):
        shutil.rmtree(compiled)
    osutils = OSUtils()
    packager = LambdaDeploymentPackager(osutils, DependencyBuilder(osutils, LambdaPip(SubprocessPip(osutils))), talk())
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = Path(packager.create_deployment_package(str(project), version))
    with zipfile.ZipFile(path) as archive:
        if archive.comment == MARKER.encode():
            return path
    _compile(path)
    return path


def _compile(path: Path) -> None:
    with tempfile.TemporaryDirectory() as unpacked:
        root = Path(unpacked)
        with zipfile.ZipFile(path) as archive:
            archive.extractall(root, [name for name in archive.namelist() if not _is_needless(name)])
        compileall.compile_dir(
            root,
            quiet=2,
            stripdir=unpacked,
            prependdir=IN_LAMBDA,
            # Not checked against the source: the times of files in a package mean nothing.
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        finished = path.with_suffix(".compiled")
        with zipfile.ZipFile(finished, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(item for item in root.rglob("*") if item.is_file()):
                # Without times, so that the same sources give the same bytes and Lambda sees no change.
                entry = zipfile.ZipInfo(str(file.relative_to(root)))
                entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                archive.writestr(entry, file.read_bytes())
            archive.comment = MARKER.encode()
        finished.replace(path)


def _is_needless(name: str) -> bool:
    return NEEDLESS.search(name) is not None and not name.startswith("chalicelib/")


def write_template(project: Path, stage: str, folder: Path, *, function: str | None = None) -> None:
    """Write `sam.json` and `deployment.zip`, of which CloudFormation makes the functions, or one of them."""
    factory = CLIFactory(str(project), environ=os.environ)
    config = factory.create_config_obj(chalice_stage_name=stage)
    merge_template = str(project / ".chalice" / merge_file(stage))
    packager = factory.create_app_packager(
        config, factory.create_package_options(), "cloudformation", "json", merge_template
    )
    packager.package_app(config, str(folder), stage)
    if function:
        path = folder / "sam.json"
        template = json.loads(path.read_text(encoding="utf-8"))
        name = resource_of(function)
        resources = {each: template["Resources"][each] for each in (name, f"{name}Role", f"{name}LogGroup")}
        path.write_text(json.dumps(template | {"Resources": resources, "Outputs": {}}, indent=2), encoding="utf-8")


def sizes(path: Path) -> dict[str, int]:
    """Return the compressed bytes of each part of a package, the largest first."""
    parts: Counter[str] = Counter()
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            parts[entry.filename.split("/")[0].split("-")[0]] += entry.compress_size
    return dict(parts.most_common())


def sweep(current: Path) -> list[str]:
    """Remove the packages of earlier deployments, and return their names."""
    old = [path for path in current.parent.glob("*.zip") if path != current]
    for path in old:
        path.unlink()
    return [path.name for path in old]
