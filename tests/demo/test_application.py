"""The application of the demo does what real ones do: it verifies each call, may be busy, and answers with a result."""

import base64
import json
from collections.abc import Iterator

import pytest

from nightshift.demo.application import BUSY_SECONDS, SECRET, TYPE, application
from nightshift.testkit.kit import Kit

OTHER = f"whsec_{base64.b64encode(b'o' * 32).decode()}"


@pytest.fixture
def url() -> Iterator[str]:
    with application() as url:
        yield url


def kit_of(database_url: str, url: str, secret: str) -> Kit:
    return Kit(database_url, APP_JOBS_URL=url, APP_JOBS_SECRETS=secret, APP_JOBS_PRIVATE="on")


def test_a_picture_waits_while_it_is_busy_and_has_a_result(database_url: str, url: str) -> None:
    kit = kit_of(database_url, url, SECRET)
    job_id = kit.send({"type": TYPE, "data": {"key": "cat.png", "width": 200}})
    kit.drain()
    assert (kit.job(job_id).status, kit.job(job_id).attempts) == ("pending", 0)

    kit.clock.advance(BUSY_SECONDS)
    kit.settle()
    assert kit.job(job_id).status == "completed"
    assert json.loads(kit.job(job_id).result) == {"url": "/small/cat.png", "width": 200}


def test_a_call_signed_with_another_secret_is_refused(database_url: str, url: str) -> None:
    kit = kit_of(database_url, url, OTHER)
    job_id = kit.send({"type": TYPE, "data": {"key": "cat.png", "width": 200}})
    kit.drain()
    assert kit.job(job_id).last_error == "TransientError: the application answered 401: the signature is wrong"
