"""Connecting: TLS that is verified against a real server, rotated credentials, connections that were idle."""

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pymysql
import pytest
import redis
from sqlalchemy import Engine, event, make_url, text
from sqlalchemy.exc import OperationalError

from chalicelib.core import secrets
from chalicelib.core.cache import cache_of
from chalicelib.core.database import Database
from chalicelib.core.engine import IDLE_SECONDS, RDS_ROOTS, connector_for, engine_for
from chalicelib.core.errors import ConfigurationError
from nightshift.local.aws import LocalAws
from nightshift.local.servers import free_port, mariadb_server, redis_server
from nightshift.testkit.clock import FrozenClock
from tests.core.certificates import make_certificates, tls_options
from tests.servers import needed, on_both
from tests.world import MORNING


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_url(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    options = tls_options(certificates)
    with needed(lambda folder: mariadb_server(folder, *options), tmp_path_factory.mktemp("tls")) as url:
        yield url


def cipher(engine: Engine) -> str:
    with engine.connect() as connection:
        row = connection.execute(text("SHOW STATUS LIKE 'Ssl_cipher'")).one()
    engine.dispose()
    return str(row[1])


def at(url: str, host: str) -> str:
    return make_url(url).set(host=host).render_as_string(hide_password=False)


def test_a_server_with_a_certificate_of_the_named_authority_is_trusted(tls_url: str, certificates: Path) -> None:
    assert cipher(engine_for(at(tls_url, "localhost"), ca=str(certificates / "ours.pem")))


@pytest.mark.parametrize(("host", "authority"), [("localhost", "theirs"), ("127.0.0.1", "ours")])
def test_another_authority_or_another_host_name_is_refused(
    tls_url: str, certificates: Path, host: str, authority: str
) -> None:
    with pytest.raises(OperationalError, match="certificate verify failed"):
        cipher(engine_for(at(tls_url, host), ca=str(certificates / f"{authority}.pem")))


def test_a_host_elsewhere_needs_a_decision_about_its_certificate() -> None:
    with pytest.raises(ConfigurationError, match=r"DATABASE_CA is not set, and db\.example\.com is neither"):
        engine_for("mysql+pymysql://u@db.example.com/app")


def test_rds_is_verified_against_its_packaged_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def connect(**parameters: object) -> None:
        asked.update(parameters)
        raise LookupError

    monkeypatch.setattr("chalicelib.core.connection.Connection", connect)
    with pytest.raises(LookupError):
        engine_for("mysql+pymysql://u@x.eu-central-1.rds.amazonaws.com/app").connect()
    assert asked["ssl_ca"] == str(RDS_ROOTS)
    assert asked["ssl_verify_cert"] is asked["ssl_verify_identity"] is True
    assert len(ssl.create_default_context(cafile=RDS_ROOTS).get_ca_certs()) > 50


@on_both
def test_a_rotated_password_is_fetched_once_more(server_url: str, aws: LocalAws, world_environment: None) -> None:
    manager = aws.client("secretsmanager")
    arn = manager.create_secret(Name="db", SecretString=json.dumps({"username": "app", "password": "old"}))["ARN"]
    secrets.forget()
    root = engine_for(server_url)
    with root.begin() as connection:
        connection.execute(text("DROP USER IF EXISTS app@localhost"))
        connection.execute(text("CREATE USER app@localhost IDENTIFIED BY 'old'"))
        connection.execute(text("GRANT ALL ON nightshift.* TO app@localhost"))
    engine = engine_for(server_url, credentials=arn)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT USER()")).scalar_one() == "app@localhost"
    engine.dispose()
    with root.begin() as connection:
        connection.execute(text("ALTER USER app@localhost IDENTIFIED BY 'new'"))
    manager.put_secret_value(SecretId=arn, SecretString=json.dumps({"username": "app", "password": "new"}))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
    manager.put_secret_value(SecretId=arn, SecretString="not json")
    engine.dispose()
    secrets.forget()
    with pytest.raises(ConfigurationError, match="must be a JSON object with username and password"):
        engine.connect()


def test_a_rotated_url_is_fetched_once_more_by_the_engine_and_by_connections_of_their_own(
    mysql_url: str, aws: LocalAws, world_environment: None
) -> None:
    manager, root = aws.client("secretsmanager"), engine_for(mysql_url)

    def with_password(password: str) -> str:
        return make_url(mysql_url).set(username="shop", password=password).render_as_string(hide_password=False)

    arn = manager.create_secret(Name="url", SecretString=with_password("old"))["ARN"]
    secrets.forget()
    with root.begin() as connection:
        connection.execute(text("DROP USER IF EXISTS shop@localhost"))
        connection.execute(text("CREATE USER shop@localhost IDENTIFIED BY 'old'"))
        connection.execute(text("GRANT ALL ON nightshift.* TO shop@localhost"))
    engine, connect = engine_for(arn), connector_for(arn)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT USER()")).scalar_one() == "shop@localhost"
    connect().close()
    engine.dispose()
    with root.begin() as connection:
        connection.execute(text("ALTER USER shop@localhost IDENTIFIED BY 'new'"))
    # Until the secret follows, the error names the user and no password.
    with pytest.raises(OperationalError, match="Access denied for user 'shop'@'localhost'"):
        engine.connect()
    manager.put_secret_value(SecretId=arn, SecretString=with_password("new"))
    connect().close()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_secret_that_is_not_there_is_named(aws: LocalAws, world_environment: None) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gone-AbCdEf"
    with pytest.raises(ConfigurationError, match=f"the secret {arn} cannot be read"):
        secrets.fetch(arn)


def test_redis_over_tls_is_verified_too(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    files = {"--tls-cert-file": "certificate", "--tls-key-file": "key", "--tls-ca-cert-file": "ours.pem"}
    options = [text for option, name in files.items() for text in (option, str(certificates / name))]
    tls = [*options, "--tls-port", str(port), "--tls-auth-clients", "no"]
    with needed(lambda folder: redis_server(folder, *tls), tmp_path):
        # In place of the machine's own roots, as Lambda's are.
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates / "ours.pem"))
        assert cache_of.__wrapped__(f"rediss://localhost:{port}", None).ping()
        for host, authority in (("localhost", "theirs"), ("127.0.0.1", "ours")):
            monkeypatch.setenv("SSL_CERT_FILE", str(certificates / f"{authority}.pem"))
            with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
                cache_of.__wrapped__(f"rediss://{host}:{port}", None).ping()


@pytest.mark.parametrize("is_in_url", [True, False])
def test_a_rotated_password_of_redis_is_fetched_once_more(
    is_in_url: bool, tmp_path: Path, aws: LocalAws, world_environment: None
) -> None:
    def text_of(password: str) -> str:
        return url.replace("://", f"://default:{password}@") if is_in_url else password

    with needed(lambda folder: redis_server(folder), tmp_path) as url:
        root, manager = redis.Redis.from_url(url), aws.client("secretsmanager")
        root.config_set("requirepass", "old")
        arn = manager.create_secret(Name=f"redis {is_in_url}", SecretString=text_of("old"))["ARN"]
        secrets.forget()
        client = cache_of(arn, None) if is_in_url else cache_of(url, arn)
        assert client.ping()
        client.close()
        root.config_set("requirepass", "new")
        # Until the secret follows, it is refused.
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        manager.put_secret_value(SecretId=arn, SecretString=text_of("new"))
        assert client.ping()
        client.close()
        with pytest.raises(redis.AuthenticationError):
            cache_of(url, "old").ping()


class Watched:
    """An engine of our own, with what its connections are asked for; `idle` lets time pass for the pool."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine = engine_for.__wrapped__(url)
        self.pings = 0
        self.connects = 0
        self._now = 1000.0
        ping: Any = pymysql.connections.Connection.ping

        def counted(connection: Any, **options: Any) -> None:
            self.pings += 1
            ping(connection, **options)

        def note_connect(*_: Any) -> None:
            self.connects += 1

        monkeypatch.setattr(pymysql.connections.Connection, "ping", counted)
        monkeypatch.setattr("chalicelib.core.engine.time", SimpleNamespace(time=lambda: self._now))
        event.listen(self.engine, "connect", note_connect)
        # SQLAlchemy's own first connection asks for the server's version and more.
        self.connection_id()
        self.pings = self.connects = 0

    def idle(self, seconds: float) -> None:
        self._now += seconds

    def connection_id(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())


@pytest.fixture
def watched(server_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watched = Watched(server_url, monkeypatch)
    yield watched
    watched.engine.dispose()


def kill(url: str, connection_id: int) -> None:
    with engine_for(url).connect() as rival:
        rival.execute(text(f"KILL {connection_id}"))


def test_a_connection_that_the_server_closed_while_it_was_idle_is_replaced_without_an_error(
    watched: Watched, server_url: str
) -> None:
    before = watched.connection_id()
    kill(server_url, before)
    watched.idle(IDLE_SECONDS + 0.1)
    assert watched.connection_id() != before
    assert (watched.pings, watched.connects) == (1, 1)


def test_a_connection_that_was_idle_and_is_there_still_is_kept(watched: Watched) -> None:
    before = watched.connection_id()
    for _ in range(3):
        watched.idle(3600)
        assert watched.connection_id() == before
    assert (watched.pings, watched.connects) == (3, 0)


def test_a_connection_in_use_is_not_asked_each_time_whether_it_is_there(watched: Watched) -> None:
    before = watched.connection_id()
    for _ in range(10):
        watched.idle(IDLE_SECONDS / 2)
        assert watched.connection_id() == before
    assert watched.pings == 0


def test_one_that_the_server_closed_in_use_is_replaced_by_the_repeated_transaction(
    watched: Watched, server_url: str
) -> None:
    before = watched.connection_id()
    kill(server_url, before)
    clock = FrozenClock(MORNING)
    query = text("SELECT CONNECTION_ID()")
    after = Database(watched.engine, clock).transact(lambda connection: connection.execute(query).scalar_one())
    assert after != before
    assert (watched.pings, len(clock.slept)) == (0, 1)


def test_time_in_use_is_not_idle_time(watched: Watched) -> None:
    with watched.engine.connect() as connection:
        watched.idle(3600)
        connection.execute(text("SELECT 1"))
    watched.connection_id()
    assert watched.pings == 0


def test_an_at_in_the_password_is_refused_and_not_printed() -> None:
    # SQLAlchemy takes what follows it for a part of the host, which errors name.
    with pytest.raises(ConfigurationError) as caught:
        engine_for("mysql+pymysql://shop:ge@heim@127.0.0.1/shop")
    assert str(caught.value) == "the password in DATABASE_URL has an @, which a URL has to have as %40"
    assert engine_for("mysql+pymysql://shop:ge%40heim@127.0.0.1/shop").url.password == "ge@heim"
