"""What the emulator holds, kept in a folder as it changes: messages of the queues, and objects of the bucket."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from moto.s3.models import FakeKey
from moto.sqs.models import Message

from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET, DEAD_LETTER_QUEUE, PRIORITY_QUEUE, QUEUE

QUEUES = (QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE)
KEPT = ("sent_timestamp", "visible_at", "delayed_until", "approximate_receive_count")


class Keeping:
    """The folder of one emulator; whenever it is killed, each file there is whole, as it was or as it is."""

    def __init__(self, aws: LocalAws, folder: Path) -> None:
        self._aws = aws
        self._folder = folder
        self._objects: dict[str, FakeKey] = {}
        self._queues = ""

    def bring_back(self) -> None:
        """Give the emulator what an earlier one has left in the folder, if there was one."""
        s3, objects = self._aws.client("s3"), self._folder / "bucket"
        for path in sorted(objects.rglob("*")):
            if path.is_file():
                s3.upload_file(str(path), BUCKET, str(path.relative_to(objects)))
        kept = self._folder / "queues.json"
        if kept.exists():
            for name, messages in json.loads(kept.read_text(encoding="utf-8")).items():
                self._aws.messages(name).extend(_message(each) for each in messages)
        self._objects = self._aws.objects()

    def keep(self) -> None:
        """Write what is new or has changed since the last time, and remove what is gone."""
        # A message may tell of an object, and never comes before it.
        queues = json.dumps({name: [_describe(each) for each in list(self._aws.messages(name))] for name in QUEUES})
        objects = self._aws.objects()
        for name, held in objects.items():
            if self._objects.get(name) is not held:
                # One that was replaced or deleted by now cannot be read, and differs the next time.
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


def _describe(message: Message) -> dict[str, Any]:
    attributes = {name: value for name, value in message.message_attributes.items() if "StringValue" in value}
    values = {name: getattr(message, name) for name in KEPT}
    return {"id": message.id, "body": message.body, "message_attributes": attributes, **values}


def _message(kept: dict[str, Any]) -> Message:
    message = Message(kept["id"], kept["body"])
    vars(message).update({name: kept[name] for name in (*KEPT, "message_attributes")})
    return message
