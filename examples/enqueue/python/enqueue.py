"""Puts jobs on Nightshift's queue: `python enqueue.py one`, or `python enqueue.py < messages.jsonl`."""

import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import boto3

EXAMPLE = {
    "type": "send_email",
    "data": {"to": "reader@example.com", "subject": "Welcome", "text": "Hello"},
    "idempotency_key": "welcome-42",
    "source": "shop",
}
QUEUE = os.environ["WORK_QUEUE_URL"]
sqs: Any = boto3.client("sqs")


def batches(entries: list[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    """Yield what fits into one call: ten entries, 256 KiB together."""
    while entries:
        sizes = accumulate(len(entry["MessageBody"].encode()) for entry in entries[:10])
        count = max(1, sum(size <= 256 * 1024 for size in sizes))
        yield entries[:count]
        entries = entries[count:]


def send(bodies: list[str]) -> None:
    left = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
    for pause in (0, 0.2, 0.4, 0.8):
        time.sleep(pause)
        answers = [sqs.send_message_batch(QueueUrl=QUEUE, Entries=batch) for batch in batches(left)]
        # An answer of 200 may carry failures.
        failed = {failure["Id"] for answer in answers for failure in answer.get("Failed", [])}
        left = [entry for entry in left if entry["Id"] in failed]
        if not left:
            return
    sys.exit(f"Not on the queue after 4 attempts: {len(left)} of {len(bodies)} messages.")


if sys.argv[1:] == ["one"]:
    sqs.send_message(QueueUrl=QUEUE, MessageBody=json.dumps(EXAMPLE))
else:
    send([line.rstrip("\n") for line in sys.stdin if line.strip()])
