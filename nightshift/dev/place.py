"""Where a local day is lived: an emulator, a database, and a folder for what the day leaves."""

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
from nightshift.demo.filling import fill_posts, fill_readers
from nightshift.demo.loading import prepare_database
from nightshift.demo.mailbox import write_mail
from nightshift.local.aws import LocalAws, local_aws
from nightshift.local.clock import LocalClock
from nightshift.local.database import engine_of
from nightshift.local.environment import enter, isolated, local_environment

SEED, USERS = 20160804, 300


@dataclass(frozen=True, kw_only=True)
class Place:
    """The project whose functions run, the folder for what they leave, the emulator that they call, and their clock."""

    project: Path
    folder: Path
    aws: LocalAws
    clock: LocalClock

    def write_mails(self, *, since: int) -> int:
        """Write the mails that were sent, from the `since`-th on, to `folder`/mail, and return how many those are."""
        mails, folder = self.aws.sent(since=since), self.folder / "mail"
        folder.mkdir(exist_ok=True)
        for number, mail in enumerate(mails, start=since + 1):
            write_mail(mail, folder / f"{number:06d}")
        return len(mails)


@contextmanager
def held(folder: Path, *, is_emptied: bool) -> Iterator[None]:
    """Hold a folder, for one day at a time, and begin with nothing in it if that is wanted.

    The kernel lets go of it when the process is killed. Raises ValueError where another holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        for path in folder.iterdir() if is_emptied else ():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(
            f"another nightshift dev is at work in {folder}: go on with that one, or end it first with Ctrl-C"
        ) from None


@contextmanager
def place(
    console: Console, *, project: Path, folder: Path, clock: LocalClock, base: Mapping[str, str], aws_port: int
) -> Iterator[Place]:
    """Enter an environment that leads nowhere else, with the database migrated, in a folder that is held.

    The database is that of DATABASE_URL, or a file in the folder; a new file gets a made-up blog.
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
        yield Place(project=project, folder=folder, aws=aws, clock=clock)


def check_database(url: str | None, *, may_be_remote: bool) -> None:
    """Refuse a database on another machine. Raises ValueError, with a sentence."""
    host = make_url(url).host if url else None
    # A name without a dot is that of a container beside this one.
    if host and "." in host and host not in LOOPBACK and not may_be_remote:
        raise ValueError(
            f"DATABASE_URL is on {host}: every task would run on it here, and its mails would go to a folder. "
            "Name a database of your own, leave it out for a made-up blog, or say --remote if that is meant"
        )


def make_blog(console: Console, path: Path, *, now: datetime) -> None:
    """Make up a blog in an SQLite file, whole or not at all, unless it is there."""
    if path.exists():
        return
    unfinished = path.with_name("unfinished.db")
    # The log of a database that is gone would be taken for that of the new one.
    logs = [path.with_name(f"{path.name}-{kind}") for kind in ("wal", "shm")]
    for left in (*logs, *path.parent.glob(f"{unfinished.name}*")):
        left.unlink(missing_ok=True)
    engine = engine_for(f"sqlite:///{unfinished}")
    try:
        prepare_database(engine)
        fill_posts(console, engine, now=now, seed=SEED, posts_csv=None)
        fill_readers(console, engine, user_count=USERS, now=now, today=now.date(), seed=SEED)
    finally:
        # Its last connection takes the log into the file.
        engine.dispose()
    unfinished.replace(path)
