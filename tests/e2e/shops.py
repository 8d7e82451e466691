"""The example applications, made ready to run: a function for each returns its command and its environment."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nightshift.local.servers import NotInstalledError
from tests.e2e.clients import GO_PATH, GO_SDK, ROOT, find, make_once, run

SHOPS_FOLDER = ROOT / "examples" / "application"
# Debian's packages of what composer would install.
PHP_AUTOLOADERS = (
    "/usr/share/php/AsyncAws/Sqs/autoload.php",
    "/usr/share/php/Symfony/Component/HttpClient/autoload.php",
)


@dataclass(frozen=True, kw_only=True)
class Shop:
    """How an application is started. `{port}` stands for its port."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def node(folder: Path) -> Shop:
    program, npm, project = find("node"), find("npm"), folder / "node-shop"

    def install() -> None:
        shutil.copytree(SHOPS_FOLDER / "node", project, dirs_exist_ok=True)
        run([npm, "ci", "--no-audit", "--no-fund"], cwd=project)

    make_once(project, install)
    return Shop(command=[program, str(project / "app.mjs")])


def flask(_: Path) -> Shop:
    return Shop(command=[_python(), str(SHOPS_FOLDER / "python" / "flask_app.py")])


def django(_: Path) -> Shop:
    program = str(SHOPS_FOLDER / "python" / "django_app.py")
    return Shop(command=[_python(), program])


def _python() -> str:
    folder = ROOT / ".venv-shop"
    requirements = SHOPS_FOLDER / "python" / "requirements.txt"

    def install() -> None:
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder / "venv")])
        pip = [sys.executable, "-m", "pip", f"--python={folder / 'venv' / 'bin' / 'python'}", "install", "-q"]
        run([*pip, "--disable-pip-version-check", "--no-deps", "-r", str(requirements)])

    make_once(folder, install, contents=f"{sys.version}\n{requirements.read_text()}\n{folder}")
    return str(folder / "venv" / "bin" / "python")


def php(folder: Path) -> Shop:
    program, project = find("php"), folder / "php-shop"
    if missing := [path for path in PHP_AUTOLOADERS if not Path(path).exists()]:
        raise NotInstalledError(f"{missing[0]} is not installed")

    def install() -> None:
        shutil.copytree(SHOPS_FOLDER / "php", project, dirs_exist_ok=True)
        autoload = project / "vendor" / "autoload.php"
        autoload.parent.mkdir(exist_ok=True)
        autoload.write_text("<?php\n" + "".join(f"require '{path}';\n" for path in PHP_AUTOLOADERS))

    make_once(project, install)
    command = [program, "-S", "127.0.0.1:{port}", str(project / "app.php")]
    # Each of its processes performs one request at a time.
    return Shop(command=command, environment={"PHP_CLI_SERVER_WORKERS": "4"})


def ruby(_: Path) -> Shop:
    find("ruby")
    # Quiet, and of the gems that Debian has.
    command = [find("puma"), "--quiet", "-b", "tcp://127.0.0.1:{port}", str(SHOPS_FOLDER / "ruby" / "config.ru")]
    return Shop(command=command, environment={"RUBYLIB": str(ROOT / "tests" / "e2e" / "ruby")})


def go(folder: Path) -> Shop:
    compiler, path = find("go"), folder / "go-shop"
    if not (GO_PATH / "src" / GO_SDK).exists():
        raise NotInstalledError(f"{GO_SDK} is not installed")

    def build() -> None:
        shutil.copytree(SHOPS_FOLDER / "go", path / "src" / "shop", dirs_exist_ok=True)
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": f"{path}:{GO_PATH}", "CGO_ENABLED": "0"}
        run([compiler, "build", "-o", str(path / "app"), "shop"], cwd=path, environment=environment)

    make_once(path, build)
    return Shop(command=[str(path / "app")])


SHOPS: dict[str, Callable[[Path], Shop]] = {
    "node": node,
    "flask": flask,
    "django": django,
    "php": php,
    "ruby": ruby,
    "go": go,
}
