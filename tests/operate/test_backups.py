"""Backups as an operator asks for them, when time ends before they are done."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, text

from app import PARTS
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.backups import Backups
from chalicelib.core.clock import from_ms
from chalicelib.core.errors import OutOfTimeError, PermanentError
from chalicelib.operate import operate
from chalicelib.runs import claims, execution
from chalicelib.runs.fire import Fire
from chalicelib.schema import runs as runs_table
from tests.servers import on_each_server
from tests.world import World

PLACE = "restored_by_operate"
pytestmark = on_each_server


@pytest.fixture
def backed_up(world: World) -> Iterator[World]:
    """A deployment with a backup of four parts and more, each read at once."""
    world.configure(backup_connections=1)
    world.add_users(3)
    world.add_posts("One", "Two")
    execution.execute("database_backup", event={}, context=world.context())
    yield world
    world.execute(text(f"DROP DATABASE IF EXISTS {PLACE}"))


def ask(world: World, command: str, **request: Any) -> dict[str, Any]:
    return operate({"command": f"backup.{command}", **request}, world.context(), {}, PARTS)


def parts(world: World) -> int:
    backups = Backups(world.context())
    return len(backups.reader(backups.list().find("latest").id, plain=False).manifest.parts)


def slow(world: World, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Let reading a part take five minutes, after so many that take none."""
    read, done = Reader.read, []

    def slowly(reader: Reader, part: Any) -> Any:
        done.append(part)
        if len(done) > after:
            world.clock.advance(300)
        return read(reader, part)

    monkeypatch.setattr(Reader, "read", slowly)


def test_one_that_is_asked_for_a_second_after_another_is_made_and_takes_in_what_changed(world: World) -> None:
    first = ask(world, "create")
    world.add_users(1)
    world.clock.advance(1)
    second = ask(world, "create")
    assert (first["outcome"], second["outcome"]) == ("succeeded", "succeeded")
    assert ask(world, "verify")["rows"] > ask(world, "verify", backup=first["backup"])["rows"]
    assert ask(world, "verify")["backup"] == second["backup"]


def test_a_restore_that_time_ends_is_not_complete_and_asked_for_again_goes_on(
    backed_up: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        slow(backed_up, changed, after=parts(backed_up))
        answer = ask(backed_up, "restore", schema=PLACE)
    assert answer["is_complete"] is False
    again = ask(backed_up, "restore", schema=PLACE, backup=answer["backup"], by_checksum=True)
    assert (again["is_complete"], again["is_resumed"], again["differences"]) == (True, True, [])
    assert [row.n for row in backed_up.execute(text(f"SELECT COUNT(*) AS n FROM {PLACE}.users"))] == [3]


def test_a_restore_that_would_never_come_further_is_refused_with_what_to_do(
    backed_up: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(backed_up, monkeypatch, after=parts(backed_up) - 1)
    with pytest.raises(PermanentError, match="takes longer than one invocation has: give the function more memory"):
        ask(backed_up, "restore", schema=PLACE)
    assert backed_up.execute(text(f"SHOW DATABASES LIKE '{PLACE}'")) == []


@pytest.mark.parametrize("command", ["verify", "drill"])
def test_what_time_does_not_allow_is_said_and_harms_no_backup(
    backed_up: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    slow(backed_up, monkeypatch, after=1)
    with pytest.raises(OutOfTimeError, match="takes longer than one invocation has"):
        ask(backed_up, command)
    assert ask(backed_up, "list")["backups"][0]["verified_at"] is not None
    assert backed_up.execute(text("SHOW DATABASES LIKE '%drill%'")) == []


def test_a_backup_that_was_killed_at_a_shell_is_out_of_the_way_after_minutes(world: World) -> None:
    an_hour = world.context(seconds=3600)
    claims.claim(an_hour, "database_backup", fire_of(world), overlap="skip")
    world.clock.advance(60)
    assert ask(world, "create")["outcome"] == "skipped"
    world.clock.advance(8 * 60)
    assert ask(world, "create")["outcome"] == "succeeded"


def test_a_backup_at_a_shell_holds_its_run_for_as_long_as_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "RENEW_EVERY_SECONDS", 0.01)
    leases = select(runs_table.c.lease_until)
    make = Backups.make

    def slowly(backups: Backups, **arguments: Any) -> str:
        world.clock.advance(600)
        until = time.monotonic() + 30
        while world.execute(leases)[0][0] < world.clock.now_ms() and time.monotonic() < until:
            time.sleep(0.01)
        assert world.execute(leases)[0][0] == world.clock.now_ms() + 180_000
        return make(backups, **arguments)

    monkeypatch.setattr(Backups, "make", slowly)
    answer = operate({"command": "backup.create"}, world.context(seconds=3600), {}, PARTS)
    assert answer["outcome"] == "succeeded"


def fire_of(world: World) -> Fire:
    return Fire(scheduled_for=from_ms(world.clock.now_ms()), trigger="manual", dry_run=False, options={})
