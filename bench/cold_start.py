"""What a cold start costs each function of app.py: fresh processes that call the built package as Lambda would.

python -m bench.cold_start [--rounds 5]

Every round runs each function once, so that a busy minute of the machine touches all of them. They find a database,
a Redis and an emulator of AWS on this machine, and something small to do. `ready` is when a function first asks
something of the network, `first answer` when all is done, both from the start of the process on; `next answer` is
another event to the same, warm process. What it has of the first more is what a cold start costs.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any

import boto3

from bench import command
from bench.child import result_of
from bench.events import events_of, undue, unsubscribing
from bench.first_call import ROUTES
from bench.items import served, write_items
from bench.machine import machine
from bench.moments import NOW
from bench.report import Column, Part
from bench.servers import database
from bench.tabulate import tabulate
from chalicelib.application import posts, users
from chalicelib.core.engine import engine_for
from nightshift.demo.blog import make_posts, make_users
from nightshift.demo.database import load, prepare_database
from nightshift.deploy import package
from nightshift.local.aws import local_aws
from nightshift.local.environment import local_environment
from nightshift.local.servers import redis_server
from nightshift.project import triggers

PROJECT = Path(__file__).parent.parent
# What Lambda's runtime carries beside the standard library.
RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six.py", "urllib3")
SIZES = {"rounds": (5, 1)}
COLUMNS = (
    Column(name="ready", unit="ms"),
    Column(name="first answer", unit="ms"),
    Column(name="next answer", unit="ms"),
    Column(name="a cold start", unit="ms"),
)
# Posts of each month for which there is a fire.
DAYS = 800
CHALICE = "from chalice.app import Chalice; Chalice(app_name='bench')"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A function of a package, and what it is called with; without events, code that is only run."""

    function: str
    folders: tuple[str, ...]
    events: Iterator[Any] | None = None
    # Of what a function may answer for it to be measured, where it answers with an outcome.
    outcomes: frozenset[str] = frozenset({"succeeded", "skipped"})


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Call each function in fresh processes."""
    archive = package.build(PROJECT)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        compiled, source, runtime = folder / "compiled", folder / "source", folder / "runtime"
        shutil.unpack_archive(archive, compiled)
        shutil.copytree(compiled, source, ignore=shutil.ignore_patterns("__pycache__"))
        link_runtime(runtime)
        for name in ("redis", "api"):
            (folder / name).mkdir()
        url = stack.enter_context(database(sizes.server))
        redis_url = stack.enter_context(redis_server(folder / "redis"))
        write_items(folder / "api" / "items.json", 10, version=1)
        api = stack.enter_context(served(folder / "api"))
        aws = stack.enter_context(local_aws())
        fill(url)
        base = os.environ | {"DATABASE_URL": url, "REDIS_URL": redis_url}
        environment = local_environment(base, endpoint=aws.endpoint, folder=folder) | {
            "EXTERNAL_SYNC_URL": f"{api}/items.json",
            "EXTERNAL_SYNC_HOSTS_ALLOWED": "127.0.0.1",
            "UNSUBSCRIBE_ROUTE": "on",
        }
        cases = cases_of((str(compiled), str(runtime)), source=(str(source), str(runtime)))
        taken: dict[str, list[Mapping[str, float]]] = {name: [] for name in cases}
        # One more round, to warm the disk's cache.
        warm_up = 0 if sizes.quick else 1
        for n in range(warm_up + sizes.rounds):
            for name, case in cases.items():
                found = run(case, environment)
                if n >= warm_up:
                    taken[name].append(found)
        told = machine(url, redis_url)
    table = tabulate("a fresh process", COLUMNS, taken)
    return Part(about=f"Each function of app.py, {sizes.rounds} rounds.", machine=told, tables=(table,))


def cases_of(compiled: tuple[str, ...], *, source: tuple[str, ...]) -> dict[str, Case]:
    """Return what is run, by its name."""
    cases = {
        "Python alone": Case(function="", folders=compiled),
        "Chalice alone": Case(function=CHALICE, folders=compiled),
        "app.py, and no more": Case(function="import app", folders=compiled),
    }
    for each in triggers.read(PROJECT):
        cases[each.function] = Case(function=each.function, folders=compiled, events=events_of(each))
    cases["unsubscribe"] = Case(function=ROUTES, folders=compiled, events=repeat(unsubscribing()))
    cases["a fire that is dropped"] = Case(
        function="daily_digest", folders=compiled, events=undue(), outcomes=frozenset({"dropped"})
    )
    cases["daily_digest, not compiled"] = replace(cases["daily_digest"], folders=source)
    return cases


def fill(url: str) -> None:
    """Load a few users, and posts of each month for which there is a fire."""
    engine = engine_for(url)
    prepare_database(engine)
    load(engine, users, make_users(5, now=NOW, seed=1))
    load(engine, posts, make_posts(5000, until=NOW, days=DAYS, seed=1))


def link_runtime(folder: Path) -> None:
    """Fill a folder with links to what Lambda's runtime carries, and so hide the rest of this environment."""
    folder.mkdir()
    installed = Path(boto3.__file__).parent.parent
    for name in RUNTIME:
        (folder / name).symlink_to(installed / name)


def run(case: Case, environment: Mapping[str, str]) -> dict[str, float]:
    """Run one case in a fresh process; return milliseconds. Ends the bench where it fails."""
    # Isolated and without site, the process sees no other package; and it writes no compiled file, as on Lambda.
    python = [sys.executable, "-I", "-S", "-B"]
    if case.events is None:
        code = f"import sys, time; sys.path[:0] = {list(case.folders)!r}\n{case.function}\nprint(time.perf_counter())"
        began = time.perf_counter()
        return {"ready": 1000 * (result_of([*python, "-c", code], environment=environment) - began)}
    events = json.dumps([next(case.events), next(case.events)])
    child = [*python, str(PROJECT / "bench" / "first_call.py"), case.function, *case.folders]
    began = time.perf_counter()
    told = result_of(child, given=events, environment=environment)
    for answer in told["answers"]:
        if isinstance(answer, dict) and "outcome" in answer and answer["outcome"] not in case.outcomes:
            sys.exit(f"{case.function} answered {answer}")
    # The clock of perf_counter is the machine's, the same in every process.
    first, second = (1000 * (moment - began) for moment in told["answered"])
    answer = {"ready": 1000 * (told["asked"] - began), "first answer": first, "next answer": second - first}
    return answer | {"a cold start": first - answer["next answer"]}


if __name__ == "__main__":
    main()
