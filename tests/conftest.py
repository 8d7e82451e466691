"""How the tests are run: where, by how many processes, and what these share."""

import gc
import os

import pytest

from tests.services import describe_servers
from tests.sharing import import_in_turn, run_and_tell_the_result


def pytest_configure(config: pytest.Config) -> None:
    """Load what tests stand on where they run, which is not where they are only counted."""
    if "PYTEST_XDIST_WORKER" in os.environ or not config.getoption("numprocesses"):
        gc.disable()
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_xdist_auto_num_workers() -> int:
    """Use one worker more than there are processors: tests wait for servers, and for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which servers the tests ran on."""
    terminalreporter.write_line(describe_servers())


def pytest_collection(session: pytest.Session) -> None:
    """Share the compiling of all tests among the processes that run them."""
    if "PYTEST_XDIST_WORKER" in os.environ and session.config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        import_in_turn(session.config.getoption("ignore") or ())


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Tell less of each test to the process that counts them, where there is one."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    run_and_tell_the_result(item, nextitem)
    return True


def pytest_collection_finish() -> None:
    """Look for waste only from now on, and never among thousands of tests: each look takes a fifth of a second."""
    gc.freeze()
    gc.enable()
