"""What a source says of itself: unchanged, not now, not to you, not JSON."""

from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from chalicelib.core.clock import from_ms
from chalicelib.core.errors import RunFailedError
from chalicelib.schema import sync_states
from chalicelib.tasks.external_sync.sources import Credential
from tests.tasks.external_sync.deployment import ITEMS, Deployment, fails, tally
from tests.tasks.external_sync.upstream import JSON, Asked, Reply, listing

MOMENT = "Sat, 20 Feb 2016 20:26:40 GMT"


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
    assert tally(deployment.fire(full_refresh="shop")) == (5, 0, 5, 0)


def versioned(asked: Asked) -> Reply:
    """Answer 304 to whoever names any version, as a source does whose lists all changed at one moment."""
    if asked.headers.keys() & {"if-none-match", "if-modified-since"}:
        return Reply(status=304)
    return listing(ITEMS if asked.path == "/items" else ITEMS[:2], ETag='"v1"', Last_Modified=MOMENT)


@pytest.mark.parametrize(
    "changed",
    [
        {"path": "/other"},
        {"keep": ("id",)},
        {"items_key": "data"},
        {"id_field": "title"},
        {"id_prefix": "shop-"},
        {"changed_field": "at"},
        {"is_snapshot": True},
        {"valid": lambda item: item},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_declaration_of_a_source_is_read_in_full(lite: Deployment, changed: dict[str, Any]) -> None:
    lite.upstream.answer = versioned
    lite.fire()
    lite.fire()
    assert "if-none-match" in lite.upstream.asked[-1].headers
    path = changed.get("path", "/items")
    lite.declare(**{name: value for name, value in changed.items() if name != "path"}, url=lite.upstream.url(path))
    assert tally(lite.fire())[0] == (2 if path == "/other" else 5)
    assert "if-none-match" not in lite.upstream.asked[-1].headers
    lite.fire()
    assert "if-none-match" in lite.upstream.asked[-1].headers


def test_a_version_is_sent_only_to_the_url_that_it_came_from(lite: Deployment) -> None:
    place = "/first"

    def answer(asked: Asked) -> Reply:
        return Reply(status=302, headers={"Location": place}) if asked.path == "/items" else versioned(asked)

    lite.upstream.answer = answer
    lite.fire()
    assert tally(lite.fire()) == (0, 0, 0, 0)
    assert ["if-none-match" in asked.headers for asked in lite.upstream.asked[-2:]] == [False, True]
    place = "/second"
    assert tally(lite.fire()) == (2, 0, 2, 0)
    assert "if-none-match" not in lite.upstream.asked[-1].headers


def test_a_version_without_its_url_is_not_sent(lite: Deployment) -> None:
    lite.upstream.answer = versioned
    lite.insert({"source": "shop", "etag": '"v1"', "last_modified": MOMENT, "updated_at": 1}, into=sync_states)
    assert tally(lite.fire()) == (5, 5, 0, 0)


@pytest.mark.parametrize("status", [400, 412, 416, 404])
def test_a_permanent_refusal_forgets_the_version(lite: Deployment, status: int) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(status=status) if "if-none-match" in asked.headers else listing(ITEMS, ETag='"v1"')

    lite.upstream.answer = answer
    lite.fire()
    fails(lite, f"it answered {status}")
    assert tally(lite.fire()) == (5, 0, 5, 0)


def test_a_dry_run_that_is_refused_forgets_nothing(lite: Deployment) -> None:
    lite.upstream.answer = versioned
    lite.fire()
    before = lite.state()
    lite.upstream.always(Reply(status=404))
    fails(lite, "it answered 404", dry_run=True)
    assert lite.state() == before


@pytest.mark.parametrize(
    ("etag", "kept"),
    [
        ('"a"', '"a"'),
        ('W/"a"', 'W/"a"'),
        ('"a"\r\n "b"', '"a" "b"'),
        ('\r\n\t"a"', '"a"'),
        ('"\xe9"', '"é"'),
        ('"a\x01"', None),
        ('"a\x00"', None),
        ("", None),
        ('"' + "x" * 255, None),
    ],
    ids=ascii,
)
def test_a_version_is_kept_as_one_line_that_a_header_may_hold(lite: Deployment, etag: str, kept: str | None) -> None:
    lite.upstream.serve(ITEMS, ETag=etag)
    lite.fire()
    assert lite.state().etag == kept
    lite.fire()
    assert lite.upstream.asked[-1].headers.get("if-none-match") == kept


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


def test_304_to_an_unconditional_request_is_refused(lite: Deployment) -> None:
    lite.upstream.always(Reply(status=304))
    fails(lite, "it answered 304")


def test_retry_after_is_respected(lite: Deployment) -> None:
    limited = Reply(status=429, headers={"Retry-After": "17"})
    in_a_minute = from_ms(lite.kit.clock.now_ms()) + timedelta(seconds=900 + 17 + 60)
    until = Reply(status=503, headers={"Retry-After": format_datetime(in_a_minute, usegmt=True)})
    lite.upstream.in_turn(limited, until, listing(ITEMS))
    assert tally(lite.fire()) == (5, 5, 0, 0)
    assert lite.kit.clock.slept == [17.0, 60.0]


@pytest.mark.parametrize("wait", ["9" * 309, "9" * 5000, "9" * 20, "Sat, 20 Feb 9999 20:26:40 GMT"], ids=len)
def test_endless_retry_after_fails_the_run_at_once(lite: Deployment, wait: str) -> None:
    lite.upstream.always(Reply(status=429, headers={"Retry-After": wait}))
    fails(lite, "shop: it answered 429")
    assert (lite.kit.clock.slept, len(lite.upstream.asked)) == ([], 1)


def test_retry_after_beyond_the_deadline_fails_the_run_at_once(lite: Deployment) -> None:
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


def test_a_rotated_secret_is_fetched_again(lite: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop-x"
    kept = {arn: "old"}
    forgotten: list[bool] = []
    monkeypatch.setattr("chalicelib.core.secrets.fetch", lambda reference: kept[reference])
    monkeypatch.setattr("chalicelib.core.secrets.forget", lambda: forgotten.append(True))
    lite.declare(credential=Credential(secret=arn, header="X-Api-Key", prefix=""))
    lite.upstream.answer = lambda asked: listing(ITEMS) if asked.headers["x-api-key"] == "new" else Reply(status=401)
    with pytest.raises(RunFailedError, match="shop: it answered 401; the next attempt fetches the secret"):
        lite.fire(request_id="r1")
    assert forgotten == [True]
    kept[arn] = "new"
    assert tally(lite.again(request_id="r1")) == (5, 5, 0, 0)


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "application/xml", "nonsense"])
def test_other_content_types_are_refused(lite: Deployment, kind: str) -> None:
    lite.upstream.serve(ITEMS, Content_Type=kind)
    fails(lite, f"it answered with {kind.partition(';')[0]}, not with JSON")
    assert lite.data() == {}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/vnd.api+json", "Text/JSON"])
def test_json_has_many_names(lite: Deployment, kind: str) -> None:
    lite.upstream.serve(ITEMS, Content_Type=kind)
    assert tally(lite.fire()) == (5, 5, 0, 0)
