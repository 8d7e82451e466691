"""The shop with Flask and PyMySQL: `python flask_app.py`."""

import os
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

import boto3
import pymysql
from botocore.config import Config
from flask import Flask, request
from shop import place_order, send_invoice

from nightshift import perform, start

url = urlsplit(os.environ["APP_DATABASE_URL"])
sqs = boto3.client("sqs", config=Config(connect_timeout=2, read_timeout=2, retries={"total_max_attempts": 1}))
app = Flask(__name__)


@contextmanager
def transaction():
    connection = pymysql.connect(
        host=url.hostname,
        port=url.port or 3306,
        user=unquote(url.username),
        password=unquote(url.password or ""),
        database=url.path[1:],
    )
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
    finally:
        connection.close()


@app.post("/orders")
def orders():
    try:
        with transaction() as cursor:
            placed = place_order(cursor, request.json["item"], request.json["is_paid"])
    except pymysql.MySQLError as error:
        return str(error), 409
    start(sqs, os.environ["WORK_QUEUE_URL"], placed["job"])
    return placed, 201


@app.post("/jobs")
def jobs():
    secrets = os.environ["APP_JOBS_SECRETS"].split(",")
    return perform(transaction, secrets, {"send_invoice": send_invoice}, request.headers, request.get_data())


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
