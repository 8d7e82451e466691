"""A kit is a deployment in this process, which has one connection to its database."""

from sqlalchemy import make_url, text

from chalicelib.engine import engine_for
from nightshift.testkit.kit import Kit


def test_kits_of_one_database_share_one_connection(mysql_url: str) -> None:
    with engine_for(mysql_url).connect() as root:
        for statement in ("DROP USER IF EXISTS kit", "CREATE USER kit", "GRANT ALL ON nightshift.* TO kit"):
            root.execute(text(statement))
        for _ in range(2):
            Kit(make_url(mysql_url).set(username="kit").render_as_string()).jobs()
        connections = text("SELECT count(*) FROM performance_schema.processlist WHERE user = 'kit'")
        assert root.execute(connections).scalar_one() == 1
