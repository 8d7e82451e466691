"""What a complete snapshot lacks, and answers that only look like one."""

import gzip
import json
from typing import Any

import pytest

from tests.tasks.external_sync.deployment import FIRST, ITEMS, Deployment, fails, tally
from tests.tasks.external_sync.upstream import JSON, Reply


def test_missing_item_is_marked_and_unmarked_when_it_returns(deployment: Deployment) -> None:
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


def test_source_without_snapshots_marks_nothing(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    lite.fire()
    lite.upstream.serve(ITEMS[:1])
    lite.fire()
    assert lite.missing() == []


@pytest.mark.parametrize(
    "remaining", [ITEMS[:2], [], [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}, {"id": "e"}]]
)
def test_snapshot_that_lacks_too_much_marks_nothing_without_accept_loss(
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
    ("name", "value"),
    [("full_refresh", "shops"), ("accept_loss", True), ("accept_loss", ["shop"]), ("full_refresh", 1)],
)
def test_option_must_name_a_declared_source(lite: Deployment, name: str, value: Any) -> None:
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
def test_truncated_or_invalid_response_marks_nothing(lite: Deployment, cut: Reply) -> None:
    lite.declare(is_snapshot=True)
    lite.upstream.serve(ITEMS)
    lite.fire()
    before = lite.data()
    lite.upstream.always(cut)
    fails(lite, "shop: the response")
    assert (lite.data(), lite.missing()) == (before, [])
