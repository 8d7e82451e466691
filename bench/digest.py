"""The digest on MariaDB: its fan-out, and its sending in bulk and one by one, each in one process as on Lambda.

python -m bench.digest [--users 100000] [--posts some.csv]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import machine
from chalicelib.application import posts, users
from chalicelib.engine import engine_for
from chalicelib.mail import sending
from nightshift.demo.blog import make_posts, make_users
from nightshift.demo.loading import load, prepare_database
from nightshift.demo.posts_csv import BadRow, read_posts
from nightshift.demo.run import SEED, fire_after_busiest_day
from nightshift.local.aws import LocalAws, local_aws
from nightshift.local.environment import enter, isolated, local_environment
from nightshift.local.invocation import invoke, scheduled_event, sqs_event
from nightshift.local.servers import mariadb_server

SAMPLE_MESSAGES = 10
# The worker where SES takes no bulk.
SINGLY = "work singly"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--posts", type=Path)
    arguments = parser.parse_args()
    enter(isolated(os.environ))
    with tempfile.TemporaryDirectory() as folder, local_aws() as aws, mariadb_server(Path(folder)) as url:
        base = os.environ | {"DATABASE_URL": url}
        # A pace that nothing waits for.
        pace = {"MAIL_RATE": "1000000", "MAIL_WORKERS": "1"}
        enter(local_environment(base, endpoint=aws.endpoint, folder=Path(folder)) | pace)
        count = fill(url, user_count=arguments.users, posts_csv=arguments.posts)
        moment = fire_after_busiest_day(engine_for(url))
        print(f"{machine(url)}, {count:,} readers")
        tell("fan-out", measure("daily_digest", scheduled_event(moment)))
        tell("the same fire again", measure("daily_digest", scheduled_event(moment)))
        for what, function in (("sending in bulk", "work"), ("sending one by one", SINGLY)):
            tell(what, measure(function, sqs_event(take_messages(aws))), mails=len(aws.take_sent()))


def take_messages(aws: LocalAws) -> list[dict[str, Any]]:
    """Take the next messages of the fan-out off the queue."""
    messages: list[dict[str, Any]] = (
        aws.client("sqs")
        .receive_message(QueueUrl=os.environ["WORK_QUEUE_URL"], MaxNumberOfMessages=SAMPLE_MESSAGES)
        .get("Messages", [])
    )
    return messages


def fill(url: str, *, user_count: int, posts_csv: Path | None) -> int:
    """Load users who all want the digest, and posts; return how many users there are."""
    engine, now = engine_for(url), datetime.now(UTC)
    prepare_database(engine)
    wanted = {"is_verified": True, "email_digest": True}
    count = load(engine, users, (user | wanted for user in make_users(user_count, now=now, seed=SEED)))
    if posts_csv is None:
        load(engine, posts, make_posts(20_000, until=now, days=42, seed=SEED))
    else:
        load(engine, posts, (row for row in read_posts(posts_csv) if not isinstance(row, BadRow)))
    return count


def measure(function: str, event: object) -> dict[str, Any]:
    """Invoke a function in a fresh process and return its answer, seconds and peak memory in MiB."""
    child = [sys.executable, "-m", "bench.digest", "--child", function]
    done = subprocess.run(child, input=json.dumps(event), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run_child(function: str) -> None:
    """Invoke the function with the event on standard input; print what it took as the last line."""
    event = json.load(sys.stdin)
    if function == SINGLY:
        function = "work"
        vars(sending)["MOST"] = 1
    started, cpu_started = time.perf_counter(), time.process_time()
    answer = invoke(function, event)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    print(json.dumps({"answer": answer, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": peak_mib()}))


def peak_mib() -> float:
    """Return the most memory that this process has held, in MiB."""
    # Not getrusage: its figure is inherited from the parent through fork and exec.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def tell(what: str, measured: dict[str, Any], *, mails: int | None = None) -> None:
    """Print one line of the report."""
    done = measured["answer"].get("succeeded", 0) if mails is None else mails
    rate = f"{done / measured['seconds']:,.0f} a second" if done else "nothing sent"
    each = f"{1000 * measured['cpu_seconds'] / done:.2f} ms of CPU each" if done else ""
    print(
        f"{what:20} {done:>8,} recipients  {measured['seconds']:6.2f} s  {rate:>16}  {each:>22}"
        f"  {measured['peak_mib']:4.0f} MiB"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run_child(sys.argv[2])
    else:
        main()
