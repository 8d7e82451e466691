"""Processes that need not load what looks at no environment: forked from one that has loaded it, and nothing else.

Each has its own environment, folder and streams, as one that a shell begins; it only begins sooner.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

LIMIT_SECONDS = 120
ROOT = Path(__file__).parent.parent
# None of them looks at the environment before it is used.
PRELOADED = [
    "alembic.command",
    "aws_lambda_powertools.metrics",
    "boto3",
    "chalice.cli.factory",
    "cronsim.explain",
    "cryptography.hazmat.primitives.ciphers.aead",
    "email.headerregistry",
    "email.policy",
    "moto.server",
    "moto.ses.models",
    "moto.sesv2.models",
    "moto.sqs.models",
    "msgspec",
    "pydantic.functional_validators",
    "pydantic.type_adapter",
    "pydantic.types",
    "pymysql",
    "redis",
    "rich.markdown",
    "rich.progress",
    "rich.table",
    "rich.traceback",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.sqlite",
    "sqlite3",
    "typer",
    "tzdata",
    "tests.preload",
]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(PRELOADED)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A process that has begun; one that nobody waits for ends with the tests."""

    process: BaseProcess
    streams: "TemporaryDirectory[str]" = field(repr=False)

    def end(self) -> "CompletedProcess[str]":
        """Wait for its end, and return what became of it; it is killed where it takes too long."""
        with self.streams as folder:
            self.process.join(LIMIT_SECONDS)
            if self.process.exitcode is None:
                self.process.kill()
                self.process.join()
            code = self.process.exitcode
            assert code is not None
            stdout, stderr = (Path(folder, name).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
            return CompletedProcess(self.process.name, code, stdout, stderr)


def begin(
    main: Callable[..., object], *arguments: str, environment: Mapping[str, str], folder: Path = ROOT, typed: str = ""
) -> Begun:
    """Call a module's function in a process of its own, which reads what is typed."""
    streams = TemporaryDirectory()
    Path(streams.name, "stdin").write_text(typed, encoding="utf-8")
    for name in ("stdout", "stderr"):
        Path(streams.name, name).touch()
    given = (main, arguments, dict(environment), folder, Path(streams.name))
    process = _context.Process(target=_be, args=given, daemon=True)
    process.start()
    return Begun(process=process, streams=streams)


def run(
    main: Callable[..., object], *arguments: str, environment: Mapping[str, str], folder: Path = ROOT, typed: str = ""
) -> "CompletedProcess[str]":
    """Begin a process and wait for its end."""
    return begin(main, *arguments, environment=environment, folder=folder, typed=typed).end()


def _be(
    main: Callable[..., object], arguments: tuple[str, ...], environment: dict[str, str], folder: Path, streams: Path
) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        opened = os.open(streams / name, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (for as long as the process lives)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    main(*arguments)
