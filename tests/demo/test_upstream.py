"""The API that the demo syncs from does what real ones do: it pages, throttles, and says what has not changed."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

import pytest

from nightshift.demo.upstream import BURST, PAGE, WAIT_SECONDS, Items, Upstream, upstream

MANY = [{"id": n} for n in range(2 * PAGE + 1)]


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def api(time: Time) -> Iterator[Upstream]:
    lists: dict[str, Items] = {"/many": MANY, "/few": [{"id": "ü"}], "/none": [], "/exactly": MANY[:PAGE]}
    with upstream(lists, clock=time) as running:
        yield running


def get(api: Upstream, target: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection(urlsplit(api.url(target)).netloc, timeout=5)
    try:
        connection.request("GET", target, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def follow(api: Upstream, time: Time, target: str) -> Iterator[list[dict[str, object]]]:
    while True:
        response, body = get(api, target)
        assert response.status == 200
        yield json.loads(body)
        time.now += WAIT_SECONDS
        link = response.getheader("Link")
        if link is None:
            return
        target, _, rel = link.removeprefix("<").partition(">; ")
        assert rel == 'rel="next"'


def test_links_lead_through_every_item_once(api: Upstream, time: Time) -> None:
    pages = list(follow(api, time, "/many"))
    assert [len(page) for page in pages] == [PAGE, PAGE, 1]
    assert [item for page in pages for item in page] == MANY


@pytest.mark.parametrize(("path", "items"), [("/few", 1), ("/none", 0), ("/exactly", PAGE)])
def test_what_fits_on_one_page_has_no_link(api: Upstream, path: str, items: int) -> None:
    response, body = get(api, path)
    assert (response.status, len(json.loads(body)), response.getheader("Link")) == (200, items, None)


def test_whoever_asks_too_often_must_wait_for_as_long_as_it_says(api: Upstream, time: Time) -> None:
    assert [get(api, "/many")[0].status for _ in range(BURST)] == [200] * BURST
    refused, body = get(api, "/many")
    assert (refused.status, refused.getheader("Retry-After"), body) == (429, str(WAIT_SECONDS), b"")
    time.now += WAIT_SECONDS - 0.001
    assert get(api, "/many")[0].status == 429
    time.now += 0.001
    assert [get(api, "/many")[0].status for _ in range(BURST + 1)] == [200] * BURST + [429]


def test_one_list_is_not_throttled_for_another(api: Upstream) -> None:
    for _ in range(BURST + 1):
        get(api, "/many")
    assert get(api, "/few")[0].status == 200


def test_an_etag_that_still_holds_is_answered_without_a_body(api: Upstream) -> None:
    first, _ = get(api, "/few")
    etag = first.getheader("ETag")
    assert etag is not None
    again, body = get(api, "/few", If_None_Match=etag)
    assert (again.status, again.getheader("ETag"), body) == (304, etag, b"")
    other, body = get(api, "/few", If_None_Match='"another"')
    assert (other.status, json.loads(body)) == (200, [{"id": "ü"}])


def test_two_pages_have_two_etags(api: Upstream) -> None:
    assert get(api, "/many?page=1")[0].getheader("ETag") != get(api, "/many?page=2")[0].getheader("ETag")


@pytest.mark.parametrize("target", ["/unknown", "/many?page=0", "/many?page=-1", "/many?page=two"])
def test_what_is_not_there_is_not_found(api: Upstream, target: str) -> None:
    assert get(api, target)[0].status == 404


def test_it_counts_what_it_answered(api: Upstream) -> None:
    for _ in range(BURST + 1):
        get(api, "/many?page=2")
    get(api, "/few")
    assert api.answered == {("/many", 200): BURST, ("/many", 429): 1, ("/few", 200): 1}
