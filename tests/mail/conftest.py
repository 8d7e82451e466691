"""Clients of SES: for a test's own server, and stubbed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from tests.mail.ses_server import Connect

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Returns a client of SES at an address, with nothing of the user's own AWS set-up in it."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    return client


def client(url: str | None = None, *, key: str | None = "test", read_timeout: float = 5) -> SESV2Client:
    # As in context.py: botocore repeats nothing.
    config = Config(connect_timeout=5, read_timeout=read_timeout, retries={"total_max_attempts": 1})
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=key, region_name="us-east-1")
    return session.client("sesv2", endpoint_url=url, config=config)


@pytest.fixture(scope="session")
def ses() -> SESV2Client:
    """A client for stubs, which makes no request."""
    return client()


@pytest.fixture
def stub(ses: SESV2Client) -> Iterator[Stubber]:
    with Stubber(ses) as stub:
        yield stub
        stub.assert_no_pending_responses()
