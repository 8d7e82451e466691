"""`nightshift` as a person runs it: in a process and an environment of its own, and a Lambda for it to ask."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from nightshift.local.environment import isolated, local_environment
from nightshift.local.servers import serving
from nightshift.testkit.database import empty_file
from tests import forked

ROOT = Path(__file__).parent.parent
NIGHTSHIFT = Path(sys.executable).with_name("nightshift")
BASE = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}


def nightshift(*arguments: str) -> None:
    """Be the command."""
    from nightshift.cli import app

    sys.argv = ["nightshift", *arguments]
    app()


@dataclass(frozen=True, kw_only=True)
class Shell:
    """The settings of a person's shell, the folder that they are in, and the first words of what they type."""

    environment: Mapping[str, str]
    folder: Path = ROOT
    group: tuple[str, ...] = ()

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run `nightshift` with its output piped, from a narrow terminal."""
        typed, settings = (*self.group, *arguments), {**self.environment, "COLUMNS": "40", **environment}
        return forked.run(nightshift, *typed, environment=settings, folder=self.folder)

    def tell(self, *arguments: str, **environment: str) -> str:
        """Run it and return what it prints; it succeeds and complains of nothing."""
        done = self.run(*arguments, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def complaint(self, *arguments: str, code: int = 1, **environment: str) -> str:
        """Run it and return its one sentence; it fails and prints nothing else. 2 is for what was typed."""
        done = self.run(*arguments, **environment)
        assert (done.returncode, done.stdout) == (code, "")
        assert done.stderr.startswith("nightshift: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.strip().removeprefix("nightshift: ")

    def see(self, *arguments: str, width: int) -> str:
        """Run it in a terminal of this width and return what it prints there; it succeeds and complains of nothing."""
        ours, theirs = pty.openpty()
        environment = {**self.environment, "COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": "1"}
        command = [str(NIGHTSHIFT), *self.group, *arguments]
        seen = b""
        # Apart from what is shown while somebody waits, which on a slow machine is long.
        with (
            TemporaryFile() as beside,
            subprocess.Popen(command, cwd=self.folder, env=environment, stdout=theirs, stderr=beside) as process,
        ):
            os.close(theirs)
            # The terminal of a process that has ended fails to be read.
            with suppress(OSError):
                while chunk := os.read(ours, 65_536):
                    seen += chunk
            code = process.wait()
            beside.seek(0)
            complaint = beside.read().decode()
        os.close(ours)
        assert (code, complaint) == (0, "")
        return seen.decode()

    def execute(self, statement: Any) -> Any:
        """Execute one statement and return its rows, if it has any."""
        engine = create_engine(self.environment["DATABASE_URL"], poolclass=NullPool)
        with engine.begin() as connection:
            result = connection.execute(statement)
            return result.all() if result.returns_rows else None


def in_project(folder: Path) -> Shell:
    """Return a shell in this project as it lies in a folder of its own."""
    project = folder / "a project"
    project.mkdir()
    for name in ("app.py", ".chalice"):
        (project / name).symlink_to(ROOT / name)
    return Shell(environment=isolated(BASE) | {"PYTHONUNBUFFERED": "1"}, folder=project)


def migrated(folder: Path, *, endpoint: str) -> dict[str, str]:
    """Return the settings of a shell with a new database in the folder, and the queues of the emulator there."""
    environment = local_environment(BASE, endpoint=endpoint, folder=folder)
    path = make_url(environment["DATABASE_URL"]).database
    assert path is not None
    Path(path).write_bytes(empty_file())
    return environment


@contextmanager
def reaching(handler: type[BaseHTTPRequestHandler], *group: str) -> Iterator[Shell]:
    """Give a shell from which AWS is what the handler answers."""
    with serving(HTTPServer(("127.0.0.1", 0), handler)) as endpoint:
        environment = isolated(BASE) | {"AWS_ENDPOINT_URL": endpoint, "AWS_MAX_ATTEMPTS": "1"}
        yield Shell(environment=environment, group=group)


@dataclass
class Lambda:
    """A server that answers the invocations of each function, or of any, with the same."""

    answer: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    others: Mapping[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @contextmanager
    def serve(self, *group: str) -> Iterator[Shell]:
        """Run it, and give a shell from which it is Lambda."""
        lambda_ = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                lambda_.asked.append((self.path, json.loads(body)))
                other = next((answer for name, answer in lambda_.others.items() if f"/{name}/" in self.path), None)
                answer = lambda_.answer if other is None else other
                self.send_response(lambda_.status if other is None else 200)
                for name, value in (lambda_.headers if other is None else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_arguments: Any) -> None:
                pass

        with reaching(Handler, *group) as shell:
            yield shell
