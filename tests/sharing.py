"""What several processes that run the tests side by side need not each do, nor tell."""

import contextlib
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

TESTS = Path(__file__).parent


def import_in_turn(ignored: Sequence[str]) -> None:
    """Import the modules of tests, each process from another one on: what one has compiled, the next one finds.

    Python keeps what is compiled. Half of the time that collecting takes goes into compiling assertions.
    """
    number, of = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    left_out = [Path(each).resolve() for each in ignored]
    paths = [each for each in sorted(TESTS.rglob("test_*.py")) if not any(map(each.is_relative_to, left_out))]
    first = len(paths) * number // of
    for path in paths[first:] + paths[:first]:
        # Collecting tells what is wrong with it.
        with contextlib.suppress(ImportError, SyntaxError):
            import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))


def run_and_tell_the_result(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run a test, and report its call, and of its setup and teardown what went wrong: a third of all messages."""
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
