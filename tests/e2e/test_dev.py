"""A local day as a developer lives it: `nightshift dev`, as it is installed, in a folder of its own."""

import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.pool import NullPool

from chalicelib.application import users
from chalicelib.schema import deliveries, runs
from tests.shell import NIGHTSHIFT, Shell, in_project

LIMIT_SECONDS = 60
# Readers, so that a digest takes long enough to be interrupted.
MANY = 400


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return in_project(tmp_path)


@pytest.fixture
def project(shell: Shell) -> Path:
    """The folder of the project."""
    return shell.folder


@dataclass(frozen=True, kw_only=True)
class Living:
    """A day that is being lived: its process, the address of its page, and what it has printed up to there."""

    process: "subprocess.Popen[str]"
    page: str
    head: str

    def press(self, action: str, **fields: str) -> None:
        """Press a button of the page."""
        origin, token = self.page.partition("/?")[0], parse_qs(urlsplit(self.page).query)["token"][0]
        request = urllib.request.Request(
            f"{origin}/{action}", data=urlencode({"token": token, **fields}).encode(), headers={"Origin": origin}
        )
        urllib.request.urlopen(request).close()

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Send a signal, and return what is printed from here on; it ends well."""
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=LIMIT_SECONDS)
        assert self.process.returncode == 0, printed
        return printed


@contextmanager
def living(shell: Shell, *arguments: str) -> Iterator[Living]:
    with subprocess.Popen(
        [NIGHTSHIFT, "dev", *arguments],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        head = ""
        for line in process.stdout:
            head += line
            if line.startswith("Day "):
                break
        page = re.search(r"^Page      (\S+)$", head, re.M)
        assert page, head
        try:
            yield Living(process=process, page=page[1], head=head)
        finally:
            process.kill()


def database(project: Path) -> Engine:
    return create_engine(f"sqlite:///{project / '.nightshift/dev/nightshift.db'}", poolclass=NullPool)


def rows(project: Path, statement: Any) -> list[Any]:
    with database(project).begin() as connection:
        return list(connection.execute(statement))


def add_readers(project: Path, count: int) -> None:
    reader = {"is_verified": True, "is_admin": False, "email_digest": True, "created_at": 0, "updated_at": 0}
    values = [{"id": f"more{n}", "name": "Ann", "email": f"more{n}@example.com", **reader} for n in range(count)]
    with database(project).begin() as connection:
        connection.execute(insert(users), values)


def mails(project: Path) -> int:
    return len(list((project / ".nightshift/dev/mail").glob("*.eml")))


def wait_for(is_so: Callable[[], object], *, what: str) -> None:
    """Wait for what other processes do."""
    deadline, nothing = time.monotonic() + LIMIT_SECONDS, Event()
    while not is_so():
        assert time.monotonic() < deadline, what
        # They need the processor more.
        nothing.wait(0.02)


def test_a_run_that_is_ended_in_its_middle_goes_on_the_next_day_and_nobody_has_two_mails(
    shell: Shell, project: Path
) -> None:
    with living(shell) as first:
        assert "12,000 posts" in first.head
        add_readers(project, MANY)
        first.press("run", name="daily_digest")
        sent = select(deliveries).where(deliveries.c.status == "sent")
        wait_for(lambda: rows(project, sent), what="no mail was sent")
        assert "saves where it is" in first.end(signal.SIGINT)
    sent_first = mails(project)
    statuses = Counter(row.status for row in rows(project, select(deliveries)))
    assert 0 < sent_first == statuses["sent"] < statuses.total()
    assert statuses["unknown"] == 0
    with living(shell) as second:
        assert "posts" not in second.head
        wait_for(lambda: mails(project) == statuses.total() - sent_first, what="the rest did not come")
        second.end()
    (run,) = rows(project, select(runs).where(runs.c.task == "daily_digest"))
    assert run.status == "succeeded"
    assert Counter(row.status for row in rows(project, select(deliveries))) == {"sent": statuses.total()}


def test_the_page_is_served_until_the_end_and_its_port_is_nobody_elses(shell: Shell) -> None:
    with living(shell) as day:
        with urllib.request.urlopen(day.page) as response:
            assert "Nothing has run yet" in response.read().decode()
        port = str(urlsplit(day.page).port)
        for option in ("--port", "--aws-port"):
            complaint = shell.complaint("dev", option, port)
            assert complaint == f"port {port} cannot be listened on: Address already in use"
        day.end()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(day.page)


def test_a_night_is_replayed_on_a_database_and_in_a_folder_of_its_own(shell: Shell, project: Path) -> None:
    mine = project / "mine.db"
    printed = shell.tell(
        *("dev", "--at", "2026-03-29T00:30", "--until", "2026-03-29T02:06", "--speed", "20000"),
        DATABASE_URL=f"sqlite:///{mine}",
        DATABASE_BACKUP_SCHEDULE="30 2 * * * Europe/Berlin",
    )
    assert re.search(r"2026-03-29T01:00:0\S+Z INFO +database_backup: run succeeded", printed)
    assert re.search(r"2026-03-29T02:00:0\S+Z INFO +database_cleanup: run succeeded", printed)
    assert "ERROR" not in printed
    assert not mine.exists()
    assert [path.name for path in (project / ".nightshift").iterdir()] == ["replay"]
