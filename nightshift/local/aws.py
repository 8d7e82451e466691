"""SQS and SES in this process: moto's server on a free port of the loopback interface."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import botocore.session
from moto.core import utils as moto_time
from moto.s3.models import FakeKey, s3_backends
from moto.server import ThreadedMotoServer
from moto.ses.models import ses_backends
from moto.sqs import models as sqs_models
from moto.sqs.models import Message, sqs_backends

from chalicelib.core.clock import Clock, SystemClock, from_ms
from nightshift.local import bulk
from nightshift.local.environment import ACCOUNT, BUCKET, DEAD_LETTER_QUEUE, PRIORITY_QUEUE, QUEUE, REGION, SENDER

# In place of the profile and the files that variables name: those of a person, which may not be there or be broken.
NOTHING = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
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

    def take_sent(self) -> list[SentMail]:
        """Return the mails that SES accepted, and let it forget them."""
        mails, accepted = self.sent(), ses_backends[ACCOUNT][REGION].sent_messages
        del accepted[: len(mails)]
        return mails

    def sent_count(self) -> int:
        """Return how many mails SES accepted."""
        return len(ses_backends[ACCOUNT][REGION].sent_messages)

    def messages(self, queue: str) -> list[Message]:
        """Return what is on a queue, whether it is visible or not: the list itself."""
        messages: list[Message] = sqs_backends[ACCOUNT][REGION].queues[queue]._messages
        return messages

    def objects(self) -> dict[str, FakeKey]:
        """Return what is in the bucket, by its key; an object that is put anew is another."""
        return dict(s3_backends[ACCOUNT]["aws"].buckets[BUCKET].keys.items())

    def has_visible(self, queue: str) -> bool:
        """Return whether a queue would deliver a message now."""
        return any(each.visible and not each.delayed for each in self.messages(queue))


@cache
def _client(service: str, endpoint: str) -> Any:
    core = botocore.session.Session(session_vars=NOTHING)
    session = boto3.Session("local", "local", botocore_session=core)
    return session.client(service, region_name=REGION, endpoint_url=endpoint)  # type: ignore[call-overload]


@contextmanager
def local_aws(clock: Clock | None = None, *, port: int = 0) -> Iterator[LocalAws]:
    """Run the emulator with the queues made and the sender verified, on the machine's clock or another.

    On a free port, unless one is given.
    """
    # It writes a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    bulk.register()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = LocalAws(f"http://{host}:{port}")
    try:
        prepare(aws)
        with _telling(clock or SystemClock()):
            yield aws
    finally:
        server.stop()


@contextmanager
def _telling(clock: Clock) -> Iterator[None]:
    """Have the emulator go by a clock: all that moto asks for the time goes through one function.

    Its queues ask twice or more for each message that they hold whenever one is added, and are told it directly.
    """
    queues: Any = sqs_models
    before, of_queues = moto_time.utcnow, queues.unix_time_millis
    moto_time.utcnow = lambda: from_ms(clock.now_ms()).replace(tzinfo=None)
    queues.unix_time_millis = clock.now_ms
    try:
        yield
    finally:
        moto_time.utcnow, queues.unix_time_millis = before, of_queues


def prepare(aws: LocalAws) -> None:
    """Make the queues and verify the sender, as a deployment's stacks do."""
    for name in (QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE):
        aws.client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})
    aws.client("s3").create_bucket(Bucket=BUCKET)
    aws.client("sesv2").create_email_identity(EmailIdentity=SENDER)
