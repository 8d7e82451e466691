"""kill -9 at any statement, and the repetition: the same rows are left, and what is gone is in the archive."""

import gc
import json
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import delete, event, insert

from chalicelib.application import email_verification_tokens, password_reset_tokens, sessions, users
from chalicelib.core.clock import SystemClock
from chalicelib.schema import runs
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.kit import Killed
from tests import forked
from tests.sweep import some
from tests.tasks.database_cleanup import dying
from tests.tasks.database_cleanup.dying import RULES
from tests.tasks.database_cleanup.samples import (
    NIGHT,
    ago,
    archived,
    clean,
    ids_in,
    use,
)
from tests.world import World

TABLES = (users, sessions, email_verification_tokens, password_reset_tokens)
Rows = dict[str, set[str]]


def prepare(world: World) -> Rows:
    """Empty the tables, fill them anew, and return the rows that there are."""
    for table in (*TABLES, runs):
        world.execute(delete(table))
    gone = world.add_users(5, prefix="gone", is_verified=False, created_at=ago(days=8))
    kept = world.add_users(5, prefix="kept", created_at=ago(days=8))
    owned = list(enumerate([*gone, *kept]))
    old, now, later = {"updated_at": ago(days=31)}, {"updated_at": ago()}, {"expires_at": ago(days=-1)}
    idle = [{"id": f"idle{n}", "user_id": "nobody", "created_at": 1, **old} for n in range(7)]
    used = [{"id": f"of{n}", "user_id": user_id, "created_at": 1, **now} for n, user_id in owned]
    world.execute(insert(sessions), idle + used)
    tokens = [{"id": f"t{n}", "user_id": user_id, "token": f"{n}", "created_at": 1, **later} for n, user_id in owned]
    world.execute(insert(email_verification_tokens), tokens)
    kinds = {"expired": ("gone", ago(days=1)), "valid": ("gone", ago(days=-1)), "other": ("kept", ago(days=-1))}
    resets = [
        {
            "id": f"{kind}{n}",
            "email": f"{whose}{n}@example.com",
            "token": f"{kind}{n}",
            "created_at": 1,
            "expires_at": at,
        }
        for kind, (whose, at) in kinds.items()
        for n in range(5)
    ]
    world.execute(insert(password_reset_tokens), resets)
    return rows_of(world)


def rows_of(world: World) -> Rows:
    return {table.name: set(ids_in(world, table)) for table in TABLES}


def archived_rows(world: World) -> Rows:
    found: Rows = {table.name: set() for table in TABLES}
    for lines in archived(world, by=world.run().id).values():
        for line in lines:
            found[line["table"]].add(line["row"]["id"])
    return found


def check(world: World, before: Rows, expected: Rows) -> None:
    assert rows_of(world) == expected
    assert world.run().status == "succeeded"
    in_archive = archived_rows(world)
    for name in (users.name, password_reset_tokens.name, email_verification_tokens.name):
        assert before[name] - expected[name] <= in_archive[name]
    # Those of the users; idle sessions have no archive.
    assert {id_ for id_ in before["sessions"] - expected["sessions"] if id_.startswith("of")} <= in_archive["sessions"]


@contextmanager
def killed_at(world: World, moment: str, nth: int) -> Iterator[list[str]]:
    """End the run at its nth statement, or commit; give those that came so far."""
    seen: list[str] = []

    def die(*arguments: Any) -> None:
        # A connection that is killed there, in a process that goes on, would keep its lock.
        if "BEGIN IMMEDIATE" not in arguments:
            seen.append(moment)
            if len(seen) == nth:
                raise Killed

    engine = world.context().database.engine
    event.listen(engine, moment, die)
    try:
        yield seen
    finally:
        event.remove(engine, moment, die)


def kill(world: World, moment: str, nth: int) -> bool:
    """Clean up until the nth statement or commit, and return whether there was one."""
    is_killed = False
    with killed_at(world, moment, nth):
        try:
            clean(world, request_id="r1")
        except Killed:
            is_killed = True
    # What a killed process held is gone with it; here it hangs on the traceback.
    gc.collect()
    return is_killed


@pytest.fixture
def expected(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Rows, int]]:
    """What an undisturbed run leaves, and how many statements or commits it takes."""
    use(monkeypatch, *RULES)

    def run(moment: str) -> tuple[Rows, int]:
        prepare(world)
        with killed_at(world, moment, 0) as seen:
            clean(world)
        return rows_of(world), len(seen)

    return run


@pytest.mark.parametrize("moment", ["before_cursor_execute", "commit"])
def test_run_killed_anywhere_ends_the_same_when_repeated(
    world: World, expected: Callable[[str], tuple[Rows, int]], moment: str
) -> None:
    left, steps = expected(moment)
    assert left["sessions"] == {f"of{n}" for n in range(5, 10)}
    assert left["password_reset_tokens"] == {f"other{n}" for n in range(5)}
    assert steps > 20
    for nth in some(3, of=steps):
        before = prepare(world)
        assert kill(world, moment, nth)
        clean(world, request_id="r1")
        check(world, before, left)


def test_run_killed_repeatedly_completes(world: World, expected: Callable[[str], tuple[Rows, int]]) -> None:
    left, steps = expected("before_cursor_execute")
    chance = random.Random(3)
    before = prepare(world)
    kills = 0
    while kill(world, "before_cursor_execute", chance.randrange(steps // 4, steps // 2)):
        kills += 1
    assert kills > 2
    check(world, before, left)


@pytest.mark.parametrize(("nth", "moment"), [(9, "after"), (23, "before"), (31, "after"), (40, "before")])
def test_killed_process_is_completed_by_its_retry(
    world: World, expected: Callable[[str], tuple[Rows, int]], nth: int, moment: str
) -> None:
    left, steps = expected("before_cursor_execute")
    assert nth < steps
    before = prepare(world)
    fire = json.dumps(scheduled_event(NIGHT))
    done = forked.run(dying.main, "r1", str(nth), moment, environment=world.environment, typed=fire)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Our clock stands still, theirs did not.
    world.clock.advance((SystemClock().now_ms() - world.clock.now_ms()) / 1000)
    assert clean(world, request_id="r1")["attempt"] == 2
    check(world, before, left)
