"""An application whose tables and columns have other names changes one file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, inspect

from nightshift.local.aws import parse_mail
from tests.world import World

ROOT = Path(__file__).parent.parent
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
    for name in ("chalicelib", "nightshift"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", tmp_path)
    application = tmp_path / "chalicelib" / "application.py"
    text = application.read_text()
    for ours, theirs in (('"users",\n', '"members",\n'), ('Column("email", ', 'Column("mail_address", ')):
        assert ours in text
        text = text.replace(ours, theirs)
    application.write_text(text)
    url = f"sqlite:///{tmp_path / 'application.db'}"
    environment = os.environ | world.environment | {"DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "-c", FIRE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    engine = create_engine(url)
    assert "mail_address" in [column["name"] for column in inspect(engine).get_columns("members")]
    engine.dispose()
    assert world.recipients() == ["ann@example.com"]
    assert "Hello" in parse_mail(world.aws.sent()[0].content).get_body(("plain",)).get_content()  # type: ignore[union-attr]
