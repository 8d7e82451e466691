"""The watch stores the page of the status, and looks after every fire whether or not it can."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert

import app
from chalicelib.core.errors import RunFailedError
from chalicelib.operate.status import status
from chalicelib.operate.status.page import KEY
from chalicelib.operate.watch import watch
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import jobs
from tests.world import World

Log = Callable[[], list[dict[str, Any]]]
NOT_STORED = "status page not stored"


def page(world: World) -> str:
    """Return the page that lies in the bucket."""
    return b"".join(world.context().store.read(KEY)).decode()


def not_stored(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("message") == NOT_STORED]


def test_each_watch_stores_the_page_as_it_is_then(world: World) -> None:
    assert watch(world.context(), app.app.schedules, app.PARTS)["outcome"] == "succeeded"
    assert "Nothing has run yet, and nothing is wrong." in page(world)
    world.clock.advance(timedelta(minutes=5).total_seconds())
    dead = {"id": "dead", "type": "send_email", "data": "{}", "status": "dead", "created_at": 1, "ended_at": 1000}
    world.execute(insert(jobs).values(**dead))
    watch(world.context(), app.app.schedules, app.PARTS)
    assert "Not well: 1 job was given up." in page(world)
    assert "As of 4 August 2016, 08:05:00 UTC." in page(world)


def test_storing_the_page_is_no_run_and_so_never_what_is_not_well(world: World) -> None:
    watch(world.context(), app.app.schedules, app.PARTS)
    world.configure(bucket="nobodys")
    watch(world.context(), app.app.schedules, app.PARTS)
    assert status.read(world.context(), app.app.schedules, app.PARTS).findings == ()


def test_where_the_page_cannot_be_stored_the_watch_says_so_and_has_looked_after_every_fire(
    world: World, log: Log
) -> None:
    watch(world.context(), app.app.schedules, app.PARTS)
    before = page(world)
    bucket = world.environment["BUCKET"]
    world.configure(bucket="nobodys")
    log()
    assert watch(world.context(), app.app.schedules, app.PARTS)["outcome"] == "succeeded"
    (line,) = not_stored(log())
    assert line["level"] == "ERROR"
    assert "status/index.html cannot be stored" in line["exception"]
    world.configure(bucket=bucket)
    assert page(world) == before


def test_a_watch_that_fails_stores_the_page_all_the_same(world: World) -> None:
    with pytest.raises(RunFailedError, match="could not check nowhere"):
        watch(world.context(), {"nowhere": Schedule("@daily"), **app.app.schedules}, app.PARTS)
    assert "As of 4 August 2016, 08:00:00 UTC." in page(world)
