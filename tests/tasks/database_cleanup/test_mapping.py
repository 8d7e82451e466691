"""An application whose tables and columns have other names changes one file, and is cleaned up all the same."""

from pathlib import Path

from sqlalchemy import create_engine, text

from tests.mapping.project import copy_project, renamed, run
from tests.world import World

FIRE = """
from sqlalchemy import insert
from chalicelib import migrations
from chalicelib.runs import execution
from chalicelib.application import password_reset_tokens, sessions, users
from chalicelib.core.context import from_lambda
from nightshift.local.invocation import LocalContext
context = from_lambda(LocalContext(function_name="database_cleanup"))
migrations.upgrade(context.database.engine)
old, far = 1470000000000, 4000000000000
with context.database.engine.begin() as connection:
    for id_, is_verified in (("gone", False), ("kept", True)):
        flags = {"is_verified": is_verified, "is_admin": False, "email_digest": 1, "created_at": old, "updated_at": old}
        connection.execute(insert(users).values(id=id_, name="Ann", email=f"{id_}@example.com", **flags))
        connection.execute(insert(sessions).values(id=id_, user_id=id_, created_at=old, updated_at=far))
        token = {"id": id_, "email": f"{id_}@example.com", "token": id_, "created_at": old, "expires_at": far}
        connection.execute(insert(password_reset_tokens).values(token))
assert execution.execute("database_cleanup", event={}, context=context)["succeeded"] == 1
"""


def test_unverified_users_go_from_tables_and_columns_of_other_names(world: World, tmp_path: Path) -> None:
    names = (
        ('"users",\n', '"members",\n'),
        ('Column("email", ', 'Column("mail_address", '),
        ('Column("is_verified", ', 'Column("confirmed", '),
    )
    copy_project(tmp_path, renamed(*names))
    url = f"sqlite:///{tmp_path / 'application.db'}"
    done = run(tmp_path, FIRE, environment={**world.environment, "DATABASE_URL": url})
    assert done.returncode == 0, done.stderr
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, confirmed FROM members")).all() == [("kept", 1)]
        for table in ("sessions", "password_reset_tokens"):
            assert connection.execute(text(f"SELECT id FROM {table}")).all() == [("kept",)]
    engine.dispose()
