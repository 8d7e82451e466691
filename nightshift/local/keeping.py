"""What the emulator holds, kept in a folder between two runs: messages of the queues, and objects of the bucket."""

import json
import shutil
from pathlib import Path
from typing import Any

from moto.sqs.models import Message

from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET, DEAD_LETTER_QUEUE, PRIORITY_QUEUE, QUEUE

KEPT = ("sent_timestamp", "visible_at", "delayed_until", "approximate_receive_count")


def keep(aws: LocalAws, folder: Path) -> None:
    """Write what the emulator holds to the folder, in place of what an earlier run held."""
    s3, objects = aws.client("s3"), folder / "bucket"
    shutil.rmtree(objects, ignore_errors=True)
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", []):
            path = objects / found["Key"]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                s3.download_fileobj(BUCKET, found["Key"], file)
    queues = {name: [_describe(each) for each in aws.messages(name)] for name in _QUEUES}
    # Whole or not at all, as a second Ctrl-C may come.
    unfinished = folder / "queues.json.new"
    unfinished.write_text(json.dumps(queues), encoding="utf-8")
    unfinished.replace(folder / "queues.json")


def bring_back(aws: LocalAws, folder: Path) -> None:
    """Give the emulator what an earlier run has left in the folder, if there was one."""
    s3, objects = aws.client("s3"), folder / "bucket"
    for path in sorted(objects.rglob("*")):
        if path.is_file():
            s3.upload_file(str(path), BUCKET, str(path.relative_to(objects)))
    kept = folder / "queues.json"
    if kept.exists():
        for name, messages in json.loads(kept.read_text(encoding="utf-8")).items():
            aws.messages(name).extend(_message(each) for each in messages)


_QUEUES = (QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE)


def _describe(message: Message) -> dict[str, Any]:
    attributes = {name: value for name, value in message.message_attributes.items() if "StringValue" in value}
    values = {name: getattr(message, name) for name in KEPT}
    return {"id": message.id, "body": message.body, "message_attributes": attributes, **values}


def _message(kept: dict[str, Any]) -> Message:
    message = Message(kept["id"], kept["body"])
    vars(message).update({name: kept[name] for name in (*KEPT, "message_attributes")})
    return message
