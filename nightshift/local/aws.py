"""SQS and SES in this process: moto's server on a free port of the loopback interface."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from moto.server import ThreadedMotoServer
from moto.ses.models import ses_backends

from nightshift.local.environment import ACCOUNT, BUCKET, DEAD_LETTER_QUEUE, PRIORITY_QUEUE, QUEUE, REGION, SENDER

# As a deployment should: at least six times the worker's time-out.
VISIBILITY_SECONDS = 1800


@dataclass(frozen=True)
class SentMail:
    """A mail as the provider took it."""

    recipient: str
    content: bytes


@dataclass(frozen=True)
class LocalAws:
    """The emulator's address, and what it accepted."""

    endpoint: str

    def client(self, service: str) -> Any:
        """Return a client of the emulator that takes nothing from the process's environment."""
        return _client(service, self.endpoint)

    def sent(self, *, since: int = 0) -> list[SentMail]:
        """Return the mails that SES accepted, from the `since`-th on."""
        messages: list[Any] = ses_backends[ACCOUNT][REGION].sent_messages[since:]
        return [SentMail(message.destinations[0], message.raw_data.encode()) for message in messages]

    def sent_count(self) -> int:
        """Return how many mails SES accepted."""
        return len(ses_backends[ACCOUNT][REGION].sent_messages)


@cache
def _client(service: str, endpoint: str) -> Any:
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local")  # noqa: S106 (no secret)
    return session.client(service, region_name=REGION, endpoint_url=endpoint)  # type: ignore[call-overload]


@contextmanager
def local_aws() -> Iterator[LocalAws]:
    """Run the emulator with the queues made and the sender verified."""
    # It writes a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = LocalAws(f"http://{host}:{port}")
    try:
        prepare(aws)
        yield aws
    finally:
        server.stop()


def prepare(aws: LocalAws) -> None:
    """Make the queues and verify the sender, as a deployment's stacks do."""
    for name in (QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE):
        aws.client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})
    aws.client("s3").create_bucket(Bucket=BUCKET)
    aws.client("sesv2").create_email_identity(EmailIdentity=SENDER)
