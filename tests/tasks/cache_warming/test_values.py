"""Values in Redis: swapped in together, by one run at a time, never by an earlier fire over a later one's."""

import threading
from collections import UserDict
from collections.abc import ItemsView
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import insert

from chalicelib.application import posts, sessions
from chalicelib.core.clock import to_ms
from chalicelib.core.errors import AlreadyClaimed, Skipped, TransientError
from chalicelib.tasks import cache_warming
from chalicelib.tasks.cache_warming import CURRENT, LIFE_SECONDS, LOCK, LOCK_SECONDS, claim, read, swap_in
from nightshift.testkit.kit import Kit

AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LATER = AT + timedelta(minutes=30)
COMPUTED = datetime(2026, 3, 2, 12, 0, 5, tzinfo=UTC)


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    return client


def put(client: redis.Redis, values: Any, *, at: datetime = AT, run_id: str = "r1") -> None:
    swap_in(client, values, at=at, computed_at=COMPUTED, run_id=run_id)


def value(client: redis.Redis, name: str = "a") -> Any:
    values = read(client, name)
    return None if values is None else values[name]["value"]


def computed(kit: Kit, *, at: datetime = AT) -> dict[str, Any]:
    return kit.context().database.transact(lambda connection: cache_warming.compute(connection, at=at))


def add_posts(kit: Kit, views: list[int]) -> None:
    rest = {"title": "T", "url": None, "author": None, "points": 1, "comments": 2, "created_at": 3}
    # Backwards, so that no order of the table's own is that of the ids.
    rows = [{"id": f"p{n:03}", "views": each, **rest} for n, each in enumerate(views)][::-1]
    kit.context().database.transact(lambda connection: connection.execute(insert(posts), rows))


def test_the_hundred_posts_most_viewed_are_chosen_best_first(kit: Kit) -> None:
    add_posts(kit, [n // 2 for n in range(120)])
    best = computed(kit)["popular_posts"]
    assert [post["views"] for post in best] == [n // 2 for n in range(119, 19, -1)]
    assert {post["id"] for post in best[:4]} == {"p118", "p119", "p116", "p117"}


def test_posts_have_the_chosen_columns_only(kit: Kit) -> None:
    add_posts(kit, [7])
    assert computed(kit)["popular_posts"] == [
        {
            "id": "p000",
            "title": "T",
            "url": None,
            "author": None,
            "points": 1,
            "comments": 2,
            "views": 7,
            "created_at": 3,
        }
    ]


def test_users_are_active_who_used_a_session_in_the_day_before_each_once(kit: Kit) -> None:
    end = to_ms(AT)
    start = end - 86_400_000
    used = [("before", start - 1), ("first", start), ("last", end - 1), ("last", end - 2), ("after", end)]
    rows = [{"id": f"s{n}", "user_id": u, "created_at": 0, "updated_at": ms} for n, (u, ms) in enumerate(used)]
    kit.context().database.transact(lambda connection: connection.execute(insert(sessions), rows))
    assert computed(kit)["active_users"] == 2


def test_empty_tables_have_values_too(kit: Kit) -> None:
    assert computed(kit) == {"popular_posts": [], "active_users": 0}


def test_a_value_is_read_with_when_it_was_computed(client: redis.Redis) -> None:
    put(client, {"a": [1, "Zoë"], "b": 2})
    told = "2026-03-02T12:00:05Z"
    assert read(client, "a", "b") == {
        "a": {"computed_at": told, "value": [1, "Zoë"]},
        "b": {"computed_at": told, "value": 2},
    }


def test_a_cold_cache_or_a_name_that_is_not_there_reads_as_none(client: redis.Redis) -> None:
    assert read(client, "a") is None
    put(client, {"a": 1})
    assert read(client, "nothing") is None
    assert read(client, "a", "nothing") is None


def test_every_key_lives_for_two_intervals_and_some_minutes(client: redis.Redis) -> None:
    put(client, {"a": 1, "b": 2})
    keys = list(client.scan_iter())
    assert len(keys) == 3
    for key in keys:
        assert 2 * 1800 + 600 < int(client.ttl(key)) <= LIFE_SECONDS < 3 * 1800


def test_every_key_lies_on_one_node_of_a_cluster(client: redis.Redis) -> None:
    claim(client, at=AT, run_id="r1")
    claimed = {bytes(key) for key in client.scan_iter()}
    put(client, {"a": 1, "b": 2})
    keys = claimed | set(client.scan_iter())
    assert len(keys) == 4
    assert all(key.startswith(b"{cache}:") for key in keys)


def test_swapping_in_sends_its_writes_as_one_transaction(client: redis.Redis) -> None:
    put(client, {"warm": "the connection"}, at=AT - timedelta(hours=1))
    before: Any = client.info("commandstats")
    put(client, {"a": 1, "b": 2})
    after: Any = client.info("commandstats")
    nothing = {"calls": 0}
    names = [f"cmdstat_{command}" for command in ("watch", "get", "multi", "set", "del", "exec")]
    assert [after[name]["calls"] - before.get(name, nothing)["calls"] for name in names] == [1, 1, 1, 3, 1, 1]


def test_the_values_before_are_still_there_for_whoever_has_read_their_version(client: redis.Redis) -> None:
    put(client, {"a": "old"})
    version = client.get(CURRENT)
    assert isinstance(version, bytes)
    put(client, {"a": "new"}, at=LATER)
    assert client.get(f"{{cache}}:a:{version.decode()}") is not None
    assert value(client) == "new"


def test_a_reader_sees_all_old_values_or_all_new_ones(client: redis.Redis, redis_url: str) -> None:
    put(client, {"a": 0, "b": 0, "c": 0})
    done = threading.Event()
    seen: list[tuple[Any, ...]] = []

    def keep_reading() -> None:
        with redis.Redis.from_url(redis_url) as own:
            while not done.is_set():
                values = read(own, "a", "b", "c")
                assert values is not None
                seen.append(tuple(each["value"] for each in values.values()))

    readers = [threading.Thread(target=keep_reading) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(1, 500):
        put(client, {"a": n, "b": n, "c": n}, at=AT + timedelta(minutes=n))
    done.set()
    for reader in readers:
        reader.join()
    assert {len(set(values)) for values in seen} == {1}
    assert len(set(seen)) > 50


def test_one_run_holds_the_others_off_until_it_has_swapped_its_values_in(client: redis.Redis) -> None:
    claim(client, at=AT, run_id="r1")
    with pytest.raises(AlreadyClaimed, match="another run is warming the cache"):
        claim(client, at=LATER, run_id="r2")
    put(client, {"a": 1})
    claim(client, at=LATER, run_id="r2")


def test_the_same_run_may_claim_again_and_a_dead_one_is_in_the_way_for_minutes_only(client: redis.Redis) -> None:
    claim(client, at=AT, run_id="r1")
    claim(client, at=AT, run_id="r1")
    assert 0 < int(client.ttl(LOCK)) <= LOCK_SECONDS <= 300


def test_an_earlier_fire_that_comes_late_is_refused_and_leaves_no_lock(client: redis.Redis) -> None:
    put(client, {"a": "later"}, at=LATER)
    with pytest.raises(Skipped, match="the values of a later fire are in the cache"):
        claim(client, at=AT, run_id="r1")
    assert client.get(LOCK) is None
    assert value(client) == "later"


def test_the_same_fire_may_put_its_values_again(client: redis.Redis) -> None:
    put(client, {"a": 1})
    claim(client, at=AT, run_id="r1")
    put(client, {"a": 2})
    assert value(client) == 2


def test_a_run_that_outlived_its_lock_does_not_overwrite_a_later_fires_values(client: redis.Redis) -> None:
    claim(client, at=AT, run_id="slow")
    client.delete(LOCK)
    claim(client, at=LATER, run_id="r2")
    put(client, {"a": "later"}, at=LATER, run_id="r2")
    with pytest.raises(Skipped, match="the values of a later fire"):
        put(client, {"a": "earlier"}, run_id="slow")
    assert value(client) == "later"


class Overtaken(UserDict[str, Any]):
    """Values of a run that another overtakes in the very moment in which it writes them."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(a="earlier")
        self._client = client

    def items(self) -> ItemsView[str, Any]:
        put(self._client, {"a": "later"}, at=LATER, run_id="r2")
        return super().items()


def test_values_of_a_later_fire_that_come_between_the_look_and_the_write_stay(
    client: redis.Redis, redis_url: str
) -> None:
    with redis.Redis.from_url(redis_url) as other, pytest.raises(TransientError, match="does not take the values"):
        put(client, Overtaken(other))
    assert value(client) == "later"


@pytest.mark.parametrize("version", [b"", b"garbage", b"-", b"-1-r", b"\xff\xfe", b"1e9-x"])
def test_foreign_version_is_ignored(client: redis.Redis, version: bytes) -> None:
    client.set(CURRENT, version)
    claim(client, at=AT, run_id="r1")
    put(client, {"a": 1})
    assert value(client) == 1


@pytest.mark.parametrize("key", [CURRENT, LOCK])
def test_key_of_another_type_reports_redis_error(client: redis.Redis, key: str) -> None:
    client.lpush(key, "x")
    with pytest.raises(TransientError, match=r"Redis does not take the lock: .*WRONGTYPE"):
        claim(client, at=AT, run_id="r1")


def test_refused_values_leave_the_old_ones_current(client: redis.Redis) -> None:
    put(client, {"a": "old"})
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(TransientError, match=r"Redis does not take the values: .*maxmemory"):
            put(client, {"a": "new"}, at=LATER)
    finally:
        client.config_set("maxmemory", 0)
    assert value(client) == "old"
