"""Databases of applications that were there before Nightshift."""

from sqlalchemy import Engine, text

from chalicelib.core.engine import engine_for

# As an application has it that follows the guide.
GUIDE_JOBS = (
    "CREATE TABLE jobs (id CHAR(36) PRIMARY KEY, type VARCHAR(64) NOT NULL, data TEXT NOT NULL,"
    " status VARCHAR(16) NOT NULL, created_at BIGINT NOT NULL, completed_at BIGINT)"
)


def fresh(url: str, *statements: str) -> Engine:
    """Return an engine on a database that holds what the statements make."""
    server = engine_for(url)
    with server.begin() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS theirs"))
        connection.execute(text("CREATE DATABASE theirs"))
    engine = engine_for(server.url.set(database="theirs").render_as_string(hide_password=False))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    return engine
