"""Items that were refused: each once, with the reason, until it is valid or is there no more."""

from collections.abc import Collection, Sequence
from hashlib import sha256

from sqlalchemy import Connection, Dialect, Insert, delete, select
from sqlalchemy.dialects import mysql

from chalicelib.schema import quarantine
from chalicelib.tasks.external_sync.items import Refused

# What a person needs in order to see what is wrong with it.
MAX_DATA = 10_000
MAX_REASON = 500
# Of one that a source, of which no read is complete, shows no more.
KEPT_MS = 30 * 24 * 3_600_000


def refused_ids(connection: Connection, *, source: str) -> set[str]:
    """Return the ids of the source's items that are in quarantine."""
    query = select(quarantine.c.external_id).where(quarantine.c.source == source, quarantine.c.external_id.is_not(None))
    return set(connection.execute(query).scalars())


def put(connection: Connection, refused: Sequence[Refused], *, source: str, now_ms: int) -> None:
    """Put items in quarantine, each in place of what there was of its id."""
    by_digest = {digest_of(item, source=source): item for item in refused}
    if not by_digest:
        return
    clear(connection, {item.id for item in refused if item.id is not None}, source=source)
    values = [
        {
            "digest": digest,
            "source": source,
            "external_id": item.id,
            "reason": item.reason[:MAX_REASON],
            "data": item.raw[:MAX_DATA].decode("utf-8", "backslashreplace"),
            "seen_at": now_ms,
        }
        for digest, item in by_digest.items()
    ]
    connection.execute(_upsert(connection.dialect), values)


def clear(connection: Connection, ids: Collection[str], *, source: str) -> None:
    """Take items out that are valid by now."""
    if ids:
        connection.execute(
            delete(quarantine).where(quarantine.c.source == source, quarantine.c.external_id.in_(list(ids)))
        )


def expire(connection: Connection, *, source: str, before_ms: int) -> None:
    """Take out what was not seen since."""
    connection.execute(delete(quarantine).where(quarantine.c.source == source, quarantine.c.seen_at < before_ms))


def digest_of(item: Refused, *, source: str) -> str:
    """Return what tells a refused item from any other."""
    return sha256(source.encode() + b"\0" + item.raw).hexdigest()


def _upsert(dialect: Dialect) -> Insert:
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        into = sqlite.insert(quarantine)
        new = {name: into.excluded[name] for name in ("reason", "seen_at")}
        return into.on_conflict_do_update(index_elements=[quarantine.c.digest], set_=new)
    statement = mysql.insert(quarantine)
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in ("reason", "seen_at")})
