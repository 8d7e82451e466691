"""What a cold start costs: fresh processes that import the built package as Lambda would, and nothing else.

python -m bench.cold_start [--rounds 7]

Every round runs each case once, so that a busy minute of the machine touches all of them. `ready` is when a function
could begin to work; `process` is the whole process, with its end, which Lambda does not wait for.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import boto3

from bench.machine import machine
from nightshift.deploy import package
from nightshift.local.environment import local_environment

PROJECT = Path(__file__).parent.parent
# What Lambda's runtime carries beside the standard library.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")

CONTEXT = """
import app
from types import SimpleNamespace
from chalicelib.context import from_lambda
context = from_lambda(SimpleNamespace(aws_request_id="bench"))
"""
# Each as its function in app.py goes about it, up to the first thing that the network would have to answer.
DAILY_DIGEST = """
from chalicelib import runs, tasks
tasks.find("daily_digest")
context.database, context.queues
import jinja2  # imported when the first fire of a day composes
"""
WORK = """
from chalicelib.queue import worker
from chalicelib import handlers
handlers.find("send_digest")
context.database, context.queues, context.mailer, context.pace
"""
OPERATE = """
from chalicelib import operations, migrations
context.database, context.queues, context.mailer
"""
EAGER = f"""{DAILY_DIGEST}{WORK}{OPERATE}
import chalicelib.handlers.continue_run, redis, redis.retry
"""
FUNCTIONS = {
    "app.py, and no more": "import app",
    "daily_digest ready": CONTEXT + DAILY_DIGEST,
    "work ready": CONTEXT + WORK,
    "operate ready": CONTEXT + OPERATE,
    "everything at once": CONTEXT + EAGER,
}
CHALICE = """
from chalice.app import Chalice
Chalice(app_name="bench")
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Code for a fresh process, and the folder that it finds the package in."""

    name: str
    code: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Milliseconds until the code had run, and until its process had ended."""

    ready: float
    process: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    path = package.build(PROJECT)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        compiled, source, runtime = folder / "compiled", folder / "source", folder / "runtime"
        shutil.unpack_archive(path, compiled)
        shutil.copytree(compiled, source, ignore=shutil.ignore_patterns("__pycache__"))
        link_runtime(runtime)
        cases = [
            Case(name="Python alone", code="", folder=compiled),
            Case(name="Chalice alone", code=CHALICE, folder=compiled),
            *(Case(name=name, code=code, folder=compiled) for name, code in FUNCTIONS.items()),
            *(Case(name=f"{name}, not compiled", code=code, folder=source) for name, code in FUNCTIONS.items()),
        ]
        measured = measure(cases, rounds=rounds, runtime=runtime, folder=folder)
    print(f"{machine()}, medians of {rounds} fresh processes each")
    tell_sizes(path)
    print(f"{'ms':34} {'ready':>6} {'process':>8} {'over Python alone':>18}")
    alone = measured[cases[0]]
    for case in cases:
        taken = measured[case]
        print(f"{case.name:34} {taken.ready:6.0f} {taken.process:8.0f} {taken.process - alone.process:18.0f}")


def link_runtime(folder: Path) -> None:
    """Fill a folder with links to what Lambda's runtime carries, and so hide the rest of this environment."""
    folder.mkdir()
    installed = Path(boto3.__file__).parent.parent
    for name in RUNTIME:
        (folder / name).symlink_to(installed / name)


def measure(cases: list[Case], *, rounds: int, runtime: Path, folder: Path) -> dict[Case, Taken]:
    """Run every case in every round, after one round to warm the disk's cache, and return the medians."""
    services = {"DATABASE_URL": "mysql+pymysql://reader@127.0.0.1/blog", "REDIS_URL": ""}
    environment = local_environment(os.environ | services, endpoint="http://127.0.0.1:9", folder=folder)
    # Nothing is called; a client that finds its own endpoint does what it would do on Lambda.
    del environment["AWS_ENDPOINT_URL"]
    for case in cases:
        run(case, runtime, environment)
    taken = [{case: run(case, runtime, environment) for case in cases} for _ in range(rounds)]
    return {
        case: Taken(
            ready=median(each[case].ready for each in taken), process=median(each[case].process for each in taken)
        )
        for case in cases
    }


def run(case: Case, runtime: Path, environment: dict[str, str]) -> Taken:
    """Run one case in a fresh process."""
    paths = [str(case.folder), str(runtime)]
    code = f"import sys\nsys.path[:0] = {paths!r}\n{case.code}\nimport time\nprint(time.perf_counter())"
    # Isolated and without site, the process sees no other package; and it writes no compiled file, as on Lambda.
    child = [sys.executable, "-I", "-S", "-B", "-c", code]
    started = time.perf_counter()
    done = subprocess.run(child, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    ended = time.perf_counter()
    # The clock of perf_counter is the machine's, the same in every process.
    return Taken(ready=1000 * (float(done.stdout) - started), process=1000 * (ended - started))


def tell_sizes(path: Path) -> None:
    """Print the package's size, and those of its larger parts."""
    parts = [f"{name} {size / 1e6:.1f}" for name, size in package.sizes(path).items() if size >= 50_000]
    print(f"package {path.stat().st_size / 1e6:.1f} MB: {', '.join(parts)}")


if __name__ == "__main__":
    main()
