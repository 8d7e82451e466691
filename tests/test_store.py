"""The deployment's bucket: what is stored, and who may read it by a link."""

import urllib.error
import urllib.request
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config

from chalicelib import context
from chalicelib.errors import TransientError
from chalicelib.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET

HTML = "text/html; charset=utf-8"
KEY = "reports/2026-02/job-1.html"


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


def test_a_link_opens_what_was_stored_as_what_it_is(store: Store) -> None:
    store.put(KEY, "<p>Zoë 🐙".encode(), content_type=HTML)
    with urllib.request.urlopen(store.link(KEY, seconds=60)) as answer:
        assert (answer.headers["Content-Type"], answer.read().decode()) == (HTML, "<p>Zoë 🐙")


def test_storing_again_replaces_what_the_same_link_opens(store: Store) -> None:
    store.put(KEY, b"first", content_type=HTML)
    link = store.link(KEY, seconds=60)
    store.put(KEY, b"second", content_type=HTML)
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"second"


def test_a_link_opens_nothing_else(store: Store) -> None:
    store.put(KEY, b"x", content_type=HTML)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(store.link("reports/2026-02/job-2.html", seconds=60))


@pytest.mark.parametrize("seconds", [60, 43_200])
def test_a_link_says_how_long_it_is_good_for(seconds: int) -> None:
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-west-1")
    s3 = session.client("s3", config=Config(signature_version="s3v4"))
    query = parse_qs(urlsplit(Store(s3, bucket=BUCKET).link(KEY, seconds=seconds)).query)
    assert query["X-Amz-Expires"] == [str(seconds)]


def test_a_bucket_that_is_gone_may_come_back(aws: LocalAws) -> None:
    store = Store(aws.client("s3"), bucket="nosuch-bucket")
    with pytest.raises(TransientError, match=rf"\A{KEY} cannot be stored: .*NoSuchBucket"):
        store.put(KEY, b"x", content_type=HTML)


def test_an_s3_that_cannot_be_reached_may_be_reached_later() -> None:
    store = Store(LocalAws("http://127.0.0.1:9").client("s3"), bucket=BUCKET)
    with pytest.raises(TransientError, match=rf"\A{KEY} cannot be stored: Could not connect to the endpoint"):
        store.put(KEY, b"x", content_type=HTML)


def test_a_link_is_signed_as_an_encrypted_bucket_wants_it_and_leads_to_its_own_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    link = Store(context.client.__wrapped__("s3"), bucket=BUCKET).link(KEY, seconds=60)
    assert link.startswith(f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/{KEY}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")
