"""Migrated databases for tests: of SQLite's, one is made in a process, and every other is a copy of it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from chalicelib import migrations
from chalicelib.engine import engine_for


def migrate(database_url: str, *, ca: str | None = None) -> None:
    """Bring a database to the newest schema; where it is a file that is not there, make it.

    `ca` is as of DATABASE_CA.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        Path(url.database).write_bytes(empty_file())
    else:
        migrations.upgrade(engine_for(database_url, ca=ca))


@cache
def empty_file() -> bytes:
    """Return the content of an SQLite file that has the newest schema and no row."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "empty.db")
        migrations.upgrade(create_engine(f"sqlite:///{path}", poolclass=NullPool))
        return path.read_bytes()
