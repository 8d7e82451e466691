"""What every test stands on: no network but loopback, no AWS but the emulator, each database in turn."""

import io
import json
import os
import socket
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.s3.models import s3_backends
from moto.sesv2.models import sesv2_backends
from moto.sqs.models import sqs_backends
from sqlalchemy import Engine, create_engine, make_url, text

from chalicelib import migrations
from chalicelib.core.engine import engine_for
from chalicelib.core.telemetry import logger
from nightshift.local.aws import VISIBILITY_SECONDS, LocalAws, local_aws
from nightshift.local.environment import (
    ACCOUNT,
    BUCKET,
    DEAD_LETTER_QUEUE,
    PRIORITY_QUEUE,
    QUEUE,
    REGION,
    SENDER,
    enter,
    isolated,
    local_environment,
)
from nightshift.local.servers import mariadb_server, mysql_server, redis_server
from nightshift.testkit.kit import Kit
from tests.fast_aws import read_once
from tests.servers import SERVERS, main_server, needed
from tests.sweep import IS_SWEEP
from tests.tables import empty_tables
from tests.world import World

# Before anything makes a client: whoever runs the tests may have AWS credentials.
enter(isolated(os.environ))

# How long an example takes is the machine's, and no finding.
hypothesis.settings.register_profile("nightshift", deadline=None)
hypothesis.settings.load_profile("nightshift")

read_once()

_connect = socket.socket.connect


def _connect_to_loopback_only(self: socket.socket, address: Any) -> None:
    if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in {"127.0.0.1", "::1", "localhost"}:
        raise AssertionError(f"a test tried to connect to {address}")
    _connect(self, address)


socket.socket.connect = _connect_to_loopback_only  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _nothing_bound() -> None:
    """Begin without the fields that an earlier test left on the logger."""
    logger.thread_safe_clear_keys()


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """Return what was logged so far, and then the metrics printed since the last call, each line read as JSON."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.handlers[0], "stream", stream)
    return lambda: [json.loads(line) for line in (stream.getvalue() + capsys.readouterr().out).splitlines()]


@pytest.fixture(scope="session")
def emulator() -> Iterator[LocalAws]:
    with local_aws() as aws:
        yield aws


def _reset_emulator() -> None:
    """Do what `nightshift.local.aws.prepare` does, without its requests: most tests begin with it."""
    BackendDict.reset()
    reset_model_data()
    for name in (QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE):
        sqs_backends[ACCOUNT][REGION].create_queue(name, {}, VisibilityTimeout=str(VISIBILITY_SECONDS))
    s3_backends[ACCOUNT]["aws"].create_bucket(BUCKET, REGION)
    sesv2_backends[ACCOUNT][REGION].create_email_identity(SENDER, None, None, None)


@pytest.fixture
def aws(emulator: LocalAws) -> LocalAws:
    """The emulator, with empty queues and an empty outbox."""
    _reset_emulator()
    return emulator


@pytest.fixture(scope="session")
def mysql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    # As MariaDB has them by default: streams of rows, and functions of a user who is no administrator.
    options = ("--local-infile=ON", "--log-bin-trust-function-creators=ON")
    with needed(lambda folder: mysql_server(folder, *options), tmp_path_factory.mktemp("mysql")) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with needed(mariadb_server, tmp_path_factory.mktemp("mariadb")) as url:
        yield url


@pytest.fixture(scope="session", params=SERVERS if IS_SWEEP else [main_server()])
def server_url(request: pytest.FixtureRequest) -> str:
    """A database server whose schema `nightshift` may hold anything; each in turn in `make sweep`."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def schema_url(server_url: str) -> Iterator[str]:
    """An empty schema of its own on the server, for an application's tables; its name has to be quoted."""
    name = "`other-tables`"
    engine = create_engine(server_url)
    with engine.connect() as connection:
        connection.execute(text(f"DROP SCHEMA IF EXISTS {name}"))
        connection.execute(text(f"CREATE SCHEMA {name} DEFAULT CHARACTER SET utf8mb4"))
    yield make_url(server_url).set(database="other-tables").render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP SCHEMA {name}"))
    engine.dispose()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with needed(redis_server, tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'nightshift.db'}"


@cache
def _migrated(url: str) -> Engine:
    engine = engine_for(url)
    migrations.upgrade(engine)
    return engine


@pytest.fixture(params=["sqlite", *(SERVERS if IS_SWEEP else [main_server()])])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty, migrated database of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    with _migrated(url).begin() as connection:
        empty_tables(connection)
    return url


@pytest.fixture
def kit(database_url: str) -> Kit:
    """A deployment in this process."""
    return Kit(database_url)


@pytest.fixture
def world_environment(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of functions on the emulator."""
    for name, value in local_environment(os.environ, endpoint=aws.endpoint, folder=tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def world(aws: LocalAws, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A deployment on this machine: database, queues, outbox, and a clock that stands still."""
    base = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    environment = local_environment(base | {"DATABASE_URL": database_url}, endpoint=aws.endpoint, folder=tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return World(aws=aws, environment=environment)
