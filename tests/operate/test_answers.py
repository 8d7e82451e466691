"""An answer is no longer than Lambda allows, and says what was cut."""

import json
from typing import Any

import pytest
from sqlalchemy import insert

import app
from chalicelib.operate.answers import fit
from chalicelib.schema import jobs
from nightshift.local.invocation import LocalContext
from tests.operate.conftest import Desk
from tests.world import World

LAMBDA_BYTES = 6 * 1024 * 1024
MOST = 2_000


def test_a_short_answer_stays_as_it_is() -> None:
    answer = {"jobs": [1, 2], "next": None}
    assert fit(answer, most=MOST) == answer


@pytest.mark.parametrize(
    ("part", "kept", "note"),
    [
        ("x" * 3_000, str, "characters"),
        ("😀" * 400, str, "characters"),
        ('"' * 1_500, str, "characters"),
        ([{"id": n} for n in range(500)], list, "entries"),
        ({"key": ["value"] * 500}, str, "characters"),
    ],
)
def test_the_longest_part_loses_its_end(part: Any, kept: Any, note: str) -> None:
    found: dict[str, Any] = fit({"id": "a", "short": "y" * 500, "data": part}, most=MOST)
    told, whole = found.pop("truncated"), json.dumps(part) if isinstance(part, dict) else part
    assert MOST - 50 <= len(json.dumps(found)) <= MOST
    assert (found["id"], found["short"]) == ("a", "y" * 500)
    count = len(found["data"])
    assert found["data"] == whole[:count]
    assert type(whole) is kept
    assert told == (
        f"the answer is longer than Lambda allows and was cut: of data the first {count:,} of {len(whole):,} {note}"
    )


def test_as_many_parts_are_cut_as_it_takes() -> None:
    found = fit({"data": "x" * 3_000, "error": "y" * 2_500}, most=MOST)
    assert len(json.dumps({"data": found["data"], "error": found["error"]})) <= MOST
    assert "of data the first 0 of 3,000 characters; of error the first" in found["truncated"]


def operate(world: World, function: str, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = getattr(app, function)(request, LocalContext(function_name=function, clock=world.clock))
    assert len(json.dumps(answer)) < LAMBDA_BYTES
    return answer


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("function", ["operate", "look"])
def test_a_job_with_more_data_than_lambda_returns_is_shown_in_part(world: World, function: str) -> None:
    text = "€" * 2_000_000
    row = {"id": "large", "type": "send_email", "data": json.dumps({"text": text}), "created_at": 0}
    world.execute(insert(jobs).values(**row))
    found = operate(world, function, command="jobs.show", id="large")
    assert found["id"] == "large"
    assert found["data"].startswith('{"text": "€€€')
    assert "of data the first" in found["truncated"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_list_that_is_too_long_goes_on_in_the_next_answer(desk: Desk) -> None:
    letters = "😀" * 2_000
    for n in range(1_000):
        desk.insert(id=f"job{n:04}", created_at=n, status="dead", last_error=letters, idempotency_key=letters[:250])
    ids, after, answers = [], None, 0
    while True:
        found = desk.ask("list", limit=1_000, after=after)
        ids += [job["id"] for job in found["jobs"]]
        answers += 1
        if (after := found.get("next")) is None:
            break
        assert len(json.dumps(found)) < LAMBDA_BYTES
    assert ids == [f"job{n:04}" for n in reversed(range(1_000))]
    assert answers > 2
