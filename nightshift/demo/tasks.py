"""The demo's tasks, except the digest: each fired as EventBridge does, with its results."""

import json
import os
import shutil
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from redis import Redis
from rich.console import Console, RenderableType
from sqlalchemy import Engine, func, select

from chalicelib.core.clock import iso
from chalicelib.core.redaction import mask_addresses
from chalicelib.tasks import cache_warming
from chalicelib.tasks.database_cleanup.rules import RULES
from chalicelib.tasks.monthly_report.month import Month
from nightshift.demo.backups import back_up_and_restore
from nightshift.demo.section import Section, columns, fire, overview
from nightshift.demo.sync import sync_twice
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET, changed
from nightshift.local.invocation import drain, invoke, sns_event
from nightshift.local.servers import NotInstalledError, redis_server

REPORT_HOUR = 9


def show_tasks(console: Console, aws: LocalAws, engine: Engine, folder: Path, *, moment: datetime, seed: int) -> None:
    """Run the tasks around the digest's fire at `moment`, and print their results. Raises ValueError for a wrong one.

    The report's files go to `folder`/report.
    """
    midnight = moment.replace(hour=0, minute=0)
    sections = [
        _record_activity(midnight + timedelta(minutes=5)),
        back_up_and_restore(aws, engine, folder, midnight + timedelta(hours=1)),
        _clean_up(engine, midnight + timedelta(hours=2)),
        _report(aws, folder / "report", report_fire(moment)),
        _warm(folder / "redis", moment),
        sync_twice(engine, moment, seed=seed),
        _hear_back(aws),
    ]
    console.print("\nTasks     the other tasks, each fired at its own time\n")
    console.print(overview(sections))
    for section in sections:
        console.print()
        for line in section.lines:
            console.print(line, markup=False)


def _record_activity(moment: datetime) -> Section:
    summary = fire("record_activity", moment)
    day = (moment - timedelta(days=1)).date().isoformat()
    return Section(summaries=[summary], lines=[f"Activity  {summary['total']} users were active on {day}"])


def _clean_up(engine: Engine, moment: datetime) -> Section:
    dry_run = invoke("database_cleanup", {"scheduled_for": iso(moment), "dry_run": True})
    summary = fire("database_cleanup", moment)
    table = columns("rule", "keeps", "dry run", "deleted", "left", numbers=("dry run", "deleted", "left"))
    idle = []
    for rule in RULES:
        due, gone = dry_run["rules"][rule.name]["skipped"], summary["rules"][rule.name]["succeeded"]
        if due != gone:
            raise ValueError(f"the dry run counted {due} of {rule.name}, and {gone} were deleted")
        if due == 0:
            idle.append(rule.name)
            continue
        with engine.connect() as connection:
            left = connection.execute(select(func.count()).select_from(rule.table)).scalar_one()
        keeps = f"{rule.keep.days} days" if rule.keep else "until they expire"
        table.add_row(rule.name, keeps, str(due), str(gone), str(left))
    lines: list[RenderableType] = [
        "Cleanup   a dry run, which only counts, and then the deletion\n",
        table,
        f"\n          users are deleted with their sessions and tokens; nothing expired in {', '.join(idle)}",
    ]
    return Section(summaries=[summary], lines=lines)


def _report(aws: LocalAws, folder: Path, moment: datetime) -> Section:
    before = aws.sent_count()
    summary = fire("monthly_report", moment)
    drain(aws.client("sqs"), os.environ["WORK_QUEUE_URL"])
    mails = aws.sent_count() - before
    _fetch(aws, folder)
    months = json.loads((folder / "report.json").read_text(encoding="utf-8"))["months"]
    last, gaps = months[-1], sum(month["active_users"] is None for month in months)
    lines = [
        f"Report    {Month.parse(last['month']).name}: {last['new_users']} new users, {last['new_posts']} new posts, "
        f"{last['active_users']} active users; {mails} mail{'' if mails == 1 else 's'} to administrators",
        f"          it has {len(months)} months, {gaps} of them without data on active users",
        f"          {folder}/report.html, .csv and .json",
    ]
    return Section(summaries=[summary], lines=lines)


def _fetch(aws: LocalAws, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    s3 = aws.client("s3")
    for stored in s3.list_objects_v2(Bucket=BUCKET, Prefix="reports/")["Contents"]:
        content = s3.get_object(Bucket=BUCKET, Key=stored["Key"])["Body"].read()
        (folder / stored["Key"].rpartition("/")[2]).write_bytes(content)


def report_fire(moment: datetime) -> datetime:
    """Return the latest fire of the report up to `moment`."""
    first = moment.replace(day=1, hour=REPORT_HOUR, minute=0)
    return first if first <= moment else (first - timedelta(days=1)).replace(day=1)


def _warm(folder: Path, moment: datetime) -> Section:
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        try:
            # Never the application's Redis: it would serve sample posts.
            url = stack.enter_context(redis_server(folder.resolve()))
        except NotInstalledError as error:
            with changed(REDIS_URL=""):
                summary = fire("cache_warming", moment)
            return Section(summaries=[summary], lines=[f"Cache     not warmed, without Redis: {error}"])
        with changed(REDIS_URL=url, REDIS_PASSWORD=""), Redis.from_url(url) as redis:
            summary = fire("cache_warming", moment)
            return Section(summaries=[summary], lines=_cached(redis))


def _cached(redis: Any) -> list[str]:
    values = cache_warming.read(redis, "popular_posts", "active_users")
    if values is None:
        raise ValueError("the cache is cold although it was warmed")
    minutes = redis.ttl(cache_warming.CURRENT) / 60
    return [
        f"Cache     {{cache}}:current is version {redis.get(cache_warming.CURRENT).decode()}",
        f"          {{cache}}:popular_posts:<version> has {len(values['popular_posts']['value'])} posts, "
        f"{{cache}}:active_users:<version> says {values['active_users']['value']}",
        f"          for {minutes:.0f} minutes, in a temporary Redis",
    ]


def _hear_back(aws: LocalAws) -> Section:
    readers = [mail.recipient for mail in aws.sent()[:1]]
    bounce = {
        "eventType": "Bounce",
        "mail": {"messageId": "the first mail of the digest", "destination": readers},
        "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": reader} for reader in readers]},
    }
    summaries = [invoke("mail_feedback", sns_event(json.dumps(bounce))) for _ in range(2)]
    names = mask_addresses(", ".join(readers)) or "nobody"
    line = f"Feedback  SES reported twice that the mail to {names} bounced: the address is suppressed once"
    return Section(summaries=summaries, lines=[line])
