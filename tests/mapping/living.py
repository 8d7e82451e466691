"""A summer of an application: its tables as SQL, and every task run on them once."""

from sqlalchemy import create_engine

DRIVER = """
import json, os, sys
from datetime import UTC, datetime
import boto3
from sqlalchemy import select
from chalicelib import application, migrations
from chalicelib.core.engine import engine_for
from chalicelib.mail.unsubscribe import opt_out
from chalicelib.schema import activity, deliveries, digests, month_figures
from nightshift.local.invocation import drain, invoke, scheduled_event
engine = engine_for(os.environ["DATABASE_URL"])
migrations.upgrade(engine)
found = {}
for task, moment in (
    ("daily_digest", datetime(2016, 8, 4, 8, tzinfo=UTC)),
    ("record_activity", datetime(2016, 8, 4, 0, 5, tzinfo=UTC)),
    ("monthly_report", datetime(2016, 8, 1, 9, tzinfo=UTC)),
    ("cache_warming", datetime(2016, 8, 4, 8, tzinfo=UTC)),
    ("database_cleanup", datetime(2016, 8, 4, 2, tzinfo=UTC)),
):
    found[task] = invoke(task, scheduled_event(moment))
drain(boto3.client("sqs"), os.environ["WORK_QUEUE_URL"])
with engine.begin() as connection:
    found["deliveries"] = [list(row) for row in connection.execute(select(deliveries.c.user_id, deliveries.c.status))]
    found["digests"] = [list(row) for row in connection.execute(select(digests.c.day, digests.c.post_count))]
    found["active"] = list(connection.execute(select(activity.c.user_id)).scalars())
    july = select(month_figures).where(month_figures.c.month == "2016-07")
    found["july"] = connection.execute(july).one()._asdict()
    found["opted_out"] = [opt_out(connection, sys.argv[1]), opt_out(connection, sys.argv[1])]
    readers = select(application.users.c.id).where(application.users.c.email_digest)
    found["readers"] = list(connection.execute(readers).scalars())
print(json.dumps(found))
"""


def fill(url: str, sql: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        # As WordPress needs it for its zero dates.
        connection.exec_driver_sql("SET SESSION sql_mode = ''")
        for statement in filter(str.strip, sql.split(";\n")):
            connection.exec_driver_sql(statement.strip().rstrip(";").replace("%", "%%"))
    engine.dispose()
