"""The proxy of a soak: each trouble reaches boto3 as the service or the network would have it."""

import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from nightshift.local.aws import LocalAws, local_aws
from nightshift.local.environment import BUCKET, PRIORITY_QUEUE, REGION, SENDER
from soak.proxy import proxy
from soak.weather import Trouble

CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "sqs": ("send_message", {"QueueUrl": f"http://here/123456789012/{PRIORITY_QUEUE}", "MessageBody": "{}"}),
    "s3": ("put_object", {"Bucket": BUCKET, "Key": "a", "Body": b"x"}),
    "sesv2": (
        "send_email",
        {
            "FromEmailAddress": SENDER,
            "Destination": {"ToAddresses": ["a@example.com"]},
            "Content": {"Raw": {"Data": b"Subject: x\r\n\r\nx"}},
        },
    ),
}


@pytest.fixture(scope="module")
def aws() -> Iterator[LocalAws]:
    with local_aws() as running:
        yield running


def done(aws: LocalAws, service: str) -> int:
    """Return how many calls have had an effect."""
    if service == "sesv2":
        return aws.sent_count()
    if service == "sqs":
        return len(aws.messages(PRIORITY_QUEUE))
    return len(aws.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", []))


def call(aws: LocalAws, service: str, trouble: Trouble | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "NO_PROXY", "127.0.0.1")
    with proxy(aws.endpoint, lambda _: trouble) as endpoint:
        client = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local").client(
            service,  # type: ignore[call-overload]
            region_name=REGION,
            endpoint_url=endpoint,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        operation, arguments = CALLS[service]
        getattr(client, operation)(**arguments)


@pytest.mark.parametrize("service", CALLS)
def test_without_trouble_a_call_goes_through(aws: LocalAws, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.client("s3").delete_object(Bucket=BUCKET, Key="a")
    before = done(aws, service)
    call(aws, service, None, monkeypatch)
    assert done(aws, service) == before + 1


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize(("trouble", "status"), [("refused", {500}), ("throttled", {400, 429, 503})])
def test_a_refusal_is_the_services_own_and_nothing_is_done(
    aws: LocalAws, service: str, trouble: Trouble, status: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = done(aws, service)
    with pytest.raises(ClientError) as refused:
        call(aws, service, trouble, monkeypatch)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in status
    assert done(aws, service) == before


@pytest.mark.parametrize("service", CALLS)
@pytest.mark.parametrize(("trouble", "effect"), [("lost", 0), ("answer lost", 1)])
def test_a_connection_that_breaks_tells_nobody_whether_anything_was_done(
    aws: LocalAws, service: str, trouble: Trouble, effect: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.client("s3").delete_object(Bucket=BUCKET, Key="a")
    before = done(aws, service)
    with pytest.raises(ConnectionClosedError):
        call(aws, service, trouble, monkeypatch)
    assert done(aws, service) == before + effect
