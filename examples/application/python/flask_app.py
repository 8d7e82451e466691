"""The shop with Flask and PyMySQL: `python flask_app.py`."""

import os
from contextlib import contextmanager

import pymysql
from flask import Flask, request

from nightshift import perform, start
from shop import DATABASE, HANDLERS, QUEUE_URL, SECRETS, SQS, place_order

app = Flask(__name__)


@contextmanager
def transaction():
    connection = pymysql.connect(**DATABASE)
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
    start(SQS, QUEUE_URL, placed["job"])
    return placed, 201


@app.post("/jobs")
def jobs():
    return perform(transaction, SECRETS, HANDLERS, request.headers, request.get_data())


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
