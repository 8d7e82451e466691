"""SQS, SES and S3 in this process: moto's server on a port of the loopback interface, whose state can be kept."""

import email
import email.policy
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from functools import cache
from pathlib import Path
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
from nightshift.local import ses_bulk
from nightshift.local.environment import ACCOUNT, BUCKET, DEAD_LETTER_QUEUE, PRIORITY_QUEUE, QUEUE, REGION, SENDER

QUEUES = (QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE)
# The user's own profile and files may be missing or invalid.
NO_PROFILE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}
# As in a deployment: six times the worker's time-out.
VISIBILITY_SECONDS = 1800
# The state of a message that survives a restart.
MESSAGE_STATE = ("sent_timestamp", "visible_at", "delayed_until", "approximate_receive_count")


@dataclass(frozen=True)
class SentMail:
    """A mail as SES accepted it."""

    recipient: str
    content: bytes

    def write(self, path: Path) -> None:
        """Write the mail as `path`.eml and its HTML part as `path`.html."""
        Path(f"{path}.eml").write_bytes(self.content)
        Path(f"{path}.html").write_text(html_part(self.content), encoding="utf-8")


def parse_mail(content: bytes) -> EmailMessage:
    """Return a mail as Python's e-mail package reads it."""
    return email.message_from_bytes(content, policy=email.policy.default)


def html_part(content: bytes) -> str:
    """Return the HTML part of a mail."""
    body = parse_mail(content).get_body(("html",))
    return "" if body is None else str(body.get_content())


@dataclass(frozen=True)
class LocalAws:
    """The emulator's address and contents."""

    endpoint: str

    def client(self, service: str) -> Any:
        """Return a client of the emulator that ignores the environment of this process."""
        return _client(service, self.endpoint)

    def sent(self, *, since: int = 0) -> list[SentMail]:
        """Return the mails that SES accepted, without the first `since`."""
        messages: list[Any] = ses_backends[ACCOUNT][REGION].sent_messages[since:]
        return [SentMail(message.destinations[0], message.raw_data.encode()) for message in messages]

    def take_sent(self) -> list[SentMail]:
        """Return the mails that SES accepted, and remove them."""
        mails, accepted = self.sent(), ses_backends[ACCOUNT][REGION].sent_messages
        del accepted[: len(mails)]
        return mails

    def sent_count(self) -> int:
        """Return how many mails SES accepted."""
        return len(ses_backends[ACCOUNT][REGION].sent_messages)

    def messages(self, queue: str) -> list[Message]:
        """Return the emulator's own list of a queue's messages, visible or not."""
        messages: list[Message] = sqs_backends[ACCOUNT][REGION].queues[queue]._messages
        return messages

    def objects(self) -> dict[str, FakeKey]:
        """Return the objects of the bucket by key. A replaced object is a new one."""
        return dict(s3_backends[ACCOUNT]["aws"].buckets[BUCKET].keys.items())

    def has_visible(self, queue: str) -> bool:
        """Return whether a queue has a message to deliver now."""
        return any(each.visible and not each.delayed for each in self.messages(queue))


@cache
def _client(service: str, endpoint: str) -> Any:
    core = botocore.session.Session(session_vars=NO_PROFILE)
    session = boto3.Session("local", "local", botocore_session=core)
    return session.client(service, region_name=REGION, endpoint_url=endpoint)  # type: ignore[call-overload]


@contextmanager
def local_aws(clock: Clock | None = None, *, port: int = 0) -> Iterator[LocalAws]:
    """Run the emulator with queues, bucket and verified sender; by default on the system clock and a free port."""
    # It logs a line for each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    ses_bulk.register()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = LocalAws(f"http://{host}:{port}")
    try:
        prepare(aws)
        with _using_clock(clock or SystemClock()):
            yield aws
    finally:
        server.stop()


@contextmanager
def _using_clock(clock: Clock) -> Iterator[None]:
    """Make the emulator use a clock: moto reads the time in one function.

    Its queues read the time for each of their messages whenever one is added, so they get a faster function.
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
    """Create the queues and the bucket and verify the sender, as a deployment's stacks do."""
    for name in QUEUES:
        aws.client("sqs").create_queue(QueueName=name, Attributes={"VisibilityTimeout": str(VISIBILITY_SECONDS)})
    aws.client("s3").create_bucket(Bucket=BUCKET)
    aws.client("sesv2").create_email_identity(EmailIdentity=SENDER)


class SavedState:
    """Messages and objects of an emulator, saved in a folder. Each file is replaced as a whole."""

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self._aws = aws
        self._folder = folder
        self._objects: dict[str, FakeKey] = {}
        self._queues = ""

    def restore(self) -> None:
        """Restore the messages and objects of an earlier emulator, if there are any."""
        s3, objects = self._aws.client("s3"), self._folder / "bucket"
        for path in sorted(objects.rglob("*")):
            if path.is_file():
                s3.upload_file(str(path), BUCKET, str(path.relative_to(objects)))
        saved = self._folder / "queues.json"
        if saved.exists():
            for name, messages in json.loads(saved.read_text(encoding="utf-8")).items():
                self._aws.messages(name).extend(_message(each) for each in messages)
        self._objects = self._aws.objects()

    def save(self) -> None:
        """Save what has changed since the last call."""
        # Messages first: one that refers to an object is sent after the object is stored.
        queues = json.dumps({name: [_state_of(each) for each in list(self._aws.messages(name))] for name in QUEUES})
        objects = self._aws.objects()
        for name, held in objects.items():
            if self._objects.get(name) is not held:
                # An object that was replaced or deleted meanwhile cannot be read, and is saved by the next call.
                with suppress(ValueError):
                    self._write(self._folder / "bucket" / name, held.value)
        if queues != self._queues:
            self._write(self._folder / "queues.json", queues.encode())
            self._queues = queues
        for name in self._objects.keys() - objects.keys():
            (self._folder / "bucket" / name).unlink(missing_ok=True)
        self._objects = objects

    def _write(self, path: Path, content: bytes) -> None:
        unfinished = self._folder / "unfinished"
        unfinished.write_bytes(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.replace(path)


def _state_of(message: Message) -> dict[str, Any]:
    attributes = {name: value for name, value in message.message_attributes.items() if "StringValue" in value}
    values = {name: getattr(message, name) for name in MESSAGE_STATE}
    return {"id": message.id, "body": message.body, "message_attributes": attributes, **values}


def _message(state: dict[str, Any]) -> Message:
    message = Message(state["id"], state["body"])
    vars(message).update({name: state[name] for name in (*MESSAGE_STATE, "message_attributes")})
    return message
