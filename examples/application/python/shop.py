"""The shop: its settings, what an order is, and how its invoice is sent."""

import os
from urllib.parse import unquote, urlsplit

import boto3
from botocore.config import Config

from nightshift import NotYet, Refused, enqueue

url = urlsplit(os.environ["APP_DATABASE_URL"])
DATABASE = {
    "host": url.hostname,
    "port": url.port or 3306,
    "user": unquote(url.username),
    "password": unquote(url.password or ""),
    "database": url.path[1:],
}
SECRETS = os.environ["APP_JOBS_SECRETS"].split(",")
QUEUE_URL = os.environ["WORK_QUEUE_URL"]
SQS = boto3.client("sqs", config=Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}))


def place_order(cursor, item, is_paid):
    """Insert an order and the job that sends its invoice."""
    cursor.execute("INSERT INTO orders (item, is_paid) VALUES (%s, %s)", (item, is_paid))
    order = cursor.lastrowid
    job = enqueue(cursor, "send_invoice", {"order": order})
    cursor.execute("UPDATE stock SET pieces = pieces - 1 WHERE item = %s", (item,))
    return {"order": order, "job": job}


def send_invoice(job, cursor):
    """Send an order's invoice."""
    order = job["data"]["order"]
    cursor.execute("SELECT is_paid FROM orders WHERE id = %s", (order,))
    found = cursor.fetchone()
    if found is None:
        raise Refused(f"there is no order {order}")
    if not found[0]:
        raise NotYet(f"order {order} is not paid", 60)
    cursor.execute("INSERT INTO invoices (order_id) VALUES (%s)", (order,))
    return {"invoice": cursor.lastrowid}


HANDLERS = {"send_invoice": send_invoice}
