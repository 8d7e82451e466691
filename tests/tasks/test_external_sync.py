"""The external sync, from a fire to what is kept, with another system that behaves well or badly."""

import gzip
import json
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest

from chalicelib import runs
from chalicelib.clock import from_ms, to_ms
from chalicelib.errors import RunFailedError
from chalicelib.schema import quarantine, sync_states
from chalicelib.schema import runs as runs_table
from chalicelib.sync import sources
from chalicelib.sync.pages import Cursors, Links, Numbers
from chalicelib.sync.sources import Credential
from nightshift.testkit.kit import Kit
from tests.sync.deployment import Deployment, tally
from tests.sync.upstream import JSON, Asked, Reply, listing, upstream

ITEMS = [{"id": str(n), "title": f"Item {n}"} for n in range(1, 6)]
FIRST = json.dumps(ITEMS[0]).encode()


@pytest.fixture
def deployment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    with upstream() as running:
        yield Deployment(Kit(database_url), running, monkeypatch)


@pytest.fixture
def lite(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment for what the kind of database has no part in."""
    with upstream() as running:
        deployment = Deployment(Kit(sqlite_url), running, monkeypatch)
        deployment.empty()
        yield deployment


def fails(deployment: Deployment, reason: str, **options: Any) -> None:
    """Fire, and see the run fail with this reason."""
    with pytest.raises(RunFailedError, match=reason):
        deployment.fire(**options)


def test_items_are_kept_as_they_were_written_with_when_and_from_where(deployment: Deployment) -> None:
    body = b'[{"id": "a", "price": 12345678901234567.890, "name": "\xc3\xbc \\u00fc"},\n {"id": 7}]'
    deployment.upstream.always(Reply(body=body))
    summary = deployment.fire()
    assert (summary["outcome"], *tally(summary)) == ("succeeded", 2, 2, 0, 0)
    seven, a = deployment.rows()
    assert (seven.external_id, seven.data) == ("7", '{"id": 7}')
    assert (a.external_id, a.data) == ("a", '{"id": "a", "price": 12345678901234567.890, "name": "ü \\u00fc"}')
    assert (a.source, a.synced_at, a.missing_since) == ("shop", deployment.kit.clock.now_ms(), None)
    assert len(a.id) == 36


def test_what_is_unchanged_is_not_written_again_and_what_changed_keeps_its_row(deployment: Deployment) -> None:
    deployment.upstream.serve(ITEMS)
    deployment.fire()
    before = deployment.rows()
    deployment.upstream.serve([*ITEMS[:4], {"id": "5", "title": "changed"}, {"id": "6", "title": "new"}])
    assert tally(deployment.fire()) == (6, 2, 4, 0)
    after = deployment.rows()
    assert after[:4] == before[:4]
    assert after[4].id == before[4].id
    assert after[4].synced_at > before[4].synced_at
    assert deployment.data()["5"] == {"id": "5", "title": "changed"}
    assert deployment.data()["6"] == {"id": "6", "title": "new"}


def test_rows_of_the_guides_own_writer_are_taken_over(deployment: Deployment) -> None:
    deployment.insert({"id": "row-1", "external_id": "1", "data": '{"id":"1","title":"Item 1"}', "synced_at": 5})
    deployment.upstream.serve(ITEMS)
    assert tally(deployment.fire()) == (5, 5, 0, 0)
    first = deployment.rows()[0]
    assert (first.id, first.source) == ("row-1", "shop")
    assert tally(deployment.fire()) == (5, 0, 5, 0)


def test_without_a_source_the_run_is_skipped_with_the_reason(lite: Deployment) -> None:
    lite.declare_all()
    summary = lite.fire()
    assert summary["outcome"] == "skipped"
    assert "EXTERNAL_SYNC_URL is not set" in summary["reason"]


def test_settings_describe_a_source_that_is_sent_the_token(lite: Deployment) -> None:
    lite.declare_all()
    lite.kit = Kit(
        lite.kit.settings.database_url,
        clock=lite.kit.clock,
        EXTERNAL_SYNC_URL=lite.upstream.url("/feed?kind=book"),
        EXTERNAL_SYNC_TOKEN="top-secret-token\n",
        EXTERNAL_SYNC_PAGES="cursor",
        EXTERNAL_SYNC_HOSTS_ALLOWED="localhost, 127.0.0.1",
    )
    lite.upstream.pages(ITEMS[:3], ITEMS[3:])
    assert tally(lite.fire()) == (5, 5, 0, 0)
    first, second = lite.upstream.asked
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer top-secret-token"
    assert (first.path, first.query, second.query) == ("/feed", {"kind": "book"}, {"kind": "book", "cursor": "1"})
    assert {row.source for row in lite.rows()} == {"default"}


def test_a_secret_that_no_header_can_hold_is_not_told(lite: Deployment) -> None:
    lite.declare(credential=Credential(secret="sesame\r\nX-Other: open"))
    with pytest.raises(RunFailedError, match="has characters that a header cannot hold") as raised:
        lite.fire()
    assert "sesame" not in str(raised.value)
    assert lite.upstream.asked == []


def test_a_dry_run_counts_what_would_be_and_writes_nothing(deployment: Deployment) -> None:
    deployment.upstream.serve(ITEMS[:3])
    deployment.fire()
    rows, state = deployment.rows(), deployment.state()
    deployment.upstream.serve([ITEMS[0], {"id": "2", "title": "changed"}, *ITEMS[2:], {"title": "no id"}])
    summary = deployment.fire(dry_run=True)
    assert (summary["outcome"], *tally(summary)) == ("succeeded", 6, 3, 2, 1)
    assert (deployment.rows(), deployment.state(), deployment.rows(quarantine)) == (rows, state, [])
    assert len(deployment.rows(runs_table)) == 1


def test_a_dry_run_without_time_fails_and_hands_nothing_on(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    with pytest.raises(RunFailedError, match="a dry run is not handed on"):
        lite.fire(dry_run=True, seconds=9)
    assert lite.kit.receive() == []
    assert lite.rows(sync_states) == []


def test_one_source_that_cannot_be_read_does_not_stop_the_others_and_is_read_by_the_repetition(
    lite: Deployment,
) -> None:
    broken = lite.source(name="broken", url=lite.upstream.url("/broken"))
    lite.declare_all(broken, lite.source(name="fine"))
    served = {"/items": listing(ITEMS[:2]), "/broken": Reply(body=b"[{")}
    lite.upstream.answer = lambda asked: served[asked.path]
    fails(lite, "broken: the answer breaks off", request_id="r1")
    assert {row.source for row in lite.rows()} == {"fine"}
    served["/broken"] = listing([{"id": "x"}])
    summary = lite.again(request_id="r1")
    assert (summary["outcome"], *tally(summary)) == ("succeeded", 3, 3, 0, 0)
    assert [asked.path for asked in lite.upstream.asked] == ["/broken", "/items", "/broken"]


def test_the_sources_ids_are_their_own(deployment: Deployment) -> None:
    deployment.declare_all(
        deployment.source(name="a", url=deployment.upstream.url("/a")),
        deployment.source(name="b", url=deployment.upstream.url("/b")),
        deployment.source(name="c", url=deployment.upstream.url("/c"), id_prefix="c:"),
    )
    deployment.upstream.answer = lambda asked: listing([{"id": "1", "of": asked.path}])
    assert tally(deployment.fire()) == (3, 2, 0, 1)
    assert deployment.data() == {"1": {"id": "1", "of": "/a"}, "c:1": {"id": "1", "of": "/c"}}
    assert deployment.reasons() == {"1": "its id belongs to the source a"}


# What is refused


BAD_ITEMS = {
    b'{"title": "none"}': "its id is missing",
    b'{"id": null}': "its id is neither text nor a whole number",
    b'{"id": ["x"]}': "its id is neither text nor a whole number",
    b'{"id": 1.5}': "its id is neither text nor a whole number",
    b'{"id": true}': "its id is neither text nor a whole number",
    b'{"id": ""}': "its id has 0 characters",
    b'{"id": "%b"}' % (b"x" * 256): "its id has 256 characters",
    b'"text"': "it is no valid JSON object",
    b"17": "it is no valid JSON object",
    b"null": "it is no valid JSON object",
    b"[]": "it is no valid JSON object",
    b'{"id": "nan", "x": NaN}': "it is no valid JSON object",
    b'{"id": "inf", "x": [-Infinity]}': "it is no valid JSON object",
    b'{"id": "\\ud800"}': "it is no valid JSON object",
    b'{"id": "s", "x": "\\ud83d"}': "it is no valid JSON object",
    b'{"id": "utf", "x": "\xed\xa0\x80"}': "'utf-8' codec can't decode",
    b'{"id": "latin", "x": "\xfc"}': "'utf-8' codec can't decode",
    b'{"id": "zero", "x": 01}': "it is no valid JSON object",
    b'{"id": "big", "x": "%b"}' % (b"x" * 1024 * 1024): "1,048,576 are allowed",
    b'{"id": "deep", "x": %b1%b}' % (b"[" * 5000, b"]" * 5000): "it is no valid JSON object",
    b'{"id": "late", "at": "soon"}': "its at is no moment",
    b'{"id": "far", "at": "9999-12-31T23:59:59-23:00"}': "its at is no moment",
    b'{"id": "number", "at": 5}': "its at is no moment",
}


@pytest.mark.parametrize("bad", BAD_ITEMS)
def test_an_item_that_is_none_is_put_in_quarantine_and_does_not_stop_the_others(lite: Deployment, bad: bytes) -> None:
    lite.declare(changed_field="at")
    lite.upstream.always(Reply(body=b'[{"id": "first"}, %b, {"id": "last"}]' % bad))
    assert tally(lite.fire()) == (3, 2, 0, 1)
    assert list(lite.data()) == ["first", "last"]
    (refused,) = lite.rows(quarantine)
    assert BAD_ITEMS[bad] in refused.reason
    assert refused.data == bad[:10_000].decode("utf-8", "backslashreplace")


def test_what_is_refused_stands_once_in_quarantine_until_it_is_valid(deployment: Deployment) -> None:
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


def test_an_item_that_became_invalid_keeps_what_was_valid(lite: Deployment) -> None:
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
    assert lite.reasons() == {"2": "there is less than nothing", "3": "'stock'"}


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
def test_when_an_item_changed_is_told_in_the_sources_own_unit(
    lite: Deployment, unit: str, value: Any, expected: int | None
) -> None:
    lite.declare(changed_field="at", changed_unit=unit)
    lite.upstream.serve([{"id": "1", "at": value}])
    lite.fire()
    assert lite.rows()[0].changed_at == expected


def test_of_two_items_with_one_id_the_last_is_taken_or_the_one_that_changed_last(deployment: Deployment) -> None:
    deployment.upstream.serve([{"id": "1", "v": 1}, {"id": 1, "v": 2}])
    assert tally(deployment.fire()) == (2, 1, 1, 0)
    assert deployment.data() == {"1": {"id": 1, "v": 2}}
    deployment.declare(changed_field="at", changed_unit="s")
    deployment.upstream.serve([{"id": "2", "v": "new", "at": 9}, {"id": "2", "v": "old", "at": 8}])
    deployment.fire()
    assert deployment.data()["2"]["v"] == "new"


def test_an_id_that_only_the_databases_collation_takes_for_another_is_refused(deployment: Deployment) -> None:
    deployment.upstream.serve([{"id": "Straße", "v": 1}, {"id": "STRASSE", "v": 2}, {"id": "other", "v": 3}])
    deployment.fire()
    first = deployment.data()
    deployment.fire()
    assert deployment.data() == first
    taken = {"Straße", "STRASSE"} & first.keys()
    assert taken | (deployment.reasons().keys() - {None}) == {"Straße", "STRASSE"}
    assert len(first) == 1 + len(taken)


# Pages


def test_pages_follow_by_cursor(deployment: Deployment) -> None:
    deployment.declare(pages=Cursors(field="meta.after", parameter="after"), items_key="rows")
    answers = {
        None: {"meta": {"after": "x y&z"}, "rows": ITEMS[:2]},
        "x y&z": {"rows": ITEMS[2:], "meta": {"after": None}},
    }
    deployment.upstream.answer = lambda asked: listing(answers[asked.query.get("after")])
    assert tally(deployment.fire()) == (5, 5, 0, 0)
    assert len(deployment.upstream.asked) == 2


def test_pages_follow_by_links(deployment: Deployment) -> None:
    deployment.declare(pages=Links())
    links = {"/items": '</other>; rel="prev", <items/2?x=a,b>; title="to, the; next"; rel="last next"', "/items/2": ""}
    items = {"/items": ITEMS[:2], "/items/2": ITEMS[2:]}
    deployment.upstream.answer = lambda asked: listing(items[asked.path], Link=links[asked.path])
    assert tally(deployment.fire()) == (5, 5, 0, 0)
    assert deployment.upstream.asked[1].query == {"x": "a,b"}


def test_numbered_pages_end_with_an_empty_one_and_not_with_a_shorter_one(deployment: Deployment) -> None:
    deployment.declare(pages=Numbers(parameter="p", first=0), is_snapshot=True)
    pages = {"0": ITEMS[:2], "1": ITEMS[2:3], "2": ITEMS[3:]}
    deployment.upstream.answer = lambda asked: listing(pages.get(asked.query["p"], []))
    assert tally(deployment.fire()) == (5, 5, 0, 0)
    assert [asked.query["p"] for asked in deployment.upstream.asked] == ["0", "1", "2", "3"]
    assert deployment.missing() == []


def test_a_cursor_that_leads_back_ends_the_read_and_is_forgotten(lite: Deployment) -> None:
    lite.declare(pages=Cursors())
    following = {None: "a", "a": "b", "b": "a"}
    lite.upstream.answer = lambda asked: listing({"items": [], "next_cursor": following[asked.query.get("cursor")]})
    fails(lite, "its pages lead back to one that was read")
    assert (len(lite.upstream.asked), lite.state().cursor) == (3, "{}")


def test_a_cursor_that_leads_nowhere_new_ends_the_read_and_is_forgotten(lite: Deployment) -> None:
    lite.declare(pages=Cursors(), max_pages=5)
    lite.upstream.answer = lambda asked: listing({"items": [], "next_cursor": int(asked.query.get("cursor", 0)) + 1})
    fails(lite, "it has more than the 5 pages that it may have")
    assert (len(lite.upstream.asked), lite.state().cursor) == (5, "{}")


@pytest.mark.parametrize("cursor", [["x"], {"x": 1}, True, 1.5])
def test_a_cursor_that_is_none_ends_the_read(lite: Deployment, cursor: Any) -> None:
    lite.declare(pages=Cursors())
    lite.upstream.serve({"items": ITEMS, "next_cursor": cursor})
    fails(lite, "the answer's next_cursor is neither text nor a number")


def test_a_link_to_another_host_is_not_followed(lite: Deployment) -> None:
    lite.declare(pages=Links(), credential=Credential(secret="sesame"))
    lite.upstream.serve(ITEMS, Link='<http://localhost:1/steal>; rel="next"')
    fails(lite, "it leads to another host, localhost")
    assert list(lite.data()) == ["1", "2", "3", "4", "5"]


def test_a_cursor_is_kept_only_when_its_page_is_committed_and_the_next_run_goes_on_there(
    deployment: Deployment,
) -> None:
    deployment.declare(pages=Cursors())
    deployment.upstream.pages(ITEMS[:2], ITEMS[2:4], ITEMS[4:])
    whole = deployment.upstream.answer

    def broken_at_the_third(asked: Asked) -> Reply:
        seen.append(list(deployment.data()))
        return Reply(body=b'{"items": [{"id": "9"}, {"id":') if asked.query.get("cursor") == "2" else whole(asked)

    seen: list[list[str]] = []
    deployment.upstream.answer = broken_at_the_third
    fails(deployment, "the answer breaks off")
    assert seen == [[], ["1", "2"], ["1", "2", "3", "4"]]
    deployment.upstream.answer = whole
    deployment.upstream.asked.clear()
    assert tally(deployment.fire()) == (5, 5, 0, 0)
    assert [asked.query.get("cursor") for asked in deployment.upstream.asked] == ["2"]
    assert deployment.state().cursor == "{}"


def test_a_saved_cursor_that_the_source_refuses_is_forgotten(lite: Deployment) -> None:
    lite.declare(pages=Cursors())
    lite.upstream.pages(ITEMS[:2], ITEMS[2:])
    whole = lite.upstream.answer
    expired = Reply(status=410)
    lite.upstream.answer = lambda asked: expired if asked.query else whole(asked)
    fails(lite, "it answered 410")
    lite.upstream.answer = whole
    assert tally(lite.fire()) == (5, 3, 2, 0)


def test_a_source_that_is_declared_otherwise_is_not_read_on_from_its_old_cursor(lite: Deployment) -> None:
    lite.declare(pages=Cursors())
    lite.upstream.pages(ITEMS[:2], ITEMS[2:])
    whole = lite.upstream.answer
    lite.upstream.answer = lambda asked: Reply(body=b"[") if asked.query else whole(asked)
    fails(lite, "breaks off")
    lite.declare(pages=Numbers())
    lite.upstream.answer = lambda asked: listing(ITEMS if asked.query["page"] == "1" else [])
    assert tally(lite.fire()) == (5, 3, 2, 0)


# Deadlines


@pytest.mark.parametrize("is_snapshot", [False, True])
def test_a_run_near_its_deadline_is_handed_on_and_continued_where_it_was(
    deployment: Deployment, is_snapshot: bool
) -> None:
    deployment.declare(pages=Cursors(), is_snapshot=is_snapshot)
    deployment.upstream.serve({"items": [{"id": "gone"}, *ITEMS]})
    deployment.fire()
    deployment.upstream.asked.clear()
    deployment.upstream.pages(ITEMS[:2], [*ITEMS[2:4], {"id": "6"}], [*ITEMS[4:], {"id": "7"}])
    whole = deployment.upstream.answer

    def slow(asked: Asked) -> Reply:
        deployment.kit.clock.advance(100)
        return whole(asked)

    deployment.upstream.answer = slow
    assert deployment.fire(seconds=250)["handed_on"] is True
    assert "7" not in deployment.data()
    deployment.kit.drain()
    latest = max(deployment.rows(runs_table), key=lambda row: row.scheduled_for)
    assert (latest.status, latest.total, latest.succeeded, latest.skipped) == ("succeeded", 7, 2, 5)
    assert [asked.query.get("cursor") for asked in deployment.upstream.asked] == [None, "1", "2", "2"]
    assert deployment.missing() == (["gone"] if is_snapshot else [])
    assert {"6", "7"} <= deployment.data().keys()


def test_a_run_without_any_time_is_handed_on_untouched(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    assert lite.fire(seconds=9)["handed_on"] is True
    assert lite.upstream.asked == []
    lite.kit.drain()
    assert len(lite.data()) == 5


def test_an_answer_that_no_invocation_has_time_for_is_given_up(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    for _ in range(3):
        assert lite.fire(seconds=9)["handed_on"] is True
        lite.kit.sqs.queues.clear()
    fails(lite, "one answer takes longer than an invocation may", seconds=9)


def test_options_of_a_run_are_its_continuations_too_and_begin_anew_only_once(lite: Deployment) -> None:
    lite.declare(pages=Cursors(), is_snapshot=True)
    lite.upstream.pages(ITEMS)
    lite.fire()
    lite.upstream.pages(ITEMS[:1], [])
    whole = lite.upstream.answer

    def slow(asked: Asked) -> Reply:
        lite.kit.clock.advance(100)
        return whole(asked)

    lite.upstream.asked.clear()
    lite.upstream.answer = slow
    assert lite.fire(seconds=150, accept_loss="shop", anew="shop")["handed_on"] is True
    lite.kit.drain()
    assert [asked.query.get("cursor") for asked in lite.upstream.asked] == [None, "1", "1"]
    assert lite.missing() == ["2", "3", "4", "5"]


# Snapshots


def test_what_a_complete_snapshot_lacks_is_marked_and_unmarked_when_it_returns(deployment: Deployment) -> None:
    deployment.declare(is_snapshot=True)
    deployment.insert({"id": "theirs", "external_id": "theirs", "data": "{}", "synced_at": 1, "source": "other"})
    deployment.upstream.serve(ITEMS)
    deployment.fire()
    before = deployment.rows()
    deployment.upstream.serve(ITEMS[:3])
    assert tally(deployment.fire()) == (3, 0, 3, 0)
    assert deployment.missing() == ["4", "5"]
    assert deployment.rows()[3].missing_since == deployment.kit.clock.now_ms()
    assert deployment.rows()[3].synced_at == before[3].synced_at
    marked = deployment.rows()
    deployment.fire()
    assert deployment.rows() == marked
    deployment.upstream.serve([*ITEMS[:3], ITEMS[4]])
    assert tally(deployment.fire()) == (4, 1, 3, 0)
    assert deployment.missing() == ["4"]


def test_a_source_that_is_no_snapshot_marks_nothing(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    lite.fire()
    lite.upstream.serve(ITEMS[:1])
    lite.fire()
    assert lite.missing() == []


@pytest.mark.parametrize(
    "remaining", [ITEMS[:2], [], [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}, {"id": "e"}]]
)
def test_a_snapshot_that_lacks_too_much_marks_nothing_unless_somebody_accepts_it(
    deployment: Deployment, remaining: list[Any]
) -> None:
    deployment.declare(is_snapshot=True)
    deployment.upstream.serve(ITEMS, ETag='"whole"')
    deployment.fire()
    deployment.upstream.serve(remaining, ETag='"less"')
    fails(deployment, "shop: the snapshot lacks at least 3|shop: the snapshot lacks at least 5")
    assert deployment.missing() == []
    fails(deployment, "the snapshot lacks")
    deployment.fire(accept_loss="shop")
    kept = {item["id"] for item in remaining}
    assert deployment.missing() == [item["id"] for item in ITEMS if item["id"] not in kept]


def test_a_snapshot_may_lose_half_at_once(lite: Deployment) -> None:
    lite.declare(is_snapshot=True)
    lite.upstream.serve(ITEMS[:4])
    lite.fire()
    lite.upstream.serve(ITEMS[:2])
    lite.fire()
    assert lite.missing() == ["3", "4"]


@pytest.mark.parametrize(
    ("name", "value"), [("anew", "shops"), ("accept_loss", True), ("accept_loss", ["shop"]), ("anew", 1)]
)
def test_an_option_names_a_source_that_there_is(lite: Deployment, name: str, value: Any) -> None:
    fails(lite, f"{name} must name a source, one of shop", **{name: value})


@pytest.mark.parametrize(
    "cut",
    [
        Reply(body=b"[%b, %b" % (FIRST, FIRST)),
        Reply(body=b"[%b, %b" % (FIRST, FIRST[:-2])),
        Reply(body=b"[%b]]" % FIRST),
        Reply(body=b"[%b,]" % FIRST),
        Reply(body=b"[,%b]" % FIRST),
        Reply(body=b'{"items": [%b]' % FIRST),
        Reply(body=b'{"items": [%b], "next": }' % FIRST),
        Reply(body=b'{"error": "try later"}'),
        Reply(body=b'{"items": null}'),
        Reply(body=b""),
        Reply(body=b"[", headers=JSON | {"Content-Length": "0"}),
        Reply(body=b"[%b]" % FIRST, headers=JSON | {"Content-Length": "10"}),
        Reply(body=b"<html>"),
        Reply(body=b"[]", headers=JSON | {"Content-Length": "1000"}),
        Reply(body=[b"3\r\n[]\n\r\n"], headers=JSON | {"Transfer-Encoding": "chunked"}),
        Reply(body=gzip.compress(json.dumps(ITEMS).encode())[:-9], headers=JSON | {"Content-Encoding": "gzip"}),
        Reply(body=b"[]", headers=JSON | {"Content-Encoding": "gzip"}),
    ],
)
def test_an_answer_that_was_cut_off_or_is_none_wipes_nothing(lite: Deployment, cut: Reply) -> None:
    lite.declare(is_snapshot=True)
    lite.upstream.serve(ITEMS)
    lite.fire()
    before = lite.data()
    lite.upstream.always(cut)
    fails(lite, "shop: the answer")
    assert (lite.data(), lite.missing()) == (before, [])


# What the source says of itself


def test_an_unchanged_answer_is_asked_for_only_once(deployment: Deployment) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"v1"':
            return Reply(status=304)
        return listing(ITEMS, ETag='"v1"', Last_Modified="Sat, 20 Feb 2016 20:26:40 GMT")

    deployment.upstream.answer = answer
    deployment.fire()
    rows = deployment.rows()
    summary = deployment.fire()
    assert (summary["outcome"], *tally(summary)) == ("succeeded", 0, 0, 0, 0)
    assert deployment.upstream.asked[1].headers["if-modified-since"] == "Sat, 20 Feb 2016 20:26:40 GMT"
    assert deployment.rows() == rows
    assert tally(deployment.fire(anew="shop")) == (5, 0, 5, 0)


def test_a_read_that_broke_off_leaves_nothing_by_which_the_next_could_find_it_unchanged(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS[:3], ETag='"v1"')
    lite.fire()
    lite.upstream.always(Reply(body=b'[{"id": "1", "v": 2}, {', headers=JSON | {"ETag": '"v2"'}))
    fails(lite, "breaks off")
    lite.upstream.serve(ITEMS[:3], ETag='"v1"')
    assert tally(lite.fire()) == (3, 1, 2, 0)
    assert "if-none-match" not in lite.upstream.asked[-1].headers


def test_where_an_item_was_refused_the_next_read_finds_it_again(lite: Deployment) -> None:
    lite.upstream.serve([*ITEMS, {"title": "no id"}], ETag='"v1"')
    assert tally(lite.fire()) == (6, 5, 0, 1)
    assert tally(lite.fire()) == (6, 0, 5, 1)
    assert "if-none-match" not in lite.upstream.asked[-1].headers


def test_that_nothing_changed_is_no_answer_where_it_was_not_asked(lite: Deployment) -> None:
    lite.upstream.always(Reply(status=304))
    fails(lite, "it answered 304")


def test_a_source_that_asks_for_patience_is_given_it(lite: Deployment) -> None:
    limited = Reply(status=429, headers={"Retry-After": "17"})
    in_a_minute = from_ms(lite.kit.clock.now_ms()) + timedelta(seconds=900 + 17 + 60)
    until = Reply(status=503, headers={"Retry-After": format_datetime(in_a_minute, usegmt=True)})
    lite.upstream.in_turn(limited, until, listing(ITEMS))
    assert tally(lite.fire()) == (5, 5, 0, 0)
    assert lite.kit.clock.slept == [17.0, 60.0]


def test_more_patience_than_there_is_time_for_fails_the_run_at_once(lite: Deployment) -> None:
    lite.upstream.always(Reply(status=429, headers={"Retry-After": "600"}))
    fails(lite, "shop: it answered 429")
    assert (lite.kit.clock.slept, len(lite.upstream.asked)) == ([], 1)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_failure_that_may_pass_is_repeated_a_few_times(lite: Deployment, status: int) -> None:
    lite.upstream.always(Reply(status=status, headers={"Retry-After": "soon"}))
    fails(lite, f"shop: it answered {status}")
    assert len(lite.upstream.asked) == 4
    assert all(0.5 <= waited <= 6 for waited in lite.kit.clock.slept)
    lite.upstream.serve(ITEMS)
    assert tally(lite.again())[1] == 5


@pytest.mark.parametrize("status", [201, 204, 206, 400, 401, 403, 404, 410, 422])
def test_a_refusal_is_not_repeated(lite: Deployment, status: int) -> None:
    lite.upstream.always(Reply(status=status, body=b"[]"))
    with pytest.raises(RunFailedError, match=f"external_sync dead: shop: it answered {status}"):
        lite.fire()
    assert len(lite.upstream.asked) == 1


def test_a_secret_that_may_have_been_changed_is_fetched_anew(lite: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop-x"
    kept = {arn: "old"}
    forgotten: list[bool] = []
    monkeypatch.setattr("chalicelib.secrets.fetch", lambda reference: kept[reference])
    monkeypatch.setattr("chalicelib.secrets.forget", lambda: forgotten.append(True))
    lite.declare(credential=Credential(secret=arn, header="X-Api-Key", prefix=""))
    lite.upstream.answer = lambda asked: listing(ITEMS) if asked.headers["x-api-key"] == "new" else Reply(status=401)
    with pytest.raises(RunFailedError, match="external_sync failed: shop: it answered 401; the secret is fetched"):
        lite.fire(request_id="r1")
    assert forgotten == [True]
    kept[arn] = "new"
    assert tally(lite.again(request_id="r1")) == (5, 5, 0, 0)


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "application/xml", "nonsense"])
def test_what_is_not_json_by_its_own_word_is_not_read(lite: Deployment, kind: str) -> None:
    lite.upstream.serve(ITEMS, Content_Type=kind)
    fails(lite, f"it answered with {kind.partition(';')[0]}, not with JSON")
    assert lite.data() == {}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json", "Text/JSON"])
def test_json_has_many_names(lite: Deployment, kind: str) -> None:
    lite.upstream.serve(ITEMS, Content_Type=kind)
    assert tally(lite.fire()) == (5, 5, 0, 0)


# At once


def test_a_run_that_another_has_overtaken_overwrites_nothing_newer_and_is_skipped(deployment: Deployment) -> None:
    deployment.declare(is_snapshot=True)
    deployment.upstream.serve(ITEMS[:3])
    deployment.fire()
    newer = [{"id": "1", "v": "newer"}, *ITEMS[1:5]]
    older = [{"id": "1", "v": "older"}, ITEMS[1]]

    def answer(asked: Asked) -> Reply:
        # The slow answer of the first run comes when a second one, begun later, has read all.
        if len(deployment.upstream.asked) == 2:
            overtaking.append(deployment.fire())
            return listing(older)
        return listing(newer)

    overtaking: list[dict[str, Any]] = []
    deployment.upstream.answer = answer
    overtaken = deployment.fire()
    assert (overtaking[0]["outcome"], tally(overtaking[0])) == ("succeeded", (5, 3, 2, 0))
    assert (overtaken["outcome"], overtaken["reason"]) == ("skipped", "shop: another run is reading it")
    assert deployment.data() == {item["id"]: item for item in newer}
    assert deployment.missing() == []


def test_a_fire_that_comes_twice_makes_one_run(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    lite.fire()
    assert lite.again()["outcome"] == "skipped"
    assert len(lite.upstream.asked) == 1


def test_the_run_is_by_the_moment_of_its_fire(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    moment = "2026-03-02T12:00:00Z"
    event = {"detail-type": "Scheduled Event", "time": moment}
    summary = runs.execute("external_sync", event=event, context=lite.context())
    assert (summary["scheduled_for"], summary["trigger"]) == (moment, "schedule")
    assert lite.rows(runs_table)[0].scheduled_for == to_ms(from_ms(1772452800000))


def test_declarations_are_of_sources_with_names_of_their_own(lite: Deployment) -> None:
    lite.declare_all(lite.source(), lite.source())
    fails(lite, "2 sources are called shop")
    assert sources.SOURCES[0].name == "shop"
