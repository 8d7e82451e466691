"""The daily digest: yesterday's posts, to every user who wants them. This run lists the users; the worker sends."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from chalicelib.api import Context, Counts, OutOfTimeError, Run, logger, save_checkpoint, task
from chalicelib.application import posts
from chalicelib.core.database import insert_missing
from chalicelib.mail.ledger import Deliveries
from chalicelib.mail.letter import Composition, compose, from_json
from chalicelib.mail.settings import MailSettings
from chalicelib.queue.message import Message
from chalicelib.queue.services import queues
from chalicelib.schedule.schedule import Window, window_before
from chalicelib.schema import digests

CHUNK = 1000
RECIPIENTS_PER_MESSAGE = 100


@task
def daily_digest(context: Context, run: Run) -> Counts:
    """Create a delivery for each recipient, and queue messages for those that are pending.

    Counts are recipients: succeeded were queued, skipped had been sent to before.
    """
    window = window_before(run.scheduled_for, context.settings(MailSettings).digest_zone)
    deliveries = Deliveries(context.database, context.clock, day=window.day.isoformat())
    if run.dry_run:
        return _dry_run(context, window, deliveries)
    if _prepare(context, window) == 0:
        return Counts()
    after, counts = _read_checkpoint(run)
    while chunk := deliveries.next_users(after=after, limit=CHUNK):
        if context.is_out_of_time():
            raise OutOfTimeError(f"{counts.total} recipients are done; the run continues with the rest")
        pending = deliveries.create(first=chunk[0], last=chunk[-1])
        queues(context).work.send(_messages(window.day.isoformat(), pending))
        logger.debug("recipients listed", extra={"first": chunk[0], "last": chunk[-1], "pending": len(pending)})
        after, counts = chunk[-1], counts + _count(chunk, pending)
        # After the sending: a crash in between repeats messages, which the ledger makes harmless.
        save_checkpoint(context, run, {"after": after, "counts": counts.as_dict()})
    return counts


def _dry_run(context: Context, window: Window, deliveries: Deliveries) -> Counts:
    post_count = context.database.autocommit(lambda connection: connection.execute(_post_count(window)).scalar_one())
    users = deliveries.count_users() if post_count else 0
    return Counts(total=users, skipped=users)


def _read_checkpoint(run: Run) -> tuple[str, Counts]:
    if run.checkpoint is None:
        return "", Counts()
    return str(run.checkpoint["after"]), Counts(**run.checkpoint["counts"])


def _messages(day: str, user_ids: list[str]) -> list[Message]:
    ranges = (user_ids[i : i + RECIPIENTS_PER_MESSAGE] for i in range(0, len(user_ids), RECIPIENTS_PER_MESSAGE))
    return [Message(type="send_digest", data={"day": day, "first": ids[0], "last": ids[-1]}) for ids in ranges]


def _count(chunk: list[str], pending: list[str]) -> Counts:
    total = max(len(chunk), len(pending))
    return Counts(total=total, succeeded=len(pending), skipped=total - len(pending))


def load_digest(context: Context, day: str) -> Composition | None:
    """Return the stored digest of a day, None if there is none."""
    query = select(digests.c.content).where(digests.c.day == day)
    stored = context.database.autocommit(lambda connection: connection.execute(query).scalar_one_or_none())
    return None if stored is None else from_json(stored)


def _prepare(context: Context, window: Window) -> int:
    """Compose and store the day's digest unless it is stored already, and return its number of posts.

    The first run of a day fixes the content, so that a late, repeated or continued run sends the same mail.
    Nothing is stored for a day without posts.
    """
    day = window.day.isoformat()

    def work(connection: Connection) -> int:
        stored = select(digests.c.post_count).where(digests.c.day == day)
        if (post_count := connection.execute(stored).scalar_one_or_none()) is not None:
            return int(post_count)
        count = connection.execute(_post_count(window)).scalar_one()
        if count:
            newest = connection.execute(_newest_posts(window, context.settings(MailSettings).digest_max_posts)).all()
            composition = _compose(newest, count, window.day, context.settings(MailSettings))
            connection.execute(
                insert_missing(digests, connection.dialect).values(
                    day=day,
                    subject=composition.subject,
                    content=composition.to_json(),
                    post_count=count,
                    created_at=context.clock.now_ms(),
                )
            )
        return count

    return context.database.transact(work)


def _post_count(window: Window) -> Select[int]:
    return select(func.count()).select_from(posts).where(*_within(window))


def _newest_posts(window: Window, limit: int) -> Select[Any]:
    return (
        select(posts.c.id, posts.c.title, posts.c.url, posts.c.author, posts.c.points, posts.c.comments)
        .where(*_within(window))
        .order_by(posts.c.created_at.desc(), posts.c.id.desc())
        .limit(limit)
    )


def _within(window: Window) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return posts.c.created_at >= window.start_ms, posts.c.created_at < window.end_ms


def _compose(newest: Sequence[Any], count: int, day: date, settings: MailSettings) -> Composition:
    entries = [
        {
            "title": post.title,
            "link": post.url or f"{settings.site_url.rstrip('/')}/posts/{post.id}",
            "author": post.author,
            "points": post.points,
            "comments": post.comments,
        }
        for post in newest
    ]
    day_text = f"{day:%A}, {day.day} {day:%B %Y}"
    return compose(
        "digest",
        subject=f"{settings.site_name}: {count} {'post' if count == 1 else 'posts'} from {day_text}",
        content={
            "site_name": settings.site_name,
            "site_url": settings.site_url,
            "day": day_text,
            "posts": entries,
            "count": count,
            "more": count - len(entries),
        },
    )
