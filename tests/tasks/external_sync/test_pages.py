"""Pages that follow one another, and those that lead astray."""

from typing import Any

import pytest

from chalicelib.tasks.external_sync.pages import Cursors, Links, Numbers
from chalicelib.tasks.external_sync.sources import Credential
from tests.tasks.external_sync.deployment import ITEMS, Deployment, fails, tally
from tests.tasks.external_sync.upstream import Asked, Reply, listing


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
def test_invalid_cursor_fails_the_read(lite: Deployment, cursor: Any) -> None:
    lite.declare(pages=Cursors())
    lite.upstream.serve({"items": ITEMS, "next_cursor": cursor})
    fails(lite, "the response's next_cursor is neither text nor a number")


def test_a_link_to_another_host_is_not_followed(lite: Deployment) -> None:
    lite.declare(pages=Links(), credential=Credential(secret="sesame"))
    lite.upstream.serve(ITEMS, Link='<http://localhost:1/steal>; rel="next"')
    fails(lite, "it leads to another host, localhost")
    assert list(lite.data()) == ["1", "2", "3", "4", "5"]


def test_next_run_continues_from_the_last_committed_cursor(
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
    fails(deployment, "the response breaks off")
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


def test_changed_declaration_does_not_continue_from_the_old_cursor(lite: Deployment) -> None:
    lite.declare(pages=Cursors())
    lite.upstream.pages(ITEMS[:2], ITEMS[2:])
    whole = lite.upstream.answer
    lite.upstream.answer = lambda asked: Reply(body=b"[") if asked.query else whole(asked)
    fails(lite, "breaks off")
    lite.declare(pages=Numbers())
    lite.upstream.answer = lambda asked: listing(ITEMS if asked.query["page"] == "1" else [])
    assert tally(lite.fire()) == (5, 3, 2, 0)
