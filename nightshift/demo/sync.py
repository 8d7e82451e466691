"""The demo's external sync: a local API, read twice."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from sqlalchemy import Engine, select

from chalicelib.schema import external_data, quarantine
from chalicelib.tasks.external_sync import sources
from chalicelib.tasks.external_sync.sources import Source
from nightshift.cli.output import plain
from nightshift.demo.blog import make_posts
from nightshift.demo.section import Section, columns, fire
from nightshift.demo.upstream import Items, Upstream, upstream
from nightshift.local.environment import changed

QUARTER = timedelta(minutes=15)
BOOKMARKS = 90
# By source.
PATHS = {"default": "/bookmarks", "tides": "/tides"}
NUMBERS = ("requests", "429", "304", "written", "unchanged", "quarantined")

Rows = dict[tuple[str, str], int]


def sync_twice(engine: Engine, moment: datetime, *, seed: int) -> Section:
    """Fire the sync twice, 15 minutes apart, without changes in between. Raises ValueError if the second writes."""
    table = columns("sync", "source", *NUMBERS, numbers=NUMBERS)
    lists = {PATHS["default"]: _bookmarks(seed), PATHS["tides"]: _tides(moment)}
    with upstream(lists) as api, _sources(api):
        first = fire("external_sync", moment - QUARTER)
        before = _rows(engine)
        _add(table, "first", api, before={}, after=before, quarantined=_quarantined(engine))
        api.answered.clear()
        second = fire("external_sync", moment)
        after = _rows(engine)
        _add(table, "second", api, before=before, after=after, quarantined=_quarantined(engine))
    if rewritten := len(after.items() - before.items()):
        raise ValueError(f"the second sync rewrote {rewritten} items; it must rewrite none")
    lines: list[RenderableType] = [
        "Sync      an API that throttles: the source default has pages with Link headers, tides has an ETag\n",
        table,
        f"\n          {len(after)} items are in external_data; the second sync rewrote none",
        *(f"          {plain(item.data)[:60]} is in quarantine: {item.reason}" for item in _quarantined(engine)),
    ]
    return Section(summaries=[first, second], lines=lines)


@contextmanager
def _sources(api: Upstream) -> Iterator[None]:
    """Replace the project's sources by one from settings, and one from code."""
    settings = {
        "EXTERNAL_SYNC_URL": api.url(PATHS["default"]),
        "EXTERNAL_SYNC_PAGES": "link",
        "EXTERNAL_SYNC_TOKEN": "",
        "EXTERNAL_SYNC_HOSTS_ALLOWED": "127.0.0.1",
    }
    own = sources.SOURCES
    sources.SOURCES = (Source(name="tides", url=api.url(PATHS["tides"]), id_field="day", is_internal=True),)
    try:
        with changed(**settings):
            yield
    finally:
        sources.SOURCES = own


def _bookmarks(seed: int) -> Items:
    until = datetime(2016, 8, 4, tzinfo=UTC)
    found: list[dict[str, Any]] = list(make_posts(BOOKMARKS, until=until, days=30, seed=seed + 1))
    # Without an id, it cannot be stored.
    return [*found[:40], {"title": "A draft without an id"}, *found[40:]]


def _tides(moment: datetime) -> Items:
    # High water is fifty minutes later every day.
    waters = [moment + n * timedelta(days=1, minutes=50) for n in range(14)]
    return [{"day": f"{water:%Y-%m-%d}", "high_water": f"{water:%H:%M}"} for water in waters]


def _rows(engine: Engine) -> Rows:
    query = select(external_data.c.source, external_data.c.external_id, external_data.c.synced_at)
    with engine.connect() as connection:
        return {(row.source, row.external_id): row.synced_at for row in connection.execute(query)}


def _quarantined(engine: Engine) -> list[Any]:
    query = select(quarantine.c.source, quarantine.c.reason, quarantine.c.data)
    with engine.connect() as connection:
        return list(connection.execute(query))


def _add(table: Table, name: str, api: Upstream, *, before: Rows, after: Rows, quarantined: list[Any]) -> None:
    for source, path in PATHS.items():
        answers = {status: count for (asked, status), count in api.answered.items() if asked == path}
        items = [key for key in after if key[0] == source]
        unchanged = sum(before.get(key) == after[key] for key in items)
        numbers = [
            sum(answers.values()),
            answers.get(429, 0),
            answers.get(304, 0),
            len(items) - unchanged,
            unchanged,
            sum(item.source == source for item in quarantined),
        ]
        table.add_row(name, source, *map(str, numbers))
