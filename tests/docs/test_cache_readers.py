"""Whoever reads the warmed cache as the page shows finds what our own reader does, in Python and in JavaScript."""

import json
import os
import shutil
import subprocess

import pytest
import redis

from chalicelib.tasks import cache_warming
from tests.docs.pages import blocks
from tests.docs.running import block_with, run

# One value of the version that counts, and one that was left from the version before.
CACHED = {
    "{cache}:current": "2-a",
    "{cache}:popular_posts:2-a": '{"value": [1]}',
    "{cache}:active_users:1-b": '{"value": 0}',
}


def test_the_cache_is_read_as_our_own_reader_does(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    read = run(block_with("def read_cache"))["read_cache"]
    assert read(client, "popular_posts") is None
    client.mset(CACHED)
    cached = {"popular_posts": {"value": [1]}}
    assert read(client, "popular_posts") == cache_warming.read(client, "popular_posts") == cached
    assert read(client, "popular_posts", "active_users") is None


def test_the_cache_is_read_from_javascript_too() -> None:
    node = shutil.which("node")
    if node is None:
        (pytest.fail if "node" in os.environ.get("REQUIRE_CLIENTS", "") else pytest.skip)("node is not installed")
    (block,) = (block for block in blocks("js") if "readCache" in block.text)
    get = "async (key) => held[key] ?? null"
    lines = [
        f"const held = {json.dumps(CACHED)};",
        f"const redis = {{ get: {get}, mget: (keys) => Promise.all(keys.map({get})) }};",
        'const queryPopularPosts = async () => ["asked"];',
        block.text,
        'console.log(JSON.stringify([await readCache(redis, "popular_posts"), posts]));',
    ]
    command = [node, "--input-type=module", "--eval", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [{"popular_posts": {"value": [1]}}, ["asked"]]
