"""A day's work on servers that are set up in other ways, and on servers that restart, refuse and fail over."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email import message_from_bytes, policy
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pymysql
import pytest
from rich.console import Console
from sqlalchemy import Connection, Engine, create_engine, make_url, select, text

from chalicelib import migrations
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.engine import engine_for
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.server_errors import translate_errors
from chalicelib.queue import dispatch, outbox
from chalicelib.queue.job import Job
from chalicelib.runs import execution
from chalicelib.schema import jobs
from nightshift.demo.queue import show_queue
from nightshift.local.aws import LocalAws
from nightshift.local.environment import engine_of, local_environment
from nightshift.local.servers import Server, prepare_mariadb, prepare_mysql
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import NOON, Kit
from tests.core.certificates import make_certificates, tls_options
from tests.docs.pages import ROOT, Page
from tests.queue.samples import Note, handle
from tests.servers import SERVERS, needed
from tests.sweep import IS_SWEEP
from tests.world import World

STRICT = "ONLY_FULL_GROUP_BY,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO"
# A kill loses no transaction that was answered.
WRITTEN_AT_COMMIT = "--innodb-flush-log-at-trx-commit=2"
LOST = 2013
# When a server is killed: right after the first commit, during the work, or right after the last commit.
MOMENTS = ("claim", "perform", "record")
# What an administrator made, and the functions' user may neither run nor change.
PROGRAMS = (
    "CREATE VIEW verified AS SELECT id, name FROM users WHERE is_verified",
    "CREATE FUNCTION twice (number INT) RETURNS INT DETERMINISTIC RETURN 2 * number",
    "CREATE PROCEDURE nothing () SELECT 1",
    "CREATE TRIGGER views BEFORE INSERT ON posts FOR EACH ROW SET NEW.views = coalesce(NEW.views, 0)",
    "CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY DO DELETE FROM sessions WHERE false",
)
# What makes a server refuse, by the statement that does it and the one that ends it.
REFUSALS = {
    "no connection left": ("SET GLOBAL max_connections = 1", "SET GLOBAL max_connections = 100"),
    "offline": ("SET GLOBAL offline_mode = ON", "SET GLOBAL offline_mode = OFF"),
    "read-only": ("SET GLOBAL super_read_only = ON", "SET GLOBAL read_only = OFF"),
    "read-only transactions": ("SET GLOBAL transaction_read_only = ON", "SET GLOBAL transaction_read_only = OFF"),
}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of our own authority, in the folder of those that it signed."""
    return make_certificates(tmp_path_factory.mktemp("certificates")) / "ours.pem"


@contextmanager
def running(prepare: Callable[..., Server], *options: str, folder: Path) -> Iterator[Server]:
    server = prepare(folder, WRITTEN_AT_COMMIT, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def mysql(ca: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A MySQL that lets only encrypted connections in; it restarts with these options, and a test may set others."""
    options = ["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--local-infile=OFF", "--max-allowed-packet=2M"]
    options += [f"--sql-mode={STRICT}", *tls_options(ca.parent)]
    folder = tmp_path_factory.mktemp("mysql")
    with needed(lambda folder: running(prepare_mysql, *options, folder=folder), folder) as server:
        yield server


@pytest.fixture(scope="module")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("mariadb")
    with needed(lambda folder: running(prepare_mariadb, folder=folder), folder) as server:
        yield server


@pytest.fixture
def root(mysql: Server, ca: Path) -> Engine:
    """The administrator's connections to the MySQL, on which nothing is left of an earlier test."""
    url = make_url(mysql.url).set(host="localhost").render_as_string()
    engine = engine_for(url, ca=str(ca))
    engine.dispose()
    with engine.begin() as connection:
        for statement in ("DROP DATABASE nightshift", "CREATE DATABASE nightshift"):
            connection.execute(text(statement))
    # Otherwise it has no schema any more.
    engine.dispose()
    return engine


def execute(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def make_user(root: Engine, *, host: str) -> str:
    """Make a user with the documented grants, whose password the server has not cached; return their URL."""
    grants = [code for code in Page(ROOT / "docs" / "data.md").code if code.startswith("GRANT")]
    ours = [code.replace(" `application`.*", " nightshift.*") for code in grants]
    of_mysql = [code for code in ours if not re.search("proc|MONIT", code)]
    assert len(of_mysql) == 6
    user = "CREATE USER nightshift IDENTIFIED WITH caching_sha2_password BY 'secret'"
    execute(root, "DROP USER IF EXISTS nightshift", user, *of_mysql)
    return root.url.set(host=host, username="nightshift", password="secret").render_as_string(hide_password=False)


@pytest.fixture
def make_world(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., World]:
    """Return what makes a deployment on this machine, with these variables of its environment."""

    def make(**variables: str) -> World:
        environment = local_environment(os.environ | variables, endpoint=aws.endpoint, folder=tmp_path)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        world = World(aws=aws, environment=environment)
        migrations.upgrade(world.context().database.engine)
        return world

    return make


def work_a_day(world: World) -> None:
    """Fire, enqueue, dispatch, work, clean up, back up and restore on trial, and look at what came of it."""
    readers = world.add_users(3)
    world.add_posts("Smørrebrød 🥪")
    assert world.fire()["succeeded"] == len(readers)
    assert world.drain() == 0
    assert set(world.ledger().values()) == {"sent"}
    mail = {"to": "reader@example.com", "subject": "Grüße 👋", "text": "x" * 300_000}

    def enqueue(connection: Connection) -> str:
        return outbox.enqueue(connection, "send_email", mail, idempotency_key="greeting")

    job_id = world.context().database.transact(enqueue)
    world.clock.advance(60)
    assert dispatch.dispatch(world.context())["succeeded"] >= 1
    assert world.drain() == 0
    assert world.execute(select(jobs.c.status).where(jobs.c.id == job_id)) == [("completed",)]
    sent = message_from_bytes(world.aws.sent()[-1].content, policy=policy.default)
    assert sent["Subject"] == mail["subject"]
    for task in ("database_cleanup", "record_activity", "monthly_report", "database_backup", "backup_drill"):
        event = {"scheduled_for": iso(from_ms(world.clock.now_ms()))}
        assert execution.execute(task, event=event, context=world.context())["outcome"] == "succeeded", task


def test_day_over_tls_in_strict_modes_needs_only_the_documented_grants(
    root: Engine, ca: Path, make_world: Callable[..., World]
) -> None:
    world = make_world(DATABASE_URL=make_user(root, host="localhost"), DATABASE_CA=str(ca))
    set_up = text("SELECT @@gtid_mode, @@local_infile, @@max_allowed_packet, @@sql_mode, @@collation_database")
    assert world.execute(set_up) == [("ON", 0, 2 << 20, STRICT, "utf8mb4_0900_ai_ci")]
    with pytest.raises(ConfigurationError, match="SET GLOBAL log_bin_trust_function_creators = 1"):
        make_trigger(world)
    execute(root, *PROGRAMS, "SET GLOBAL log_bin_trust_function_creators = 1")
    work_a_day(world)


def make_trigger(world: World) -> None:
    with translate_errors("making a trigger"), closing(world.context().connector()) as connection:
        connection.query("CREATE TRIGGER one BEFORE INSERT ON posts FOR EACH ROW SET NEW.views = 1")


def test_day_without_tls_and_strict_mode_on_a_jobs_table_of_three_byte_characters(
    root: Engine, make_world: Callable[..., World]
) -> None:
    for setting in ("require_secure_transport = OFF", "sql_mode = ''", "local_infile = ON"):
        execute(root, f"SET GLOBAL {setting}")
    # The password is not cached, so it is sent encrypted by the server's public key.
    world = make_world(DATABASE_URL=make_user(root, host="127.0.0.1"))
    assert world.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")) == [("Ssl_cipher", "")]
    execute(root, "ALTER TABLE jobs CONVERT TO CHARACTER SET utf8mb3")
    work_a_day(world)


def test_demo_local_day_and_test_kit_trust_the_authority_of_database_ca(root: Engine, ca: Path) -> None:
    environment = {"DATABASE_URL": root.url.render_as_string(), "DATABASE_CA": str(ca)}
    kit = Kit(environment["DATABASE_URL"], DATABASE_CA=environment["DATABASE_CA"])
    job_id = kit.enqueue("send_email", {"to": "reader@example.com", "subject": "s", "text": "t"})
    kit.drain()
    # The demo and the local day connect by it.
    with engine_of(environment).connect() as connection:
        assert connection.execute(select(jobs.c.status).where(jobs.c.id == job_id)).scalar_one() == "completed"
    show_queue(Console(file=StringIO()), environment)


def test_producer_in_repeatable_read_enqueues_in_its_own_transaction(root: Engine, ca: Path) -> None:
    url = root.url.render_as_string()
    kit = Kit(url, DATABASE_CA=str(ca))
    handle(kit)
    application = create_engine(url, isolation_level="REPEATABLE READ", connect_args={"ssl_ca": str(ca)})
    add = partial(outbox.enqueue, type_="note", data={"text": "x"}, idempotency_key="order 1")
    with application.connect() as connection:
        connection.execute(select(jobs.c.id)).all()
        add(connection)
        connection.rollback()
        connection.execute(select(jobs.c.id)).all()
        job_id = add(connection)
        assert add(connection) == job_id
        connection.commit()
    application.dispose()
    kit.settle(minutes=1)
    assert [(job.id, job.status) for job in kit.jobs()] == [(job_id, "completed")]


class EndingClock(FrozenClock):
    """A frozen clock on which an outage ends when somebody waits for the third time."""

    def __init__(self, end: Callable[[], object]) -> None:
        super().__init__(NOON)
        self._end = end

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if len(self.slept) == 3:
            self._end()


@pytest.mark.parametrize(("begin", "end"), REFUSALS.values(), ids=REFUSALS)
def test_job_succeeds_when_the_server_refuses_for_seconds(root: Engine, ca: Path, begin: str, end: str) -> None:
    url = make_user(root, host="localhost")
    # An administrator may connect even when nobody else may.
    with root.connect() as administrator:
        clock = EndingClock(lambda: administrator.execute(text(end)))
        kit = Kit(url, clock=clock, DATABASE_CA=str(ca))
        begun = handle(kit)
        kit.send({"type": "note", "data": {}})
        messages = kit.receive()
        kit.context().database.engine.dispose()
        administrator.execute(text(begin))
        assert kit.work(messages) == {"messages": 1, "succeeded": 1}
    assert (len(begun), len(clock.slept), kit.jobs()[0].attempts) == (1, 3, 1)


@pytest.mark.parametrize(
    ("name", "moment"),
    [(name, moment) for name in SERVERS for moment in MOMENTS]
    if IS_SWEEP
    else [("mysql", "perform"), ("mariadb", "record")],
)
def test_job_is_done_once_when_the_server_is_killed_and_started_again(
    request: pytest.FixtureRequest, ca: Path, monkeypatch: pytest.MonkeyPatch, name: str, moment: str
) -> None:
    server: Server = request.getfixturevalue(name)
    url = make_url(server.url).set(host="localhost").render_as_string()
    kit = Kit(url, clock=EndingClock(server.start), DATABASE_CA=str(ca) if name == "mysql" else "off")
    commits = 0

    def perform(_job: Job[Note]) -> None:
        if moment == "perform":
            server.kill()

    def commit(connection: Any) -> None:
        nonlocal commits
        do_commit(connection)
        commits += 1
        if commits == {"claim": 1, "record": 2}.get(moment):
            server.kill()
            # It came, and its answer did not.
            raise pymysql.err.OperationalError(LOST, "Lost connection")

    begun = handle(kit, perform)
    job_id = kit.send({"type": "note", "data": {}})
    dialect = kit.context().database.engine.dialect
    do_commit = dialect.do_commit
    with monkeypatch.context() as patch:
        patch.setattr(dialect, "do_commit", commit)
        assert kit.work(kit.receive()) == {"messages": 1, "succeeded": 1}
    job = kit.job(job_id)
    assert (len(begun), job.status, job.attempts) == (1, "completed", 1)
