"""The demo: the digest for a sample blog, the same fire again, then the other tasks and the queue."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine, func, select

from chalicelib.application import posts
from chalicelib.core.clock import SystemClock, from_ms, iso
from chalicelib.core.database import Database
from chalicelib.core.telemetry import logger
from chalicelib.mail.ledger import Deliveries
from nightshift.cli import schedule
from nightshift.cli.output import print_lines
from nightshift.cli.requests import ask
from nightshift.demo.database import fill_posts, fill_readers, prepare_database
from nightshift.demo.queue import show_queue
from nightshift.demo.section import columns
from nightshift.demo.tasks import show_tasks
from nightshift.local.aws import LocalAws, local_aws
from nightshift.local.environment import engine_of, enter, isolated, local_environment
from nightshift.local.invocation import drain, invoke, scheduled_event

SEED = 20160804
DAY_MS = 86_400_000
FIRE_HOUR = 8


@dataclass(frozen=True, kw_only=True)
class Fired:
    """The result of a fire of the digest."""

    outcome: str
    recipients: int
    mails: int
    seconds: float


def run_demo(console: Console, folder: Path, *, user_count: int, posts_csv: Path | None) -> None:
    """Run the demo and print its results; write mails, the report and log.jsonl to the folder.

    Raises ValueError for an invalid CSV file, and for a database that has other users.
    """
    folder.mkdir(parents=True, exist_ok=True)
    enter(isolated(os.environ))
    with local_aws() as aws, _logging_to(folder / "log.jsonl"):
        enter(local_environment(os.environ, endpoint=aws.endpoint, folder=folder))
        engine = engine_of(os.environ)
        console.print(f"Database  {engine.url.render_as_string(hide_password=True)}")
        prepare_database(engine)
        now = datetime.now(UTC)
        fill_posts(console, engine, now=now, seed=SEED, posts_csv=posts_csv)
        moment = _latest_fire(now) if posts_csv is None else fire_after_busiest_day(engine)
        # The users joined before the posts of the CSV file.
        as_of = now if posts_csv is None else moment
        fill_readers(console, engine, user_count=user_count, now=as_of, today=moment.date(), seed=SEED)
        console.print(f"Fire      daily_digest for {iso(moment)}, as sent by EventBridge\n")

        first = _fire(console, aws, moment, label="Sending")
        _write_mails(aws, folder / "mail")
        again = _fire(console, aws, moment, label="Again")
        _print_table(console, {"first fire": first, "the same fire again": again})
        _print_ledger(console, engine, moment)
        if again.mails:
            raise ValueError(f"the second fire sent {again.mails} mails; it must send none")
        show_tasks(console, aws, engine, folder, moment=moment, seed=SEED)
        show_queue(console, os.environ)
        console.print(f"\nMails     {folder / 'mail'}/*.html and *.eml\nLog       {folder / 'log.jsonl'}")
        console.print("\nSchedules with their latest runs and next fires, as in nightshift schedule list\n")
        print_lines(schedule.table_lines(ask(None, "schedule.list")["tasks"]))
        console.print("\nMore of this data: nightshift status, nightshift runs list, nightshift jobs list")


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Write the output of functions to a file."""
    with path.open("w", encoding="utf-8") as file, contextlib.redirect_stdout(file):
        for handler in logger.handlers:
            handler.setStream(file)  # type: ignore[attr-defined]
        yield


def _latest_fire(now: datetime) -> datetime:
    today = now.replace(hour=FIRE_HOUR, minute=0, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def fire_after_busiest_day(engine: Engine) -> datetime:
    """Return the fire of the digest about the UTC day with the most posts. Raises ValueError if there are no posts."""
    day = (posts.c.created_at - posts.c.created_at % DAY_MS).label("day")
    query = select(day).group_by(day).order_by(func.count().desc(), day).limit(1)
    with engine.connect() as connection:
        start_ms = connection.execute(query).scalar_one_or_none()
    if start_ms is None:
        raise ValueError("the CSV file has no valid post, so there is nothing to send")
    return from_ms(int(start_ms)) + timedelta(days=1, hours=FIRE_HOUR)


def _fire(console: Console, aws: LocalAws, moment: datetime, *, label: str) -> Fired:
    started, before = time.monotonic(), aws.sent_count()
    summary = invoke("daily_digest", scheduled_event(moment))
    queued = summary["succeeded"]
    with ThreadPoolExecutor(1) as executor, _progress(console) as progress:
        bar = progress.add_task(label, total=queued)
        drained = executor.submit(drain, aws.client("sqs"), os.environ["WORK_QUEUE_URL"])
        while not drained.done():
            progress.update(bar, completed=aws.sent_count() - before)
            time.sleep(0.05)
        drained.result()
        progress.update(bar, completed=aws.sent_count() - before)
    return Fired(
        outcome=summary["outcome"],
        recipients=summary["total"],
        mails=aws.sent_count() - before,
        seconds=time.monotonic() - started,
    )


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Standard output is the log file.
    return Progress(*columns, console=console, redirect_stdout=False, redirect_stderr=False)


def _print_table(console: Console, fires: dict[str, Fired]) -> None:
    numbers = ("recipients", "mails sent", "seconds")
    table = columns("fire", "outcome", *numbers, numbers=numbers)
    for name, fired in fires.items():
        table.add_row(name, fired.outcome, str(fired.recipients), str(fired.mails), f"{fired.seconds:.1f}")
    console.print()
    console.print(table)


def _write_mails(aws: LocalAws, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for mail in aws.sent():
        # An address may contain a slash.
        mail.write(folder / mail.recipient.replace("/", "_"))


def _print_ledger(console: Console, engine: Engine, moment: datetime) -> None:
    day = (moment - timedelta(days=1)).date().isoformat()
    counts = Deliveries(Database(engine, SystemClock()), SystemClock(), day=day).count_by_status()
    counted = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    console.print(f"\nLedger    digest of {day}: {counted or 'no deliveries'}")
