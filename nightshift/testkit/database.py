"""Migrated databases for tests: of SQLite's, one is made in a process, and every other is a copy of it."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool

from chalicelib import migrations


def migrate(engine: Engine) -> None:
    """Bring a database to the newest schema; where it is a file that is not there, make it."""
    name = engine.url.database
    if engine.dialect.name == "sqlite" and name and not Path(name).exists():
        Path(name).write_bytes(empty_file())
    else:
        migrations.upgrade(engine)


@cache
def empty_file() -> bytes:
    """Return the content of an SQLite file that has the newest schema and no row."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "empty.db")
        migrations.upgrade(create_engine(f"sqlite:///{path}", poolclass=NullPool))
        return path.read_bytes()
