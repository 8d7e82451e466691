"""Cache warming, from a fire to what a reader finds, and what becomes of it when Redis is not as it should be."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import OperationalError

from chalicelib.application import posts, sessions
from chalicelib.core.clock import to_ms
from chalicelib.core.errors import RunFailedError, TransientError
from chalicelib.runs import execution
from chalicelib.schema import runs as runs_table
from chalicelib.tasks import cache_warming
from nightshift.local.invocation import scheduled_event
from nightshift.local.servers import free_port, redis_server
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import NOON, Killed, Kit
from tests.servers import needed, on_a_server

DOCUMENT = Path(__file__).parents[3] / "docs" / "cache_warming.md"
LATER = NOON + timedelta(minutes=30)
NAMES = ("popular_posts", "active_users")
# Two time-outs of a second, and what a busy machine adds.
PATIENCE_SECONDS = 4.0


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    return client


@pytest.fixture
def kit(database_url: str, redis_url: str, client: redis.Redis) -> Kit:
    return Kit(database_url, clock=FrozenClock(NOON + timedelta(seconds=5)), REDIS_URL=redis_url)


def warm(kit: Kit, moment: datetime = NOON, *, request_id: str | None = None) -> dict[str, Any]:
    context = kit.context(request_id=request_id)
    return execution.execute("cache_warming", event=scheduled_event(moment), context=context)


def execute(kit: Kit, statement: Any) -> Any:
    def work(connection: Connection) -> Any:
        result = connection.execute(statement)
        return result.all() if result.returns_rows else None

    return kit.context().database.transact(work)


def add_post(kit: Kit, id_: str, *, views: int) -> None:
    values = {"id": id_, "title": f"Title of {id_}", "points": 1, "comments": 2, "views": views, "created_at": 3}
    execute(kit, insert(posts).values(values))


def add_session(kit: Kit, user_id: str, used: datetime) -> None:
    row = {"id": f"{user_id}{used:%H%M%S}", "user_id": user_id, "created_at": 0, "updated_at": to_ms(used)}
    execute(kit, insert(sessions).values(row))


def values_of(client: redis.Redis) -> tuple[Any, Any] | None:
    """Return the ids of the popular posts and the number of active users, as a reader finds them."""
    found = cache_warming.read(client, *NAMES)
    if found is None:
        return None
    return ([post["id"] for post in found["popular_posts"]["value"]], found["active_users"]["value"])


def test_a_reader_finds_the_popular_posts_and_the_active_users_with_the_moment(kit: Kit, client: redis.Redis) -> None:
    add_post(kit, "some", views=1)
    add_post(kit, "most", views=9)
    add_session(kit, "in time", NOON - timedelta(hours=23))
    add_session(kit, "too long ago", NOON - timedelta(hours=25))
    add_session(kit, "after the fire", NOON + timedelta(seconds=1))
    summary = warm(kit)
    assert (summary["outcome"], summary["total"], summary["succeeded"]) == ("succeeded", 2, 2)
    assert values_of(client) == (["most", "some"], 1)
    found = cache_warming.read(client, *NAMES)
    assert found is not None
    assert {each["computed_at"] for each in found.values()} == {"2026-03-02T12:00:05Z"}


@on_a_server
def test_with_the_documented_index_only_the_popular_posts_are_read(kit: Kit) -> None:
    (documented,) = re.findall(r"CREATE INDEX (ix_\w+ ON posts \(.*?\))", DOCUMENT.read_text(encoding="utf-8"))
    execute(kit, text(f"CREATE INDEX {documented}"))
    row = {"title": "t", "points": 1, "comments": 2, "created_at": 3}
    # MySQL reads a smaller table as a whole, and sorts it.
    execute(kit, insert(posts).values([{"id": str(n), "views": n % 200, **row} for n in range(10_000)]))
    execute(kit, text("ANALYZE TABLE posts"))
    # On MySQL a look at the status reads rows of the server's own.
    first, before = rows_read(kit), rows_read(kit)
    values = kit.context().database.transact(lambda connection: cache_warming.compute(connection, at=NOON))
    read = rows_read(kit) - before - (before - first)
    execute(kit, text("DROP INDEX ix_posts_views ON posts"))
    assert {post["views"] for post in values["popular_posts"]} == {199, 198}
    assert read < 300


def rows_read(kit: Kit) -> int:
    """Return how many rows the server has read so far."""
    status = execute(kit, text("SHOW GLOBAL STATUS LIKE 'Handler_read%'"))
    return sum(
        int(value) for name, value in status if name.endswith(("first", "last", "key", "next", "prev", "rnd_next"))
    )


def test_each_fire_puts_new_values_in_place_of_the_old_ones(kit: Kit, client: redis.Redis) -> None:
    warm(kit)
    assert values_of(client) == ([], 0)
    add_post(kit, "p", views=1)
    kit.clock.advance(1800)
    warm(kit, LATER)
    assert values_of(client) == (["p"], 0)


def test_a_late_fire_counts_the_day_before_its_own_moment_and_says_when_it_did(kit: Kit, client: redis.Redis) -> None:
    add_session(kit, "in time", NOON - timedelta(hours=1))
    add_session(kit, "later", NOON + timedelta(hours=1))
    kit.clock.advance(7200)
    warm(kit)
    assert values_of(client) == ([], 1)
    found = cache_warming.read(client, "active_users")
    assert found is not None
    assert found["active_users"]["computed_at"] == "2026-03-02T14:00:05Z"


def test_a_dry_run_counts_and_changes_nothing(kit: Kit, client: redis.Redis) -> None:
    payload = {"scheduled_for": "2026-03-02T12:00:00Z", "dry_run": True}
    summary = execution.execute("cache_warming", event=payload, context=kit.context())
    assert (summary["outcome"], summary["total"], summary["skipped"]) == ("succeeded", 2, 2)
    assert list(client.scan_iter()) == []
    assert execute(kit, select(runs_table)) == []


def test_without_redis_the_run_is_skipped_with_the_reason(database_url: str) -> None:
    kit = Kit(database_url)
    summary = warm(kit)
    assert (summary["outcome"], summary["reason"]) == ("skipped", "there is no Redis: set REDIS_URL")
    (run,) = execute(kit, select(runs_table))
    assert (run.status, run.error) == ("skipped", "there is no Redis: set REDIS_URL")


def test_concurrent_runs_warm_once(kit: Kit, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = cache_warming.compute
    told: list[Any] = []

    def compute_beside_another(connection: Connection, *, at: datetime) -> dict[str, Any]:
        values = compute(connection, at=at)
        told.append(at)
        return values

    def meet_another(*arguments: Any, **options: Any) -> None:
        # As of a run that nobody has gone on with for more than an hour, and that is at work all the same.
        execute(kit, update(runs_table).values(lease_until=0))
        summary = warm(kit, LATER)
        told.append((summary["outcome"], summary["reason"]))
        swap_in(*arguments, **options)

    swap_in = cache_warming.swap_in
    kit.clock.advance(1800)
    monkeypatch.setattr(cache_warming, "compute", compute_beside_another)
    monkeypatch.setattr(cache_warming, "swap_in", meet_another)
    assert warm(kit)["outcome"] == "succeeded"
    assert told == [NOON, ("skipped", "another run is warming the cache")]
    assert values_of(client) == ([], 0)


def test_an_earlier_fire_that_comes_late_is_skipped_and_the_later_values_stay(kit: Kit, client: redis.Redis) -> None:
    kit.clock.advance(1800)
    add_session(kit, "u", NOON + timedelta(minutes=10))
    warm(kit, LATER)
    summary = warm(kit)
    assert (summary["outcome"], summary["reason"]) == ("skipped", "the values of a later fire are in the cache")
    assert values_of(client) == ([], 1)
    kit.clock.advance(1800)
    assert warm(kit, LATER + timedelta(minutes=30))["outcome"] == "succeeded"


def test_a_database_that_fails_leaves_the_lock_to_the_repetition_of_its_run(
    kit: Kit, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm(kit)
    add_post(kit, "p", views=1)
    kit.clock.advance(1800)

    def fail(*_: Any, **__: Any) -> dict[str, Any]:
        raise OperationalError("SELECT", {}, Exception("the table is being rebuilt"))

    with monkeypatch.context() as patched:
        patched.setattr(cache_warming, "compute", fail)
        with pytest.raises(RunFailedError, match=r"cache_warming failed: .*the table is being rebuilt"):
            warm(kit, LATER, request_id="r1")
    assert values_of(client) == ([], 0)
    kit.clock.advance(60)
    others = execution.execute("cache_warming", event={}, context=kit.context())
    assert others["reason"] == "another run is warming the cache"
    assert warm(kit, LATER, request_id="r1")["outcome"] == "succeeded"
    assert values_of(client) == (["p"], 0)


def test_a_run_killed_before_it_swapped_leaves_the_old_values_and_its_repetition_completes_it(
    kit: Kit, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm(kit)
    add_post(kit, "p", views=1)
    kit.clock.advance(1800)

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(cache_warming, "swap_in", die)
        with pytest.raises(Killed):
            warm(kit, LATER, request_id="r1")
    assert values_of(client) == ([], 0)
    assert warm(kit, LATER, request_id="r1")["outcome"] == "succeeded"
    assert values_of(client) == (["p"], 0)


def test_a_run_whose_answer_from_redis_got_lost_is_completed_by_its_repetition(
    kit: Kit, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap_in = cache_warming.swap_in

    def lose_answer(*arguments: Any, **options: Any) -> None:
        swap_in(*arguments, **options)
        raise TransientError("Redis does not take the values: Timeout reading from socket")

    with monkeypatch.context() as patched:
        patched.setattr(cache_warming, "swap_in", lose_answer)
        with pytest.raises(RunFailedError, match="cache_warming failed"):
            warm(kit, request_id="r1")
    assert warm(kit, request_id="r1")["outcome"] == "succeeded"
    assert values_of(client) == ([], 0)


# What may be wrong with Redis. Each breaks a server that has values, and mends it again.


@contextmanager
def stopped(client: Any) -> Iterator[None]:
    """A process that takes connections, as the kernel does for it, and answers nothing."""
    pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def full(client: Any) -> Iterator[None]:
    client.config_set("maxmemory-policy", "noeviction")
    # Less than it uses, whatever it frees by and by.
    client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        client.config_set("maxmemory", "0")


@contextmanager
def replica(client: Any) -> Iterator[None]:
    """A replica of nobody who answers: it has its values still, and takes no others."""
    client.execute_command("REPLICAOF", "127.0.0.1", free_port())
    try:
        yield
    finally:
        client.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def locked(client: Any) -> Iterator[None]:
    """A server that wants another password than ours, and has ended our connections."""
    client.execute_command("ACL", "SETUSER", "default", "resetpass", ">another")
    client.client_kill_filter(_type="normal", skipme=True)
    try:
        yield
    finally:
        client.execute_command("ACL", "SETUSER", "default", "nopass")


def restricted(*rules: str) -> Callable[[Any], AbstractContextManager[None]]:
    @contextmanager
    def restrict(client: Any) -> Iterator[None]:
        client.execute_command("ACL", "SETUSER", "default", *rules)
        try:
            yield
        finally:
            client.execute_command("ACL", "SETUSER", "default", "~*", "+@all")

    return restrict


FAULTS: dict[str, tuple[Callable[[Any], AbstractContextManager[None]], str]] = {
    "hung": (stopped, "Timeout"),
    "out of memory": (full, "command not allowed when used memory > 'maxmemory'"),
    "a replica that is read only": (replica, "can't write against a read only replica"),
    "a password that has changed": (locked, "HELLO must be called with the client already authenticated"),
    "a user without our keys": (restricted("resetkeys", "~other:*"), "No permissions to access a key"),
    "a user who may not write": (restricted("-set"), "no permissions to run the 'set' command"),
}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[redis.Redis]:
    """A Redis that a test may break; this client is a user of its own, who can mend it."""
    with needed(redis_server, tmp_path) as url:
        default: Any = redis.Redis.from_url(url)
        with default as client:
            client.execute_command("ACL", "SETUSER", "mender", "on", "nopass", "~*", "+@all")
        with redis.Redis.from_url(url, username="mender", password="any") as client:
            yield client


def kit_for(folder: Path, url: str, **environment: str) -> Kit:
    database = f"sqlite:///{folder / 'nightshift.db'}"
    return Kit(database, clock=FrozenClock(NOON + timedelta(seconds=5)), REDIS_URL=url, **environment)


def url_of(client: redis.Redis) -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


def fail_to_warm(kit: Kit, moment: datetime, reason: str) -> None:
    """Warm, and expect a failure with this reason within the time that a run may wait for Redis."""
    began = time.monotonic()
    with pytest.raises(RunFailedError, match=f"cache_warming failed: Redis does not take .*{re.escape(reason)}"):
        warm(kit, moment, request_id="r1")
    assert time.monotonic() - began < PATIENCE_SECONDS
    (run,) = [run for run in execute(kit, select(runs_table)) if run.scheduled_for == to_ms(moment)]
    assert (run.status, run.error_type) == ("failed", "TransientError")
    assert reason in run.error


@pytest.mark.parametrize("moment", ["the claim", "the swap"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_redis_that_fails_leaves_the_old_values_and_the_repetition_completes_the_run(
    tmp_path: Path, own: redis.Redis, monkeypatch: pytest.MonkeyPatch, fault: str, moment: str
) -> None:
    kit = kit_for(tmp_path, url_of(own))
    warm(kit)
    add_post(kit, "p", views=1)
    own.set("of the application", "untouched")
    kit.clock.advance(1800)
    fail, reason = FAULTS[fault]
    failing = fail(own)
    if moment == "the claim":
        with failing:
            fail_to_warm(kit, LATER, reason)
    else:
        compute = cache_warming.compute

        def compute_then_break(connection: Connection, *, at: datetime) -> dict[str, Any]:
            values = compute(connection, at=at)
            failing.__enter__()
            return values

        with monkeypatch.context() as patched:
            patched.setattr(cache_warming, "compute", compute_then_break)
            try:
                fail_to_warm(kit, LATER, reason)
            finally:
                failing.__exit__(None, None, None)
    assert values_of(own) == ([], 0)
    assert own.get("of the application") == b"untouched"
    assert warm(kit, LATER, request_id="r1")["outcome"] == "succeeded"
    assert values_of(own) == (["p"], 0)


def test_a_redis_that_is_down_fails_the_run_at_once_and_goes_on_failing_until_it_is_dead(tmp_path: Path) -> None:
    kit = kit_for(tmp_path, f"redis://127.0.0.1:{free_port()}/0")
    fail_to_warm(kit, NOON, "Connection refused")
    for outcome in ("failed", "failed", "failed", "failed", "dead"):
        with pytest.raises(RunFailedError, match=f"cache_warming {outcome}: Redis does not take the lock"):
            warm(kit, request_id="r1")


def test_a_port_that_takes_connections_and_never_answers_holds_a_run_up_for_a_second_or_two(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fail_to_warm(kit_for(tmp_path, f"redis://127.0.0.1:{listener.getsockname()[1]}/0"), NOON, "Timeout")


def test_a_port_that_answers_something_else_fails_the_run(tmp_path: Path, mariadb_url: str) -> None:
    port = mariadb_url.rpartition(":")[2].partition("/")[0]
    began = time.monotonic()
    with pytest.raises(RunFailedError, match="cache_warming failed"):
        warm(kit_for(tmp_path, f"redis://127.0.0.1:{port}/0"))
    assert time.monotonic() - began < PATIENCE_SECONDS


def test_a_cluster_whose_slots_nobody_serves_fails_the_run(tmp_path: Path) -> None:
    # By default its bus listens 10,000 ports above, where there may be none.
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with needed(lambda folder: redis_server(folder, *options), tmp_path) as url:
        kit = kit_for(tmp_path, url)
        fail_to_warm(kit, NOON, "Hash slot not served")
        node: Any = redis.Redis.from_url(url)
        with node as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            # It takes a moment until the node says so of itself.
            deadline = time.monotonic() + 10
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                assert time.monotonic() < deadline
            assert warm(kit, request_id="r1")["outcome"] == "succeeded"
            assert values_of(client) == ([], 0)


def test_wrong_password_fails_the_run_and_is_not_disclosed(tmp_path: Path, own: redis.Redis) -> None:
    own.config_set("requirepass", "right")
    kit = kit_for(tmp_path, url_of(own), REDIS_PASSWORD="wrong-and-secret")
    fail_to_warm(kit, NOON, "invalid username-password pair or user is disabled")
    (run,) = execute(kit, select(runs_table))
    assert "wrong-and-secret" not in run.error
    assert warm(kit_for(tmp_path, url_of(own), REDIS_PASSWORD="right"), request_id="r1")["outcome"] == "succeeded"


def test_a_user_of_our_keys_and_few_commands_is_enough_over_tls_whose_certificate_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = make_certificate(tmp_path)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    tls += ["--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"]
    with needed(lambda folder: redis_server(folder, *tls), tmp_path) as plain:
        client: Any = redis.Redis.from_url(plain)
        (documented,) = re.findall(r"^ACL SETUSER warmer (.+)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
        client.execute_command("ACL", "SETUSER", "warmer", *documented.split())
        # In place of the machine's own roots, as Lambda's are.
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        kit = kit_for(tmp_path, f"rediss://warmer:password@localhost:{port}/0")
        assert warm(kit)["outcome"] == "succeeded"
        assert values_of(client) == ([], 0)
        other = kit_for(tmp_path, f"rediss://warmer:password@127.0.0.1:{port}/0")
        fail_to_warm(other, LATER - timedelta(minutes=15), "certificate verify failed")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that is its own authority, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    new += ["-addext", "subjectAltName=DNS:localhost", "-addext", "keyUsage=critical,keyCertSign,digitalSignature"]
    subprocess.run([*new, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key
