"""The example applications enqueue in their own transactions and perform jobs once, in every language alike."""

import base64
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from chalicelib.core.engine import engine_for
from chalicelib.queue.application import sign
from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, QUEUE, isolated
from nightshift.local.servers import free_port
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.database import migrate
from nightshift.testkit.kit import Kit
from tests.e2e.clients import arrived, prepare
from tests.e2e.cloud import until
from tests.e2e.shops import SHOPS, SHOPS_FOLDER, Shop
from tests.queue.samples import dead_letters
from tests.servers import new_schema
from tests.tables import empty_tables

NEW, OLD = b"n" * 32, b"o" * 24
SECRETS = ",".join(f"whsec_{base64.b64encode(key).decode()}" for key in (NEW, OLD))
TABLES = ("invoices", "orders", "stock", "performed_jobs")


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the shop answered: the headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True, kw_only=True)
class Running:
    """A shop that runs."""

    url: str
    process: "subprocess.Popen[bytes]"

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        request = urllib.request.Request(
            self.url + path, body, {"content-type": "application/json"} | dict(headers or {})
        )
        try:
            answer = urllib.request.urlopen(request, timeout=60)
        except HTTPError as error:
            answer = error
        with answer:
            assert answer.status is not None
            named = {name.lower(): value for name, value in answer.headers.items()}
            return Reply(status=answer.status, headers=named, body=answer.read().decode())

    def order(self, *, item: str = "lamp", is_paid: bool = True) -> Reply:
        return self.post("/orders", json.dumps({"item": item, "is_paid": is_paid}).encode())

    def place(self, *, is_paid: bool = True) -> tuple[int, str]:
        """Place an order, and return its id and its job's."""
        reply = self.order(is_paid=is_paid)
        assert reply.status == 201, reply.body
        placed = json.loads(reply.body)
        return placed["order"], placed["job"]

    def perform(self, job_id: str, data: Mapping[str, Any], *, type_: str = "send_invoice", **signed: Any) -> Reply:
        body = json.dumps({"id": job_id, "type": type_, "data": data, "attempt": 1, "tags": []}).encode()
        return self.post("/jobs", body, signed_headers(job_id, body, **signed))


def signed_headers(job_id: str, body: bytes, *, key: bytes = NEW, age: int = 0) -> dict[str, str]:
    timestamp = int(time.time()) - age
    return {
        "webhook-id": job_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign([key], id_=job_id, timestamp=timestamp, body=body),
    }


@contextmanager
def running(shop: Shop, folder: Path, *, database: str, endpoint: str) -> Iterator[Running]:
    """Run a shop on a database, with the SQS of an endpoint."""
    port = free_port()
    environment = isolated(os.environ) | {
        "APP_DATABASE_URL": database,
        "APP_JOBS_SECRETS": SECRETS,
        "PORT": str(port),
        "WORK_QUEUE_URL": f"{endpoint}/{ACCOUNT}/{QUEUE}",
        "AWS_ENDPOINT_URL": endpoint,
        # Only of the tests' own process.
        "PYTHONPATH": "",
    }
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [word.replace("{port}", str(port)) for word in shop.command],
            env=environment | shop.environment,
            cwd=folder,
            stdout=output,
            stderr=output,
            # PHP's server has processes of its own.
            start_new_session=True,
        )

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        until(is_ready, f"{shop.command} is ready")
        yield Running(url=f"http://127.0.0.1:{port}", process=process)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session", params=list(SHOPS))
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Each application in turn."""
    return prepare(SHOPS, request.param, tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def shop_engine(server_url: str) -> Iterator[Engine]:
    """A schema with Nightshift's tables and the shop's."""
    server, url = create_engine(server_url), make_url(server_url).set(database="shop")
    with server.connect() as connection:
        for statement in new_schema("shop"):
            connection.execute(text(statement))
    engine = engine_for(url.render_as_string(hide_password=False))
    migrate(engine)
    with engine.begin() as connection:
        for statement in (SHOPS_FOLDER / "schema.sql").read_text().strip().split(";\n"):
            connection.execute(text(statement.removesuffix(";")))
    yield engine
    engine.dispose()
    server.dispose()


@pytest.fixture
def database(shop_engine: Engine) -> Iterator[Connection]:
    """A connection of its own, which commits each statement, to a shop that has a lamp in stock, and no orders."""
    with shop_engine.begin() as connection:
        empty_tables(connection)
        for table in TABLES:
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("INSERT INTO stock VALUES ('lamp', 3), ('chair', 0)"))
    with shop_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection


def address(engine: Engine, **changes: Any) -> str:
    """Return the URL of a database as applications write it."""
    url = engine.url.set(drivername="mysql", query={}, **changes)
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def started(
    shop: Shop, shop_engine: Engine, emulator: LocalAws, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("shop")
    with running(shop, folder, database=address(shop_engine), endpoint=emulator.endpoint) as application:
        yield application


@pytest.fixture
def app(started: Running, database: Connection, aws: LocalAws) -> Running:
    """The shop, before anybody orders."""
    return started


@pytest.fixture
def kit(app: Running, shop_engine: Engine) -> Kit:
    return performed_by(app, shop_engine)


def performed_by(app: Running, engine: Engine) -> Kit:
    """Return a deployment whose jobs the application performs, at the time of its clock, which is this machine's."""
    settings = {"APP_JOBS_URL": f"{app.url}/jobs", "APP_JOBS_SECRETS": SECRETS, "APP_JOBS_PRIVATE": "on"}
    clock = FrozenClock(datetime.now(UTC))
    return Kit(engine.url.render_as_string(hide_password=False), clock=clock, **settings)


def count(database: Connection, table: str) -> int:
    return int(database.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


def status(kit: Kit, job_id: str) -> tuple[str, int]:
    row = kit.job(job_id)
    return row.status, row.attempts


@contextmanager
def held(database: Connection, table: str) -> Iterator[Callable[[int], None]]:
    """Have statements on a table wait, and give a function that returns when so many inserts wait for something."""
    inserts = text("SELECT COUNT(*) FROM information_schema.processlist WHERE db = 'shop' AND info LIKE 'INSERT%'")

    def until_waiting(count: int) -> None:
        until(lambda: database.execute(inserts).scalar_one() == count, f"{count} inserts wait")

    with database.engine.connect() as holder:
        holder.execute(text(f"LOCK TABLES {table} WRITE"))
        try:
            yield until_waiting
        finally:
            holder.execute(text("UNLOCK TABLES"))


def test_an_order_starts_its_job_at_once_and_the_job_has_a_result(
    app: Running, kit: Kit, database: Connection, aws: LocalAws
) -> None:
    order, job_id = app.place()
    (body,) = arrived(aws)
    assert json.loads(body) == {"id": job_id}

    kit.send(body)
    kit.drain()

    assert status(kit, job_id) == ("completed", 1)
    invoice, of_order = database.execute(text("SELECT id, order_id FROM invoices")).one()
    assert (json.loads(kit.job(job_id).result), of_order) == ({"invoice": invoice}, order)


def test_an_order_that_fails_leaves_no_job_and_sends_no_message(
    app: Running, kit: Kit, database: Connection, aws: LocalAws
) -> None:
    assert app.order(item="chair").status == 409
    assert (kit.jobs(), count(database, "orders"), arrived(aws)) == ([], 0, [])


def test_a_message_that_is_lost_delays_the_job_and_loses_nothing(
    app: Running, kit: Kit, database: Connection, aws: LocalAws
) -> None:
    aws.client("sqs").delete_queue(QueueUrl=f"{aws.endpoint}/{ACCOUNT}/{QUEUE}")
    _, job_id = app.place()
    kit.settle(minutes=1)
    assert status(kit, job_id) == ("completed", 1)
    assert count(database, "invoices") == 1


def test_the_same_call_again_does_nothing_and_has_the_same_answer(app: Running, database: Connection) -> None:
    order, job_id = app.place()
    first, second = (app.perform(job_id, {"order": order}) for _ in range(2))
    assert (first.status, second.status, second.body) == (200, 200, first.body)
    assert count(database, "invoices") == 1


def test_of_two_calls_at_once_one_does_it_and_both_have_its_answer(app: Running, database: Connection) -> None:
    order, job_id = app.place()
    with ThreadPoolExecutor(2) as pool:
        with held(database, "invoices") as until_waiting:
            calls = [pool.submit(app.perform, job_id, {"order": order}) for _ in range(2)]
            until_waiting(2)
        first, second = (call.result() for call in calls)
    assert (first.status, second.status, second.body) == (200, 200, first.body)
    assert count(database, "invoices") == 1


@pytest.mark.parametrize("signed", [{"key": b"x" * 32}, {"age": 301}, {"age": -360}])
def test_a_call_with_another_key_or_time_is_refused(app: Running, database: Connection, signed: dict[str, Any]) -> None:
    order, job_id = app.place()
    assert app.perform(job_id, {"order": order}, **signed).status == 401
    assert (count(database, "invoices"), count(database, "performed_jobs")) == (0, 0)


def test_a_changed_body_or_id_or_no_signature_is_refused(app: Running, database: Connection) -> None:
    order, job_id = app.place()
    body = json.dumps({"id": job_id, "type": "send_invoice", "data": {"order": order}}).encode()
    headers = signed_headers(job_id, body)
    for changed_body, changed in (
        (body + b" ", headers),
        (body, headers | {"webhook-id": "another"}),
        (body, headers | {"webhook-signature": "v1,"}),
        (body, headers | {"webhook-timestamp": "now"}),
        (body, {}),
    ):
        assert app.post("/jobs", changed_body, changed).status == 401
    assert (count(database, "invoices"), count(database, "performed_jobs")) == (0, 0)


def test_any_of_the_secrets_and_any_of_the_signatures_will_do(app: Running) -> None:
    order, job_id = app.place()
    body = json.dumps({"id": job_id, "type": "send_invoice", "data": {"order": order}}).encode()
    headers = signed_headers(job_id, body, key=OLD)
    headers["webhook-signature"] = f"v1,{base64.b64encode(b'x' * 32).decode()} {headers['webhook-signature']}"
    assert app.post("/jobs", body, headers).status == 200


def test_a_job_of_an_unknown_type_is_tried_again(kit: Kit) -> None:
    job_id = kit.send({"type": "send_parcel", "data": {}})
    kit.drain()
    assert status(kit, job_id) == ("failed", 1)
    assert kit.job(job_id).last_error == "TransientError: the application answered 404: no handler of send_parcel"


def test_a_job_that_can_never_succeed_is_dead_with_the_reason(kit: Kit) -> None:
    job_id = kit.send({"type": "send_invoice", "data": {"order": 99}})
    kit.drain()
    assert status(kit, job_id) == ("dead", 1)
    assert [reason for _, reason in dead_letters(kit)] == ["the application answered 422: there is no order 99"]


def test_a_job_that_cannot_be_done_yet_comes_again_and_loses_no_attempt(
    app: Running, kit: Kit, database: Connection
) -> None:
    order, job_id = app.place(is_paid=False)
    kit.settle(minutes=1)
    assert status(kit, job_id) == ("pending", 0)
    assert count(database, "performed_jobs") == 0

    database.execute(text("UPDATE orders SET is_paid = TRUE WHERE id = :id"), {"id": order})
    kit.settle(minutes=3)
    assert status(kit, job_id) == ("completed", 1)


def test_a_handler_that_fails_changes_nothing_and_is_tried_again(app: Running, kit: Kit, database: Connection) -> None:
    order, job_id = app.place()
    # The insert that fails has the same error as that of a job that is done.
    database.execute(text("INSERT INTO invoices (order_id) VALUES (:id)"), {"id": order})
    kit.settle(minutes=0)
    assert status(kit, job_id) == ("failed", 1)
    assert count(database, "performed_jobs") == 0

    database.execute(text("DELETE FROM invoices"))
    kit.settle(minutes=3)
    assert status(kit, job_id) == ("completed", 2)


def test_an_application_killed_in_its_work_has_done_nothing_and_does_it_when_it_is_back(
    shop: Shop, shop_engine: Engine, database: Connection, aws: LocalAws, tmp_path: Path
) -> None:
    url = address(shop_engine)
    with ThreadPoolExecutor(1) as pool, running(shop, tmp_path, database=url, endpoint=aws.endpoint) as app:
        order, job_id = app.place()
        with held(database, "invoices") as until_waiting:
            call = pool.submit(app.perform, job_id, {"order": order})
            until_waiting(1)
            os.killpg(app.process.pid, signal.SIGKILL)
            assert isinstance(call.exception(), OSError)
    assert (count(database, "invoices"), count(database, "performed_jobs")) == (0, 0)
    with running(shop, tmp_path, database=url, endpoint=aws.endpoint) as app:
        kit = performed_by(app, shop_engine)
        kit.settle(minutes=1)
        assert status(kit, job_id) == ("completed", 1)


def test_without_sqs_orders_are_placed(shop: Shop, shop_engine: Engine, database: Connection, tmp_path: Path) -> None:
    closed = f"http://127.0.0.1:{free_port()}"
    with running(shop, tmp_path, database=address(shop_engine), endpoint=closed) as app:
        _, job_id = app.place()
        kit = performed_by(app, shop_engine)
        kit.settle(minutes=1)
        assert status(kit, job_id) == ("completed", 1)


def test_without_its_database_the_application_is_away_and_at_most_one_attempt_is_lost(
    shop: Shop, shop_engine: Engine, database: Connection, aws: LocalAws, tmp_path: Path
) -> None:
    with running(shop, tmp_path, database=address(shop_engine, port=free_port()), endpoint=aws.endpoint) as app:
        reply = app.perform("a", {"order": 1})
        assert (reply.status, reply.headers.get("retry-after")) == (503, None)
        kit = performed_by(app, shop_engine)
        for order in range(5):
            kit.send({"type": "send_invoice", "data": {"order": order}})
        kit.settle(minutes=3)
    assert [job for job in kit.jobs() if job.status not in {"pending", "failed"}] == []
    assert sum(job.attempts for job in kit.jobs()) <= 1


@pytest.mark.parametrize("path", sorted(SHOPS_FOLDER.rglob("nightshift*.*")), ids=lambda path: path.name)
def test_what_is_copied_into_an_application_has_less_than_100_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 100
