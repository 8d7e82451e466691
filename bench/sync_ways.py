"""One way to take items, in a process of its own that bench.sync begins: python -m bench.sync_ways WAY URL."""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import uuid4

import pymysql

# What a warm function has imported already.
from bench.memory import peak_mib
from bench.moments import NOW
from chalicelib.core.clock import iso
from chalicelib.core.context import from_lambda
from chalicelib.runs import execution
from chalicelib.tasks.external_sync import sources
from chalicelib.tasks.external_sync.items import ItemParser
from chalicelib.tasks.external_sync.splitting import Splitter
from nightshift.local.invocation import LocalContext

GUIDE, OURS = "the guide's loop", "external_sync"


def sync(url: str, *, is_snapshot: bool) -> None:
    """Run the task once for a source of this URL."""
    source = sources.Source(name="default", url=url, is_internal=True, is_snapshot=is_snapshot, seconds=3600.0)
    sources.SOURCES = (source,)
    # A minute that no other run of this benchmark has, and all the time there is.
    moment = iso(NOW - timedelta(minutes=time.monotonic_ns() // 1_000_000 % 10**7))
    context = from_lambda(LocalContext(function_name="external_sync", started=time.monotonic() + 10**6))
    summary = execution.execute("external_sync", event={"scheduled_for": moment}, context=context)
    if summary["outcome"] != "succeeded":
        sys.exit(str(summary))


def guide(url: str) -> None:
    """Fetch all, and look for each item before it is inserted or updated, as the guide does."""
    server = urlsplit(os.environ["DATABASE_URL"])
    address: Any = {"host": server.hostname, "port": server.port, "user": server.username, "autocommit": True}
    # On one machine nobody encrypts; it would take a few of the guide's microseconds.
    address["ssl_disabled"] = True
    with urlopen(url) as answer:  # noqa: S310 (our own server)
        items = json.loads(answer.read())
    with pymysql.connect(**address) as connection, connection.cursor() as cursor:
        for item in items:
            data, now_ms = json.dumps(item), time.time_ns() // 1_000_000
            cursor.execute("SELECT id FROM guide.external_data WHERE external_id = %s", (item["id"],))
            found = cursor.fetchone()
            if found:
                update = "UPDATE guide.external_data SET data = %s, synced_at = %s WHERE id = %s"
                cursor.execute(update, (data, now_ms, found[0]))
            else:
                insert = "INSERT INTO guide.external_data (id, external_id, data, synced_at) VALUES (%s, %s, %s, %s)"
                cursor.execute(insert, (str(uuid4()), item["id"], data, now_ms))


def parse(path: str) -> None:
    """Split a file into its items, and read each."""
    reader = ItemParser(
        sources.Source(name="default", url="https://example.com", changed_field="updated_at", changed_unit="ms")
    )
    with Path(path).open("rb") as file:
        for found in Splitter(iter(partial(file.read, 65_536), b""), key="items"):
            for item in found:
                reader.parse(item)


WAYS: dict[str, Callable[[str], None]] = {
    GUIDE: guide,
    OURS: partial(sync, is_snapshot=False),
    "snapshot": partial(sync, is_snapshot=True),
    "parse": parse,
}


def be_child(way: str, argument: str) -> None:
    """Do it, and print what it took as the last line."""
    started, was_busy = time.perf_counter(), time.process_time()
    WAYS[way](argument)
    seconds, busy = time.perf_counter() - started, time.process_time() - was_busy
    print(json.dumps({"time": seconds, "of processors": busy, "memory": peak_mib()}))


if __name__ == "__main__":
    be_child(*sys.argv[1:])
