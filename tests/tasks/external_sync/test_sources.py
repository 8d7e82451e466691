"""What can be declared as a source, in code and by settings."""

from dataclasses import replace
from typing import Any

import pytest

from chalicelib.core.config import Environment
from chalicelib.core.errors import ConfigurationError
from chalicelib.tasks.external_sync import sources
from chalicelib.tasks.external_sync.pages import Cursors, Links, Numbers, OnePage, Page
from chalicelib.tasks.external_sync.sources import Credential, Source, SyncSettings, all_sources
from nightshift.local.environment import local_environment

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:sync-x"


def settings(tmp_path: Any, **environment: str) -> SyncSettings:
    variables = local_environment({}, endpoint="http://127.0.0.1:1", folder=tmp_path) | environment
    return Environment(variables).read(SyncSettings)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com/x",
        "ftp://api.example.com",
        "https://",
        "api.example.com",
        "https://user:password@api.example.com/",
        "https://api.example.com/#part",
        "https://api.example.com:port/",
        "https://api.exämple.com/",
    ],
)
def test_a_source_is_read_over_tls_and_from_a_plain_address(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the URL of source shop"):
        Source(name="shop", url=url)


def test_a_host_of_our_own_may_be_read_without_tls() -> None:
    assert Source(name="shop", url="http://shop.internal:8080/x", is_internal=True).url == "http://shop.internal:8080/x"


@pytest.mark.parametrize("name", ["", "x" * 65])
def test_a_sources_name_fits_its_column(name: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 64 characters"):
        Source(name=name, url="https://api.example.com/")


def test_a_secret_does_not_show(tmp_path: Any) -> None:
    assert "sesame" not in repr(Source(name="shop", url="https://x.example/", credential=Credential(secret="sesame")))
    assert "sesame" not in repr(settings(tmp_path, EXTERNAL_SYNC_TOKEN="sesame"))


def test_without_settings_only_the_sources_in_code_are_declared(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all_sources(settings(tmp_path)) == ()
    mine = Source(name="shop", url="https://shop.example/")
    monkeypatch.setattr(sources, "SOURCES", (mine,))
    both = all_sources(settings(tmp_path, EXTERNAL_SYNC_URL="https://api.example.com/x"))
    assert [source.name for source in both] == ["default", "shop"]


@pytest.mark.parametrize(
    ("pages", "style"), [("none", OnePage()), ("link", Links()), ("cursor", Cursors()), ("page", Numbers())]
)
def test_settings_describe_one_source(tmp_path: Any, pages: str, style: Any) -> None:
    url = "https://api.example.com/x"
    (source,) = all_sources(
        settings(tmp_path, EXTERNAL_SYNC_URL=url, EXTERNAL_SYNC_TOKEN=ARN, EXTERNAL_SYNC_PAGES=pages)
    )
    assert source == Source(name="default", url=url, pages=style, credential=Credential(secret=ARN))


def test_a_host_must_be_allowed_before_it_is_read_without_tls_or_at_a_private_address(tmp_path: Any) -> None:
    plain = settings(tmp_path, EXTERNAL_SYNC_URL="http://Shop.internal:8080/x")
    with pytest.raises(ConfigurationError, match="EXTERNAL_SYNC_HOSTS_ALLOWED must name its host"):
        all_sources(plain)
    allowed = replace(plain, external_sync_hosts_allowed=frozenset({"shop.internal"}))
    assert all_sources(allowed)[0].is_internal
    assert not all_sources(settings(tmp_path, EXTERNAL_SYNC_URL="https://shop.internal/"))[0].is_internal


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("EXTERNAL_SYNC_URL", "api.example.com", "must be a URL"),
        ("EXTERNAL_SYNC_PAGES", "links", "must be one of none, link, cursor, page"),
        ("EXTERNAL_SYNC_HOSTS_ALLOWED", "http://shop.internal", "must be names or addresses of hosts"),
        ("EXTERNAL_SYNC_HOSTS_ALLOWED", "*", "must be names or addresses of hosts"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Any, variable: str, value: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{variable} {reason}"):
        settings(tmp_path, **{variable: value})


def page(**values: Any) -> Page:
    usual: dict[str, Any] = {
        "url": "https://x.example/a/b?c=1",
        "position": None,
        "link": "",
        "envelope": {},
        "items": 1,
    }
    return Page(**usual | values)


@pytest.mark.parametrize(
    ("link", "following"),
    [
        ("", None),
        ('<https://x.example/2>; rel="next"', "https://x.example/2"),
        ("<?c=2>;rel=next", "https://x.example/a/b?c=2"),
        ('</first>; rel=first, </2,3>; x="a, <b>; rel=next"; rel="prev NEXT"', "https://x.example/2,3"),
        ('</p>; rel="prev", </l>; rel="last"', None),
        ('</n>; title="next"', None),
        ("nonsense; rel=next", None),
    ],
)
def test_the_header_link_is_read_as_it_is_specified(link: str, following: str | None) -> None:
    assert Links().following(page(link=link)) == following


def test_a_parameter_is_put_beside_those_that_the_url_has() -> None:
    url = "https://x.example/a?page=9&empty=&q=a%20b"
    assert Numbers().url(url, None) == "https://x.example/a?empty=&q=a+b&page=1"
    assert Cursors().url(url, None) == url
    assert Cursors(parameter="q").url(url, "é&=") == "https://x.example/a?page=9&empty=&q=%C3%A9%26%3D"


@pytest.mark.parametrize("end", [{}, {"next_cursor": None}, {"next_cursor": ""}, {"next_cursor": False}])
def test_a_cursor_that_is_not_there_is_the_end(end: dict[str, Any]) -> None:
    assert Cursors().following(page(envelope=end)) is None
    assert Cursors().following(page(envelope={"next_cursor": 0})) == "0"
