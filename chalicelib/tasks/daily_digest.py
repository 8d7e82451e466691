"""The daily digest: yesterday's posts, to every user who wants them. This run lists the users; the worker sends."""

from sqlalchemy import ColumnElement, Connection, func, select

from chalicelib.api import Context, Counts, OutOfTimeError, Run, Skipped, logger, save_checkpoint, task
from chalicelib.application import posts, users
from chalicelib.columns import is_absent
from chalicelib.core.database import insert_missing
from chalicelib.core.mapping import require_mapping
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
    if is_absent(posts):
        raise Skipped("application.py maps no table of posts, so there is nothing to send")
    settings, database = context.settings(MailSettings), context.database
    require_mapping(database.engine, users, posts)
    window = window_before(run.scheduled_for, settings.digest_zone)
    day = window.day.isoformat()
    deliveries = Deliveries(database, context.clock, day=day)
    if run.dry_run:
        readers = deliveries.count_users() if database.autocommit(lambda each: count_posts(each, window)) else 0
        return Counts(total=readers, skipped=readers)
    if database.transact(lambda each: _prepare(each, window, settings, now_ms=context.clock.now_ms())) == 0:
        return Counts()
    saved = run.checkpoint or {"after": "", "counts": {}}
    after, counts = str(saved["after"]), Counts(**saved["counts"])
    while chunk := deliveries.next_users(after=after, limit=CHUNK):
        if context.is_out_of_time():
            raise OutOfTimeError(f"{counts.total} recipients are done; the run continues with the rest")
        pending = deliveries.create(first=chunk[0], last=chunk[-1])
        ranges = (pending[i : i + RECIPIENTS_PER_MESSAGE] for i in range(0, len(pending), RECIPIENTS_PER_MESSAGE))
        messages = [Message(type="send_digest", data={"day": day, "first": ids[0], "last": ids[-1]}) for ids in ranges]
        queues(context).work.send(messages)
        logger.debug("recipients listed", extra={"first": chunk[0], "last": chunk[-1], "pending": len(pending)})
        total = max(len(chunk), len(pending))
        after = chunk[-1]
        counts += Counts(total=total, succeeded=len(pending), skipped=total - len(pending))
        # After the sending: a crash in between repeats messages, which the ledger makes harmless.
        save_checkpoint(context, run, {"after": after, "counts": counts.as_dict()})
    return counts


def load_digest(context: Context, day: str) -> Composition | None:
    """Return the stored digest of a day, None if there is none."""
    query = select(digests.c.content).where(digests.c.day == day)
    stored = context.database.autocommit(lambda connection: connection.execute(query).scalar_one_or_none())
    return None if stored is None else from_json(stored)


def _prepare(connection: Connection, window: Window, settings: MailSettings, *, now_ms: int) -> int:
    """Compose and store the day's digest unless it is stored already, and return its number of posts.

    The first run of a day fixes the content, so that a late, repeated or continued run sends the same mail.
    Nothing is stored for a day without posts.
    """
    day = window.day.isoformat()
    stored = select(digests.c.post_count).where(digests.c.day == day)
    if (post_count := connection.execute(stored).scalar_one_or_none()) is not None:
        return int(post_count)
    count = count_posts(connection, window)
    if count:
        composition = _compose(connection, window, count, settings)
        values = {"day": day, "subject": composition.subject, "content": composition.to_json(), "post_count": count}
        connection.execute(insert_missing(digests, connection.dialect).values(**values, created_at=now_ms))
    return count


def count_posts(connection: Connection, window: Window) -> int:
    """Return how many posts the digest of a window has."""
    return connection.execute(select(func.count()).select_from(posts).where(*_within(window))).scalar_one()


def _within(window: Window) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return posts.c.created_at >= window.start_ms, posts.c.created_at < window.end_ms


def _compose(connection: Connection, window: Window, count: int, settings: MailSettings) -> Composition:
    columns = (posts.c.id, posts.c.title, posts.c.url, posts.c.author, posts.c.points, posts.c.comments)
    newest = select(*columns).where(*_within(window)).order_by(posts.c.created_at.desc(), posts.c.id.desc())
    entries = [
        {
            "title": post.title,
            "link": post.url or f"{settings.site_url.rstrip('/')}/posts/{post.id}",
            "author": post.author,
            "points": post.points,
            "comments": post.comments,
        }
        for post in connection.execute(newest.limit(settings.digest_max_posts))
    ]
    day = window.day
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
