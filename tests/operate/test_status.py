"""The status as an operator asks for it: as JSON, and as a page behind a link that soon leads nowhere."""

import json
import urllib.request
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import insert

from app import PARTS
from chalicelib.core.errors import InvalidRequestError, TransientError
from chalicelib.operate import operate
from chalicelib.operate.status.status import read
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import jobs
from nightshift.cli.status import read_status
from tests.world import MORNING, World

PLANNED = {"daily_digest": Schedule("0 8 * * *"), "external_sync": Schedule("every 15 minutes")}


def ask(world: World, command: str, **request: Any) -> dict[str, Any]:
    """Ask, with the answer through JSON as on Lambda."""
    answer: dict[str, Any] = json.loads(
        json.dumps(operate({"command": command, **request}, world.context(), PLANNED, PARTS))
    )
    return answer


def give_up(world: World, **changed: Any) -> None:
    row = {"id": "dead", "type": "send_email", "data": "{}", "status": "dead", "created_at": 1, "ended_at": 1000}
    world.execute(insert(jobs).values(**row | changed))


def test_the_status_is_json_that_reads_back_as_what_it_was(world: World) -> None:
    world.fire()
    give_up(world, last_error="no such address")
    answer = ask(world, "status")
    assert read_status(answer) == read(world.context(), PLANNED, PARTS)
    assert "sections" not in answer
    assert answer["is_well"] is False
    assert answer["headline"] == "Not well: 1 job was given up."
    assert answer["read_at"] == "2016-08-04T08:00:00Z"
    digest, _ = answer["tasks"]
    assert digest["days"][-1] == {"date": "2016-08-04", "status": "succeeded", "counts": {"succeeded": 1}}
    assert (digest["latest"]["status"], digest["fires"][0]) == ("succeeded", "2016-08-05T08:00:00Z")
    assert answer["queue"]["dead"][0]["error"] == "no such address"


def test_a_moment_within_a_second_is_told_to_the_second(world: World) -> None:
    world.clock.advance(0.999)
    world.fire()
    started_at = ask(world, "status")["tasks"][0]["latest"]["started_at"]
    assert started_at == "2016-08-04T08:00:00Z"


def test_the_page_is_stored_and_its_link_opens_it(world: World) -> None:
    give_up(world, last_error="<script>alert(1)</script>")
    answer = ask(world, "status.page")
    assert (answer["is_well"], answer["headline"]) == (False, "Not well: 1 job was given up.")
    with urllib.request.urlopen(answer["link"]) as response:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        source = response.read().decode()
    assert "Not well: 1 job was given up." in source
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    assert "<script" not in source


def test_a_link_lasts_a_quarter_of_an_hour(world: World) -> None:
    answer = ask(world, "status.page")
    assert answer["seconds"] == 900
    asked = parse_qs(urlsplit(answer["link"]).query)
    assert asked["X-Amz-Expires"] == ["900"]
    assert urlsplit(answer["link"]).path.endswith("/status/index.html")


def test_a_page_is_of_the_moment_in_which_it_is_asked_for(world: World) -> None:
    first = ask(world, "status.page")
    give_up(world)
    world.clock.advance(timedelta(hours=1).total_seconds())
    ask(world, "status.page")
    with urllib.request.urlopen(first["link"]) as response:
        source = response.read().decode()
    assert "1 job was given up" in source
    assert f"{MORNING:%B} 2016, 09:00:00 UTC" in source


def test_where_the_bucket_is_away_a_sentence_says_so(world: World) -> None:
    world.configure(bucket="nobodys")
    with pytest.raises(TransientError, match=r"status/index.html cannot be stored: .*does not exist"):
        ask(world, "status.page")


@pytest.mark.parametrize("command", ["status", "status.page"])
def test_the_status_takes_no_wishes(world: World, command: str) -> None:
    with pytest.raises(InvalidRequestError, match="Object contains unknown field `days`"):
        ask(world, command, days=90)
