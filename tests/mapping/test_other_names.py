"""An application whose tables and columns have other names changes one file."""

from pathlib import Path

from sqlalchemy import create_engine, inspect

from nightshift.local.aws import parse_mail
from tests.mapping.project import copy_project, renamed, run
from tests.world import World

FIRE = """
from datetime import UTC, datetime
from sqlalchemy import insert
from chalicelib import migrations
from chalicelib.application import posts, users
from chalicelib.core.engine import engine_for
from nightshift.local.invocation import drain, invoke, scheduled_event
import boto3, os
engine = engine_for(os.environ["DATABASE_URL"])
migrations.upgrade(engine)
with engine.begin() as connection:
    flags = {"is_verified": True, "is_admin": False, "email_digest": True, "created_at": 0, "updated_at": 0}
    connection.execute(insert(users).values(id="u1", name="Ann", email="ann@example.com", **flags))
    counts = {"points": 0, "comments": 0, "views": 0}
    connection.execute(insert(posts).values(id="p1", title="Hello", created_at=1470200000000, **counts))
invoke("daily_digest", scheduled_event(datetime(2016, 8, 4, 8, tzinfo=UTC)))
drain(boto3.client("sqs"), os.environ["WORK_QUEUE_URL"])
"""


def test_the_digest_runs_on_tables_and_columns_of_other_names(world: World, tmp_path: Path) -> None:
    names = (('"users",\n', '"members",\n'), ('Column("email", ', 'Column("mail_address", '))
    copy_project(tmp_path, renamed(*names))
    url = f"sqlite:///{tmp_path / 'application.db'}"
    done = run(tmp_path, FIRE, environment={**world.environment, "DATABASE_URL": url})
    assert done.returncode == 0, done.stderr
    engine = create_engine(url)
    assert "mail_address" in [column["name"] for column in inspect(engine).get_columns("members")]
    engine.dispose()
    assert world.recipients() == ["ann@example.com"]
    assert "Hello" in parse_mail(world.aws.sent()[0].content).get_body(("plain",)).get_content()  # type: ignore[union-attr]
