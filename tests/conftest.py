"""How pytest runs the tests, alone or in several processes."""

import contextlib
import gc
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.servers import describe_servers

TESTS = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures in each process that runs tests, but not in the one that distributes them."""
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses"):
        gc.disable()
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_xdist_auto_num_workers() -> int:
    """Use one process more than there are processors: tests wait for servers and for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the servers that the tests ran on."""
    terminalreporter.write_line(describe_servers())


def pytest_collection(session: pytest.Session) -> None:
    """Share the compilation of the tests among the processes that run them."""
    if "PYTEST_XDIST_WORKER" in os.environ and session.config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        _import_in_turn(session.config.getoption("ignore") or ())


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Send fewer messages about each test to the process that distributes them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    _run_and_report(item, nextitem)
    return True


def pytest_collection_finish() -> None:
    """Exclude the collected tests from garbage collection: each pass over them takes a fifth of a second."""
    gc.freeze()
    gc.enable()


def _import_in_turn(ignored: Sequence[str]) -> None:
    """Import all test modules, starting at a different one in each process.

    Python caches what one process compiles for the others. Compiling takes half of the time of collection.
    """
    number, of = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    left_out = [Path(each).resolve() for each in ignored]
    paths = [each for each in sorted(TESTS.rglob("test_*.py")) if not any(map(each.is_relative_to, left_out))]
    first = len(paths) * number // of
    for path in paths[first:] + paths[:first]:
        # Collection reports the error.
        with contextlib.suppress(ImportError, SyntaxError):
            import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))


def _run_and_report(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Run a test and report its call, but its setup and teardown only if they failed: a third of the messages."""
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
