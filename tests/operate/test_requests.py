"""What an operator asks wrongly is refused with one sentence that names it, and changes nothing."""

from typing import Any

import pytest

from tests.operate.conftest import Desk

STATUSES = "pending, claimed, processing, completed, failed, dead, cancelled, expired, all"


@pytest.mark.parametrize(
    ("command", "request_", "sentence"),
    [
        ("list", {"colour": "red"}, "Object contains unknown field `colour`"),
        ("list", {"status": "lost"}, f"status must be one of {STATUSES}"),
        ("list", {"status": ""}, f"status must be one of {STATUSES}"),
        ("list", {"status": None}, "Expected `str`, got `null` - at `$.status`"),
        ("list", {"limit": 0}, "Expected `int` >= 1 - at `$.limit`"),
        ("list", {"limit": 1001}, "Expected `int` <= 1000 - at `$.limit`"),
        ("list", {"limit": "5"}, "Expected `int`, got `str` - at `$.limit`"),
        ("list", {"limit": True}, "Expected `int`, got `bool` - at `$.limit`"),
        ("list", {"limit": None}, "Expected `int`, got `null` - at `$.limit`"),
        ("list", {"ids": "one"}, "Expected `array`, got `str` - at `$.ids`"),
        ("list", {"ids": None}, "Expected `array`, got `null` - at `$.ids`"),
        ("list", {"ids": ["one", 2]}, "Expected `str`, got `int` - at `$.ids[1]`"),
        ("list", {"ids": ["one"] * 1001}, "Expected `array` of length <= 1000 - at `$.ids`"),
        ("list", {"type": 7}, "Expected `str | null`, got `int` - at `$.type`"),
        ("list", {"error": ["broke"]}, "Expected `str | null`, got `array` - at `$.error`"),
        # Of a shell's variable that was never set: it must not stand for every job.
        ("retry", {"type": "", "error": "broke"}, "Expected `str` of length >= 1 - at `$.type`"),
        ("forget", {"type": "greet", "error": ""}, "Expected `str` of length >= 1 - at `$.error`"),
        ("retry", {"type": "greet", "limit": 0}, "Expected `int` >= 1 - at `$.limit`"),
        ("show", {}, "Object missing required field `id`"),
        ("show", {"id": None}, "Expected `str`, got `null` - at `$.id`"),
        ("show", {"id": 7}, "Expected `str`, got `int` - at `$.id`"),
        ("show", {"id": "one", "ids": []}, "Object contains unknown field `ids`"),
        ("cancel", {"id": ["one"]}, "Expected `str`, got `array` - at `$.id`"),
        ("edit", {"id": "one"}, "Object missing required field `data`"),
        ("edit", {"id": "one", "data": None}, "Expected `object`, got `null` - at `$.data`"),
        ("edit", {"id": "one", "data": "{}"}, "Expected `object`, got `str` - at `$.data`"),
        ("edit", {"id": "one", "data": [1]}, "Expected `object`, got `array` - at `$.data`"),
        ("edit", {"id": "one", "data": {}, "type": ""}, "Expected `str` of length >= 1 - at `$.type`"),
        ("edit", {"data": {}}, "Object missing required field `id`"),
        ("redrive", {"ids": ["one"]}, "Object contains unknown field `ids`"),
        ("pause", {"type": "greet"}, "Object missing required field `reason`"),
        ("pause", {"type": "greet", "reason": ""}, "Expected `str` of length >= 1 - at `$.reason`"),
        ("pause", {"type": "greet", "reason": "x" * 501}, "Expected `str` of length <= 500 - at `$.reason`"),
        ("pause", {"type": None, "reason": "x"}, "Expected `str`, got `null` - at `$.type`"),
        ("resume", {}, "Object missing required field `type`"),
        ("resume", {"type": "greet", "reason": "x"}, "Object contains unknown field `reason`"),
    ],
)
def test_a_wrong_request_is_refused_with_its_field(
    desk: Desk, command: str, request_: dict[str, Any], sentence: str
) -> None:
    desk.give_up()
    assert desk.refusal(command, **request_) == f"the request jobs {command} is not valid: {sentence}"


@pytest.mark.parametrize("command", ["", "lists", "delete", "list ", "LIST"])
def test_a_command_that_there_is_not_is_refused_with_those_that_there_are(desk: Desk, command: str) -> None:
    sentence = desk.refusal(command)
    for known in ("jobs.list", "jobs.show", "jobs.retry", "jobs.edit", "jobs.forget", "jobs.cancel", "jobs.redrive"):
        assert known in sentence


@pytest.mark.parametrize("command", ["show", "edit", "cancel"])
@pytest.mark.parametrize("id_", ["nobody", "", "%", "x' OR '1'='1", "bücher", "😀"])
def test_an_id_that_no_job_has_is_refused_by_name(desk: Desk, command: str, id_: str) -> None:
    desk.give_up()
    data: dict[str, Any] = {"data": {"name": "Ann"}} if command == "edit" else {}
    assert desk.refusal(command, id=id_, **data) == f"there is no job with the id {id_}"


@pytest.mark.parametrize("command", ["show", "edit", "cancel"])
@pytest.mark.parametrize("spelling", ["ABC", "abc ", "äbc"])
def test_another_spelling_of_an_id_is_another_id(desk: Desk, command: str, spelling: str) -> None:
    # The database's collation may see no difference, but the job's dead letter and its records bear the one id.
    desk.insert(id="abc")
    data: dict[str, Any] = {"data": {"name": "Bob"}} if command == "edit" else {}
    assert desk.refusal(command, id=spelling, **data) == f"there is no job with the id {spelling}"


def test_the_refusal_of_a_long_id_is_short(desk: Desk) -> None:
    assert len(desk.refusal("show", id="x" * 100_000)) < 120
