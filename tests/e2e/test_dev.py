"""A local day as a developer lives it: `nightshift dev`, as it is installed, in a folder of its own."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import boto3
import pytest
from sqlalchemy import Engine, create_engine, insert, select
from sqlalchemy.pool import NullPool

from chalicelib.application import users
from chalicelib.schema import deliveries, runs
from nightshift.local.environment import BUCKET, QUEUE, REGION
from tests.shell import NIGHTSHIFT, Shell, in_project

LIMIT_SECONDS = 60
# Readers, so that a digest takes long enough to be interrupted.
MANY = 400
# Begins a command in a session of its own, with standard input for its terminal.
AT_TERMINAL = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"


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
    aws: str
    head: str

    def press(self, action: str, **fields: str) -> None:
        """Press a button of the page."""
        origin, token = self.page.partition("/?")[0], parse_qs(urlsplit(self.page).query)["token"][0]
        request = urllib.request.Request(
            f"{origin}/{action}", data=urlencode({"token": token, **fields}).encode(), headers={"Origin": origin}
        )
        urllib.request.urlopen(request).close()

    def client(self, service: str) -> Any:
        """Return a client of the emulator."""
        session = boto3.Session(aws_access_key_id="mine", aws_secret_access_key="mine", region_name=REGION)
        return session.client(service, endpoint_url=self.aws)  # type: ignore[call-overload]

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Send a signal, and return what is printed from here on; it ends well."""
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=LIMIT_SECONDS)
        assert self.process.returncode == 0, printed
        return printed


@contextmanager
def living(shell: Shell) -> Iterator[Living]:
    with subprocess.Popen(
        [NIGHTSHIFT, "dev"],
        cwd=shell.folder,
        env=shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield begun(process, process.stdout)
        finally:
            process.kill()


@contextmanager
def living_at_terminal(shell: Shell) -> Iterator[tuple[Living, IO[str]]]:
    """Live a day in a terminal, and give that too."""
    ours, theirs = pty.openpty()
    with (
        os.fdopen(ours, encoding="utf-8") as terminal,
        subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, NIGHTSHIFT, "dev"],
            cwd=shell.folder,
            env={**shell.environment, "COLUMNS": "1000", "TERM": "dumb", "NO_COLOR": "1"},
            stdin=theirs,
            text=True,
        ) as process,
    ):
        os.close(theirs)
        try:
            yield begun(process, terminal), terminal
        finally:
            process.kill()


def begun(process: "subprocess.Popen[str]", output: Iterable[str]) -> Living:
    """Wait until the day has begun."""
    head = ""
    for line in output:
        head += line
        if line.startswith("Time "):
            break
    page, aws = re.search(r"^Page      (\S+)$", head, re.M), re.search(r"(\S+) is SQS, SES and S3$", head, re.M)
    assert page, head
    assert aws, head
    return Living(process=process, page=page[1], aws=aws[1], head=head)


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
        assert "12,000 sample posts" in first.head
        add_readers(project, MANY)
        first.press("run", name="daily_digest")
        sent = select(deliveries).where(deliveries.c.status == "sent")
        wait_for(lambda: rows(project, sent), what="no mail was sent")
        printed = first.end(signal.SIGINT)
        assert "Ctrl-C again kills what is in progress" in printed
        assert "ERROR" not in printed
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


def test_a_terminal_that_is_closed_ends_the_day_as_calmly(shell: Shell, project: Path) -> None:
    with living_at_terminal(shell) as (day, terminal):
        add_readers(project, MANY)
        day.press("run", name="daily_digest")
        sent = select(deliveries).where(deliveries.c.status == "sent")
        wait_for(lambda: rows(project, sent), what="no mail was sent")
        terminal.close()
        assert day.process.wait(timeout=LIMIT_SECONDS) == 0
    statuses = Counter(row.status for row in rows(project, select(deliveries)))
    assert 0 < mails(project) == statuses["sent"] < statuses.total()
    assert statuses["unknown"] == 0
    assert "send_digest" in (project / ".nightshift/dev/queues.json").read_text()


def test_a_kill_of_all_of_it_leaves_what_queues_and_bucket_held(shell: Shell, project: Path) -> None:
    kept = project / ".nightshift/dev"
    with living(shell) as day:
        day.client("s3").put_object(Bucket=BUCKET, Key="mine/report", Body=b"{}")
        day.client("sqs").send_message(QueueUrl=f"{day.aws}/queue/{QUEUE}", MessageBody="later", DelaySeconds=900)
        day.press("run", name="database_backup")
        wait_for(lambda: list(kept.glob("bucket/**/manifest.json")), what="no backup was kept")
        wait_for(lambda: "later" in (kept / "queues.json").read_text(), what="no message was kept")
        objects = names(day)
        day.process.kill()
    with living(shell) as day:
        assert names(day) == objects
        assert day.client("s3").get_object(Bucket=BUCKET, Key="mine/report")["Body"].read() == b"{}"
        day.end()
    assert "later" in (kept / "queues.json").read_text()


def names(day: Living) -> list[str]:
    return [each["Key"] for each in day.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]]


def test_the_page_is_served_until_the_end_and_its_port_and_folder_are_nobody_elses(shell: Shell, project: Path) -> None:
    with living(shell) as day:
        with urllib.request.urlopen(day.page) as response:
            assert "Nothing has run yet" in response.read().decode()
        port = str(urlsplit(day.page).port)
        for option in ("--port", "--aws-port"):
            complaint = shell.complaint("dev", option, port)
            assert complaint == f"cannot listen on port {port}: Address already in use"
        folder = project / ".nightshift/dev"
        assert shell.complaint("dev").startswith(f"another nightshift dev uses {folder}: ")
        assert (folder / "mail").exists()
        day.end()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(day.page)


def test_a_night_is_replayed_on_a_database_and_in_a_folder_of_its_own(shell: Shell, project: Path) -> None:
    mine = project / "mine.db"
    printed = shell.tell(
        *("dev", "--at", "2026-03-29T01:00", "--until", "2026-03-29T03:00", "--speed", "20000"),
        DATABASE_URL=f"sqlite:///{mine}",
        DATABASE_BACKUP_SCHEDULE="30 2 * * * Europe/Berlin",
        RECORD_ACTIVITY_SCHEDULE="0 3 * * *",
    )
    assert re.search(r"2026-03-29T01:00:0\S+Z INFO +database_backup: run succeeded", printed)
    assert re.search(r"2026-03-29T02:00:0\S+Z INFO +database_cleanup: run succeeded", printed)
    assert "record_activity" not in printed
    assert printed.count("run skipped: there is no Redis") == 1
    assert "ERROR" not in printed
    assert not mine.exists()
    assert [path.name for path in (project / ".nightshift").iterdir()] == ["replay"]
