"""The workspace of a local runtime: an emulator, a database, and a folder for mails and other results."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from sqlalchemy import make_url

from chalicelib import migrations
from chalicelib.core.clock import from_ms
from chalicelib.core.engine import LOOPBACK, engine_for
from nightshift.demo.database import fill_posts, fill_readers, prepare_database
from nightshift.local.aws import LocalAws, local_aws
from nightshift.local.environment import engine_of, enter, isolated, local_environment
from nightshift.local.invocation import LocalClock

SEED, USERS = 20160804, 300


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """A folder for results, the emulator and its clock."""

    folder: Path
    aws: LocalAws
    clock: LocalClock

    def write_mails(self, *, since: int) -> int:
        """Write the sent mails, without the first `since`, to `folder`/mail; return how many were written."""
        mails, folder = self.aws.sent(since=since), self.folder / "mail"
        folder.mkdir(exist_ok=True)
        for number, mail in enumerate(mails, start=since + 1):
            mail.write(folder / f"{number:06d}")
        return len(mails)


@contextmanager
def workspace(
    console: Console, folder: Path, *, clock: LocalClock, base: Mapping[str, str], aws_port: int
) -> Iterator[Workspace]:
    """Enter an isolated environment with a migrated database.

    The database is that of DATABASE_URL in `base`, or a file in the folder; a new file gets a sample blog.
    """
    enter(isolated(base))
    with local_aws(clock, port=aws_port) as aws:
        enter(local_environment(base, endpoint=aws.endpoint, folder=folder))
        engine = engine_of(os.environ)
        console.print(f"Database  {engine.url.render_as_string(hide_password=True)}", markup=False)
        if not base.get("DATABASE_URL"):
            make_blog(console, Path(engine.url.database or ""), now=from_ms(clock.now_ms()))
        migrations.upgrade(engine)
        engine.dispose()
        shutil.rmtree(folder / "mail", ignore_errors=True)
        yield Workspace(folder=folder, aws=aws, clock=clock)


@contextmanager
def locked(folder: Path, *, empty: bool) -> Iterator[None]:
    """Lock a folder, created if needed, and empty it first if `empty`. Raises ValueError if it is locked already.

    The kernel unlocks it when the process ends, even if it is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another nightshift dev uses {folder}: use that one, or stop it with Ctrl-C") from None
        for path in folder.iterdir() if empty else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield
    finally:
        os.close(descriptor)


def check_database(url: str | None, *, allow_remote: bool) -> None:
    """Raise ValueError if the database is on another machine."""
    host = make_url(url).host if url else None
    # A name without a dot is a container next to this one.
    if host and "." in host and host not in LOOPBACK and not allow_remote:
        raise ValueError(
            f"DATABASE_URL is on {host}: every task would run on it from here, and its mails would go to a folder. Use "
            "a local database, unset DATABASE_URL for a sample blog, or add --remote to use it anyway"
        )


def make_blog(console: Console, path: Path, *, now: datetime) -> None:
    """Create an SQLite file with a sample blog, all or nothing, unless the file exists."""
    if path.exists():
        return
    unfinished = path.with_name("unfinished.db")
    # SQLite would apply the write-ahead log of a deleted database to the new one.
    logs = [path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm")]
    for leftover in (*logs, *path.parent.glob(f"{unfinished.name}*")):
        leftover.unlink(missing_ok=True)
    engine = engine_for(f"sqlite:///{unfinished}")
    try:
        prepare_database(engine)
        fill_posts(console, engine, now=now, seed=SEED, posts_csv=None)
        fill_readers(console, engine, user_count=USERS, now=now, today=now.date(), seed=SEED)
    finally:
        # Closing the last connection moves the write-ahead log into the file.
        engine.dispose()
    unfinished.replace(path)
