"""What the sync refuses, keeps of an item, and takes for newer."""

import json
import sys
from typing import Any

import msgspec
import pytest

from chalicelib.schema import quarantine
from tests.tasks.external_sync.deployment import ITEMS, Deployment, fails, tally
from tests.tasks.external_sync.upstream import Reply

BAD_ITEMS = {
    b'{"title": "none"}': "its id is missing",
    b'{"id": null}': "its id is neither text nor a whole number",
    b'{"id": ["x"]}': "its id is neither text nor a whole number",
    b'{"id": 1.5}': "its id is neither text nor a whole number",
    b'{"id": true}': "its id is neither text nor a whole number",
    b'{"id": ""}': "its id has 0 characters",
    b'{"id": "%b"}' % (b"x" * 256): "its id has 256 characters",
    b'"text"': "it is not a valid JSON object",
    b"17": "it is not a valid JSON object",
    b"null": "it is not a valid JSON object",
    b"[]": "it is not a valid JSON object",
    b'{"id": "nan", "x": NaN}': "it is not a valid JSON object",
    b'{"id": "inf", "x": [-Infinity]}': "it is not a valid JSON object",
    b'{"id": "\\ud800"}': "it is not a valid JSON object: it has half of a surrogate pair",
    b'{"id": "\\udc00"}': "it is not a valid JSON object: it has half of a surrogate pair",
    b'{"id": %b}' % (b"9" * 5000): "it is not a valid JSON object: it has an integer of too many digits",
    b'{"id": "s", "x": "\\ud83d"}': "it is not a valid JSON object",
    b'{"id": "utf", "x": "\xed\xa0\x80"}': "'utf-8' codec can't decode",
    b'{"id": "latin", "x": "\xfc"}': "'utf-8' codec can't decode",
    b'{"id": "zero", "x": 01}': "it is not a valid JSON object",
    b'{"id": "big", "x": "%b"}' % (b"x" * 1024 * 1024): "1,048,576 are allowed",
    b'{"id": "late", "at": "soon"}': "its at is not a timestamp",
    b'{"id": "far", "at": "9999-12-31T23:59:59-23:00"}': "its at is not a timestamp",
    b'{"id": "number", "at": 5}': "its at is not a timestamp",
}
if sys.version_info < (3, 14):
    # From 3.14 on, the interpreter's stack is deep enough for all that an item may be long.
    BAD_ITEMS[b'{"id": "deep", "x": %b1%b}' % (b"[" * 100_000, b"]" * 100_000)] = "it is not a valid JSON object"


@pytest.mark.parametrize("bad", BAD_ITEMS)
def test_invalid_item_is_quarantined_and_does_not_stop_others(lite: Deployment, bad: bytes) -> None:
    lite.declare(changed_field="at")
    lite.upstream.always(Reply(body=b'[{"id": "first"}, %b, {"id": "last"}]' % bad))
    assert tally(lite.fire()) == (3, 2, 0, 1)
    assert list(lite.data()) == ["first", "last"]
    (refused,) = lite.rows(quarantine)
    assert BAD_ITEMS[bad] in refused.reason
    assert refused.data == bad[:10_000].decode("utf-8", "backslashreplace")


def test_refused_item_is_in_quarantine_once_until_valid(deployment: Deployment) -> None:
    class Priced(msgspec.Struct):
        price: float

    deployment.declare(valid=Priced)
    deployment.upstream.serve([{"id": "1", "price": 1}, {"id": "2", "price": "dear"}, {"id": "3", "price": 3}])
    assert tally(deployment.fire()) == (3, 2, 0, 1)
    assert deployment.reasons() == {"2": "Expected `float`, got `str` - at `$.price`"}
    first = deployment.rows(quarantine)
    assert tally(deployment.fire()) == (3, 0, 2, 1)
    again = deployment.rows(quarantine)
    assert [row.digest for row in again] == [row.digest for row in first]
    assert again[0].seen_at > first[0].seen_at
    deployment.upstream.serve([{"id": "2", "price": "cheap"}])
    fails(deployment, "1 of 1 items failed, and the task allows 50%")
    assert json.loads(deployment.rows(quarantine)[0].data) == {"id": "2", "price": "cheap"}
    deployment.upstream.serve([{"id": "2", "price": 2}])
    assert tally(deployment.fire()) == (1, 1, 0, 0)
    assert deployment.rows(quarantine) == []


def test_item_that_became_invalid_keeps_its_last_valid_state(lite: Deployment) -> None:
    lite.declare(is_snapshot=True)
    lite.upstream.serve(ITEMS)
    lite.fire()
    lite.upstream.serve([*ITEMS[:4], {"id": "5", "x": "y" * 1024 * 1024}])
    assert tally(lite.fire()) == (5, 0, 4, 1)
    assert (lite.data()["5"], lite.missing()) == ({"id": "5", "title": "Item 5"}, [])


def test_a_function_may_say_what_is_valid(lite: Deployment) -> None:
    def check(item: dict[str, Any]) -> None:
        if item["stock"] < 0:
            raise ValueError("there is less than nothing")

    lite.declare(valid=check)
    lite.upstream.serve([{"id": "1", "stock": 1}, {"id": "2", "stock": -1}, {"id": "3"}, {"id": "4", "stock": 4}])
    assert tally(lite.fire()) == (4, 2, 0, 2)
    assert lite.reasons() == {"2": "there is less than nothing", "3": "KeyError: 'stock'"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (AttributeError("'NoneType' object has no attribute 'strip'"), "AttributeError: 'NoneType' object has no"),
        (AssertionError(), "AssertionError: "),
        (StopIteration("x"), "StopIteration: x"),
        (ValueError(), "ValueError"),
        (ValueError("half a letter: \ud800"), "half a letter: \\ud800"),
        (ValueError("x" * 100_000), "x" * 500),
    ],
)
def test_any_error_of_a_function_refuses_one_item_only(lite: Deployment, error: Exception, reason: str) -> None:
    def check(item: dict[str, Any]) -> None:
        if item["id"] == "2":
            raise error

    lite.declare(valid=check)
    lite.upstream.serve([{"id": "1"}, {"id": "2"}, {"id": "3"}])
    assert tally(lite.fire()) == (3, 2, 0, 1)
    assert lite.reasons()["2"].startswith(reason)


def test_only_the_keys_that_are_to_be_kept_are_kept_and_compared(deployment: Deployment) -> None:
    deployment.declare(keep=("id", "title"))
    deployment.upstream.always(Reply(body=b'[{"views": 1, "title": "T", "id": 1.0e2}, {"views": 1, "id": "b"}]'))
    deployment.fire()
    assert {row.external_id: row.data for row in deployment.rows()} == {"b": '{"id":"b"}'}
    deployment.upstream.serve([{"views": 2, "id": "b"}, {"title": "T", "views": 2, "id": "c"}])
    assert tally(deployment.fire()) == (2, 1, 1, 0)
    assert deployment.data()["c"] == {"id": "c", "title": "T"}


def test_an_older_state_never_overwrites_a_newer_one(deployment: Deployment) -> None:
    deployment.declare(changed_field="at", changed_unit="ms")
    deployment.upstream.serve([{"id": "1", "at": 2000, "v": "new"}])
    deployment.fire()
    deployment.upstream.serve([{"id": "1", "at": 1999, "v": "old"}])
    assert tally(deployment.fire()) == (1, 0, 1, 0)
    assert (deployment.data()["1"]["v"], deployment.rows()[0].changed_at) == ("new", 2000)
    deployment.upstream.serve([{"id": "1", "at": 2000, "v": "corrected"}])
    assert tally(deployment.fire()) == (1, 1, 0, 0)
    assert deployment.data()["1"]["v"] == "corrected"


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("ms", 1456000000123, 1456000000123),
        ("s", 1456000000, 1456000000000),
        ("s", 1456000000.1239, 1456000000124),
        ("iso", "2016-02-20T20:26:40Z", 1456000000000),
        ("iso", "2016-02-20T22:26:40+02:00", 1456000000000),
        ("iso", "2016-02-20T20:26:40", 1456000000000),
        ("iso", None, None),
    ],
)
def test_changed_field_is_read_in_the_sources_unit(
    lite: Deployment, unit: str, value: Any, expected: int | None
) -> None:
    lite.declare(changed_field="at", changed_unit=unit)
    lite.upstream.serve([{"id": "1", "at": value}])
    lite.fire()
    assert lite.rows()[0].changed_at == expected


def test_duplicate_ids_keep_the_last_change(deployment: Deployment) -> None:
    deployment.upstream.serve([{"id": "1", "v": 1}, {"id": 1, "v": 2}])
    assert tally(deployment.fire()) == (2, 1, 1, 0)
    assert deployment.data() == {"1": {"id": 1, "v": 2}}
    deployment.declare(changed_field="at", changed_unit="s")
    deployment.upstream.serve([{"id": "2", "v": "new", "at": 9}, {"id": "2", "v": "old", "at": 8}])
    deployment.fire()
    assert deployment.data()["2"]["v"] == "new"


def test_id_equal_by_collation_only_is_refused(deployment: Deployment) -> None:
    deployment.upstream.serve([{"id": "Straße", "v": 1}, {"id": "STRASSE", "v": 2}, {"id": "other", "v": 3}])
    deployment.fire()
    first = deployment.data()
    deployment.fire()
    assert deployment.data() == first
    taken = {"Straße", "STRASSE"} & first.keys()
    assert taken | (deployment.reasons().keys() - {None}) == {"Straße", "STRASSE"}
    assert len(first) == 1 + len(taken)
