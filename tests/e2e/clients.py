"""The example programs, made ready to run: a function for each language returns the command."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, QUEUE
from nightshift.local.servers import NotInstalledError

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "enqueue"
AWS_CLI = """
awscli==1.46.3 colorama==0.4.6 docutils==0.19 jmespath==1.1.0 pyasn1==0.6.5 python-dateutil==2.9.0.post0 PyYAML==6.0.4
rsa==4.7.2 six==1.17.0 urllib3==2.8.0
"""
# Debian's Go packages are sources from before there were modules.
GO_PATH = Path("/usr/share/gocode")
GO_SDK = "github.com/aws/aws-sdk-go-v2"


def python(_: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "python" / "enqueue.py")]


def node(folder: Path) -> list[str]:
    program, npm, project = find("node"), find("npm"), folder / "node"

    def install() -> None:
        for name in ("enqueue.mjs", "package.json", "package-lock.json"):
            shutil.copy(EXAMPLES / "node" / name, project)
        run([npm, "ci", "--no-audit", "--no-fund"], cwd=project)

    make_once(project, install)
    return [program, str(project / "enqueue.mjs")]


def shell(_: Path) -> list[str]:
    bash, env = find("bash"), find("env")
    find("jq")
    folder = ROOT / ".venv-clients"
    binaries = folder / "venv" / "bin"

    def install() -> None:
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(binaries.parent)])
        pip = [sys.executable, "-m", "pip", f"--python={binaries / 'python'}", "install", "-q"]
        run([*pip, "--disable-pip-version-check", "--no-deps", *AWS_CLI.split()])
        # Its own first line names the interpreter, which the system does not find where the path has a space.
        program = folder / "bin" / "aws"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec "{binaries}/python" "{binaries}/aws" "$@"\n')
        program.chmod(0o755)

    make_once(folder, install, contents=f"{sys.version}\n{AWS_CLI}\n{folder}")
    return [env, f"PATH={folder / 'bin'}:{os.environ['PATH']}", bash, str(EXAMPLES / "shell" / "enqueue.sh")]


def go(folder: Path) -> list[str]:
    compiler, binary = find("go"), folder / "go" / "enqueue"
    if not (GO_PATH / "src" / GO_SDK).exists():
        raise NotInstalledError(f"{GO_SDK} is not installed")

    def build() -> None:
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(GO_PATH), "CGO_ENABLED": "0"}
        run([compiler, "build", "-o", str(binary), str(EXAMPLES / "go" / "enqueue.go")], environment=environment)

    make_once(binary.parent, build)
    return [str(binary)]


CLIENTS: dict[str, Callable[[Path], list[str]]] = {"python": python, "node": node, "shell": shell, "go": go}


def prepare(examples: Mapping[str, Callable[[Path], T]], name: str, folder: Path) -> T:
    """Make an example ready; skip the test if its language is not installed, or fail if $REQUIRE_CLIENTS names it."""
    try:
        return examples[name](folder)
    except NotInstalledError as error:
        is_required = name in os.environ.get("REQUIRE_CLIENTS", "").split(",")
        (pytest.fail if is_required else pytest.skip)(str(error))


def arrived(aws: LocalAws) -> list[str]:
    """Take all messages off the queue, and return their bodies."""
    bodies: list[str] = []
    url = f"{aws.endpoint}/{ACCOUNT}/{QUEUE}"
    while batch := aws.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        bodies += [message["Body"] for message in batch]
    return sorted(bodies)


def find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise NotInstalledError(f"{program} is not installed")
    return path


def make_once(folder: Path, make: Callable[[], None], *, contents: str = "") -> None:
    """Call `make` unless the folder already holds what it made of these contents."""
    stamp = folder / ".made"
    folder.mkdir(parents=True, exist_ok=True)
    # A second terminal may be running them too.
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != contents:
            make()
            stamp.write_text(contents)


def run(arguments: list[str], *, cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"an example cannot be made ready:\n{done.stdout}{done.stderr}"
