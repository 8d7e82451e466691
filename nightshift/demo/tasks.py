"""The demo's second part: every other task, fired as EventBridge does, and where its result lies."""

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
from nightshift.demo.part import Part, columns, fire, overview
from nightshift.demo.sync import sync_twice
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET, changed
from nightshift.local.invocation import drain, invoke, sns_event
from nightshift.local.servers import NotInstalledError, redis_server

REPORT_HOUR = 9


def show_tasks(console: Console, aws: LocalAws, engine: Engine, folder: Path, *, moment: datetime, seed: int) -> None:
    """Run every task but the digest, of which `moment` is the fire, and print what each did.

    The report's files go to `folder`/report. Raises ValueError when a task does not keep its promise.
    """
    midnight = moment.replace(hour=0, minute=0)
    parts = [
        _record_activity(midnight + timedelta(minutes=5)),
        back_up_and_restore(aws, engine, folder, midnight + timedelta(hours=1)),
        _clean_up(engine, midnight + timedelta(hours=2)),
        _report(aws, folder / "report", report_fire(moment)),
        _warm(folder / "redis", moment),
        sync_twice(engine, moment, seed=seed),
        _hear_back(aws),
    ]
    console.print("\nTasks     the others, each fired for its own hour\n")
    console.print(overview(parts))
    for part in parts:
        console.print()
        for told in part.told:
            console.print(told, markup=False)


def _record_activity(moment: datetime) -> Part:
    summary = fire("record_activity", moment)
    day = (moment - timedelta(days=1)).date().isoformat()
    return Part(
        summaries=[summary], told=[f"Activity  {summary['total']} users are recorded in activity as active on {day}"]
    )


def _clean_up(engine: Engine, moment: datetime) -> Part:
    rehearsal = invoke("database_cleanup", {"scheduled_for": iso(moment), "dry_run": True})
    summary = fire("database_cleanup", moment)
    table = columns("rule", "keeps", "would go", "deleted", "left", numbers=("would go", "deleted", "left"))
    idle = []
    for rule in RULES:
        due, gone = rehearsal["rules"][rule.name]["skipped"], summary["rules"][rule.name]["succeeded"]
        if due != gone:
            raise ValueError(f"the dry run counted {due} of {rule.name}, and {gone} were deleted")
        if due == 0:
            idle.append(rule.name)
            continue
        with engine.connect() as connection:
            left = connection.execute(select(func.count()).select_from(rule.table)).scalar_one()
        keeps = f"{rule.keep.days} days" if rule.keep else "until they expire"
        table.add_row(rule.name, keeps, str(due), str(gone), str(left))
    told: list[RenderableType] = [
        "Cleanup   counted in a dry run, which changes nothing, and then deleted\n",
        table,
        f"\n          with users their sessions and tokens; nothing was due of {', '.join(idle)}",
    ]
    return Part(summaries=[summary], told=told)


def _report(aws: LocalAws, folder: Path, moment: datetime) -> Part:
    before = aws.sent_count()
    summary = fire("monthly_report", moment)
    drain(aws.client("sqs"), os.environ["WORK_QUEUE_URL"])
    mails = aws.sent_count() - before
    _fetch(aws, folder)
    months = json.loads((folder / "report.json").read_text(encoding="utf-8"))["months"]
    last, gaps = months[-1], sum(month["active_users"] is None for month in months)
    told = [
        f"Report    {Month.parse(last['month']).name}: {last['new_users']} new users, {last['new_posts']} new posts, "
        f"{last['active_users']} active users; {mails} mail{'' if mails == 1 else 's'} to administrators",
        f"          {len(months)} months are in it; for {gaps} it says that nobody recorded who was active",
        f"          {folder}/report.html, .csv and .json",
    ]
    return Part(summaries=[summary], told=told)


def _fetch(aws: LocalAws, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    s3 = aws.client("s3")
    for stored in s3.list_objects_v2(Bucket=BUCKET, Prefix="reports/")["Contents"]:
        content = s3.get_object(Bucket=BUCKET, Key=stored["Key"])["Body"].read()
        (folder / stored["Key"].rpartition("/")[2]).write_bytes(content)


def report_fire(moment: datetime) -> datetime:
    """Return the latest fire of the report that is not after `moment`."""
    first = moment.replace(day=1, hour=REPORT_HOUR, minute=0)
    return first if first <= moment else (first - timedelta(days=1)).replace(day=1)


def _warm(folder: Path, moment: datetime) -> Part:
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        try:
            # Always the demo's own: made-up posts have no place in a cache that an application reads.
            url = stack.enter_context(redis_server(folder.resolve()))
        except NotInstalledError as error:
            with changed(REDIS_URL=""):
                summary = fire("cache_warming", moment)
            return Part(summaries=[summary], told=[f"Cache     not warmed, for want of a Redis: {error}"])
        with changed(REDIS_URL=url, REDIS_PASSWORD=""), Redis.from_url(url) as redis:
            summary = fire("cache_warming", moment)
            return Part(summaries=[summary], told=_cached(redis))


def _cached(redis: Any) -> list[str]:
    values = cache_warming.read(redis, "popular_posts", "active_users")
    if values is None:
        raise ValueError("the cache is cold although it was warmed")
    minutes = redis.ttl(cache_warming.CURRENT) / 60
    return [
        f"Cache     {{cache}}:current is version {redis.get(cache_warming.CURRENT).decode()}",
        f"          {{cache}}:popular_posts:<version> has {len(values['popular_posts']['value'])} posts, "
        f"{{cache}}:active_users:<version> says {values['active_users']['value']}",
        f"          for {minutes:.0f} minutes, in a Redis of the demo's own, which is gone by now",
    ]


def _hear_back(aws: LocalAws) -> Part:
    readers = [mail.recipient for mail in aws.sent()[:1]]
    bounce = {
        "eventType": "Bounce",
        "mail": {"messageId": "the first mail of the digest", "destination": readers},
        "bounce": {"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": reader} for reader in readers]},
    }
    summaries = [invoke("mail_feedback", sns_event(json.dumps(bounce))) for _ in range(2)]
    names = mask_addresses(", ".join(readers)) or "nobody"
    line = f"Feedback  SES told twice that the mail to {names} bounced; it is recorded once, and no more go there"
    return Part(summaries=summaries, told=[line])
