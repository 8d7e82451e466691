"""Every statement that a page shows is one that our tables understand."""

import re

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.docs.pages import PAGES, blocks
from tests.servers import on_each_server

STATEMENT = re.compile(r"(?:SELECT .+ FROM|DELETE FROM|INSERT INTO|UPDATE \w+ SET|CREATE INDEX) .+", re.DOTALL)


def statements() -> list[tuple[str, str]]:
    """Return each statement of a block or a sentence, with the page that it is on."""
    of_blocks = [(block.page, part) for block in blocks("sql") for part in block.text.split(";") if part.strip()]
    return of_blocks + [(page.name, code) for page in PAGES for code in page.code if STATEMENT.fullmatch(code)]


def test_blocks_and_sentences_are_looked_through() -> None:
    assert {page for page, _ in statements()} >= {
        "docs/cache_warming.md",
        "docs/daily_digest.md",
        "docs/external_sync.md",
        "docs/mail_feedback.md",
        "docs/monthly_report.md",
        "docs/queue.md",
    }


@pytest.mark.parametrize(("page", "statement"), statements())
@on_each_server
def test_each_statement_runs_on_our_tables(page: str, statement: str, database_url: str) -> None:
    engine = create_engine(database_url, poolclass=NullPool)
    with engine.connect() as connection:
        # Colons would be parameters.
        connection.execute(text(statement.replace(":", r"\:")))
        connection.rollback()
        for index in re.findall(r"CREATE INDEX (\w+ ON \w+)", statement):
            connection.execute(text(f"DROP INDEX {index}"))
