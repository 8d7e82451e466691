"""The digest for a hundredth, a tenth and all of its readers: listed, and mailed in bulk and one by one.

python -m bench.digest [--readers 100000] [--posts 20000] [--rounds 3]

Each invocation is one process, as on Lambda, and each round another day. Ten messages are mailed, with a hundred
readers each; SES is the emulator's, which takes a processor too.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench import command
from bench.child import result_of
from bench.cleanup import connect
from bench.invocation import SINGLY
from bench.machine import machine
from bench.moments import NOW, fires
from bench.report import Column, Part, Ratio, Table
from bench.servers import database
from bench.tabulate import tabulate
from chalicelib.application import posts, users
from chalicelib.core.engine import engine_for
from nightshift.demo.blog import make_posts, make_users
from nightshift.demo.database import load, prepare_database
from nightshift.demo.run import FIRE_HOUR, SEED
from nightshift.local.aws import LocalAws, local_aws
from nightshift.local.environment import QUEUE, enter, isolated, local_environment
from nightshift.local.invocation import scheduled_event, sqs_event

SAMPLE_MESSAGES, DAYS = 10, 42
SIZES = {"readers": (100_000, 1000), "posts": (20_000, 1000), "rounds": (3, 1)}
# A pace that nothing waits for.
PACE = {"MAIL_RATE": "1000000", "MAIL_WORKERS": "1"}
LISTING = (
    Column(name="time", unit="s"),
    Column(name="readers", unit="a second"),
    Column(name="a reader", unit="µs"),
    Column(name="of our processor", unit="µs"),
    Column(name="memory", unit="MiB"),
)
MAILING = (
    Column(name="mails", decimals=0),
    Column(name="mails a second"),
    Column(name="a mail", unit="ms"),
    Column(name="of our processor", unit="ms"),
    Column(name="memory", unit="MiB"),
)
Rounds = dict[str, list[dict[str, float]]]


def main() -> None:
    """Measure and print."""
    command.run(compare, __doc__, SIZES)


def compare(sizes: argparse.Namespace) -> Part:
    """Send digests to more and more readers."""
    enter(isolated(os.environ))
    counts = [sizes.readers // 100, sizes.readers // 10, sizes.readers]
    fewest = name_of(counts[0])
    listed: Rounds = {}
    again: Rounds = {}
    mailed: dict[str, Rounds] = {"work": {}, SINGLY: {}}
    with tempfile.TemporaryDirectory() as folder, local_aws() as aws, database(sizes.server) as url:
        told = machine(url)
        for count in counts:
            name, schema = name_of(count), f"readers_{count}"
            with connect(url) as connection, connection.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {schema}")
            own = url.removesuffix("nightshift") + schema
            enter(
                local_environment(os.environ | {"DATABASE_URL": own}, endpoint=aws.endpoint, folder=Path(folder)) | PACE
            )
            fill(own, readers=count, post_count=sizes.posts)
            ways = sizes.rounds * list(mailed.items())
            for fire, (function, rounds) in zip(fires(len(ways), hour=FIRE_HOUR), ways, strict=True):
                event = scheduled_event(fire)
                listed.setdefault(name, []).append(list_readers(event))
                again.setdefault(name, []).append(list_readers(event))
                rounds.setdefault(name, []).append(mail(aws, function))
                aws.messages(QUEUE).clear()
    tables = (
        grown("listed by the fan-out", LISTING, listed, of="a reader", to=fewest),
        tabulate("the same fire again", (LISTING[0], LISTING[-1]), again),
        grown("mailed in bulk, a sample", MAILING, mailed["work"], of="of our processor", to=fewest),
        grown("mailed one by one, a sample", MAILING, mailed[SINGLY], of="of our processor", to=fewest),
    )
    posts_told = f"{sizes.posts:,} posts of {DAYS} days"
    about = f"{posts_told}, {sizes.rounds} rounds; × is beside the fewest readers, so 1 is a cost that does not grow."
    return Part(about=about, machine=told, tables=tables)


def name_of(count: int) -> str:
    """Return what a row is called."""
    return f"{count:,} readers"


def grown(what: str, columns: tuple[Column, ...], taken: Rounds, *, of: str, to: str) -> Table:
    """Return a table that shows how a cost for each, and memory, grow with the readers."""
    ratios = [Ratio(name=f"× {of}", column=of, to=to), Ratio(name="× memory", column="memory", to=to)]
    return tabulate(what, columns, taken, ratios=ratios)


def list_readers(event: object) -> dict[str, float]:
    """Fire, and return what it took."""
    done = measure("daily_digest", event)
    time_, count = done["seconds"], done["answer"].get("succeeded", 0)
    taken = {"time": time_, "memory": done["peak_mib"]}
    if count:
        # The same fire again lists nobody.
        taken |= {"readers": count / time_, "a reader": 1e6 * time_ / count}
        taken["of our processor"] = 1e6 * done["cpu_seconds"] / count
    return taken


def mail(aws: LocalAws, function: str) -> dict[str, float]:
    """Mail to the readers of the next messages, and return what it took."""
    done = measure(function, sqs_event(take_messages(aws)))
    mails, time_ = len(aws.take_sent()), done["seconds"]
    each = {"a mail": 1000 * time_ / mails, "of our processor": 1000 * done["cpu_seconds"] / mails}
    return {"mails": mails, "mails a second": mails / time_, "memory": done["peak_mib"]} | each


def take_messages(aws: LocalAws) -> list[dict[str, Any]]:
    """Take the next messages of the fan-out off the queue."""
    messages: list[dict[str, Any]] = (
        aws.client("sqs")
        .receive_message(QueueUrl=os.environ["WORK_QUEUE_URL"], MaxNumberOfMessages=SAMPLE_MESSAGES)
        .get("Messages", [])
    )
    return messages


def fill(url: str, *, readers: int, post_count: int) -> None:
    """Load users who all want the digest, and posts."""
    engine = engine_for(url)
    prepare_database(engine)
    wanted = {"is_verified": True, "email_digest": True}
    load(engine, users, (user | wanted for user in make_users(readers, now=NOW, seed=SEED)))
    load(engine, posts, make_posts(post_count, until=NOW, days=DAYS, seed=SEED))


def measure(function: str, event: object) -> dict[str, Any]:
    """Invoke a function in a fresh process and return its answer, seconds and peak memory in MiB."""
    child = [sys.executable, "-m", "bench.invocation", function]
    answer: dict[str, Any] = result_of(child, given=json.dumps(event))
    return answer


if __name__ == "__main__":
    main()
