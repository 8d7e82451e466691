"""The guide's table of jobs, and its polling loop as its JavaScript has it.

python -m bench.rivals.guide_loop DATABASE_URL
"""

import json
import sys
import time
from urllib.parse import urlsplit
from uuid import uuid4

import pymysql
from pymysql.cursors import DictCursor

from bench.rivals import tally
from bench.rivals.contest import make_data

TABLE = """
CREATE TABLE guide.jobs (
    id CHAR(36) PRIMARY KEY,
    type VARCHAR(64) NOT NULL,
    data MEDIUMTEXT NOT NULL,
    status VARCHAR(16) NOT NULL DEFAULT 'pending',
    created_at BIGINT NOT NULL,
    completed_at BIGINT NULL,
    INDEX (status, created_at)
)
"""


def main() -> None:
    """Poll until nothing is pending."""
    with connect(sys.argv[1]) as connection, connection.cursor() as cursor:
        cursor.execute("USE guide")
        tally.wait_for_start()
        while poll(cursor):
            pass
        tally.tell()


def connect(url: str) -> "pymysql.Connection[DictCursor]":
    """Connect, so that every statement is committed at once."""
    server = urlsplit(url)
    return pymysql.connect(
        host=server.hostname,
        port=server.port or 0,
        user=server.username,
        cursorclass=DictCursor,
        autocommit=True,
        # As ours on this machine; encrypted, every statement takes longer.
        ssl_disabled=True,
    )


def fill(url: str, jobs: int) -> None:
    """Make the table anew, in a database of its own, with as many pending jobs."""
    rows = [(str(uuid4()), json.dumps(data), number) for number, data in enumerate(make_data(jobs))]
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS guide")
        cursor.execute("CREATE DATABASE guide")
        cursor.execute(TABLE)
        cursor.executemany("INSERT INTO guide.jobs (id, type, data, created_at) VALUES (%s, 'noop', %s, %s)", rows)


def poll(cursor: DictCursor) -> bool:
    """Perform the oldest pending job, unless there is none."""
    cursor.execute("SELECT * FROM jobs WHERE status = 'pending' ORDER BY created_at ASC LIMIT 1")
    job = cursor.fetchone()
    if job is None:
        return False
    cursor.execute("UPDATE jobs SET status = 'processing' WHERE id = %s", (job["id"],))
    data = json.loads(job["data"])
    match job["type"]:
        case "noop":
            tally.job(data)
    completed_at = time.time_ns() // 1_000_000
    cursor.execute("UPDATE jobs SET status = 'completed', completed_at = %s WHERE id = %s", (completed_at, job["id"]))
    return True


if __name__ == "__main__":
    main()
