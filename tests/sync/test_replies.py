"""What a source says of itself: unchanged, not now, not to you, not JSON."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from chalicelib.clock import from_ms
from chalicelib.errors import RunFailedError
from chalicelib.sync.sources import Credential
from tests.sync.deployment import ITEMS, Deployment, fails, tally
from tests.sync.upstream import JSON, Asked, Reply, listing


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
