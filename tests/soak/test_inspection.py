"""The inspection behind a soak: silent about what is well, and each promise that is broken is told, with its story."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, delete, insert, update

from chalicelib import migrations
from chalicelib.application import users
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.engine import engine_for
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups, deliveries, jobs, runs
from nightshift.demo.blog import make_users
from nightshift.local.aws import LocalAws
from nightshift.local.invocation import LocalClock
from soak.application import Request
from soak.inspection import Left, inspect
from soak.post import Post
from soak.story import Story

FIRST = datetime(2027, 1, 1, tzinfo=UTC)
NOW = FIRST + timedelta(days=3, hours=42)
DAILY = Schedule("0 8 * * *")
FIRES = DAILY.between(FIRST, FIRST + timedelta(days=3), limit=10)
DAY = date(2027, 1, 1)
[USER] = make_users(1, now=FIRST, seed=1)
ACCEPTED = Request(way="insert", recipient="a@example.com", is_good=True, asked_ms=0, is_accepted=True)
RESTORED = {"is_complete": True, "differences": []}


def run_row(fire: datetime, **values: Any) -> dict[str, Any]:
    row = {"id": f"run of {fire:%d}", "task": "daily_digest", "scheduled_for": to_ms(fire), "trigger": "schedule"}
    row |= {"status": "succeeded", "attempt": 1, "failures": 0, "lease_until": 0, "request_id": "", "started_at": 0}
    return row | values


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Left]:
    """What a soak leaves that went well: three fires, a job with its mail, a digest, a backup."""
    engine = engine_for(f"sqlite:///{tmp_path / 'left.db'}")
    migrations.upgrade(engine)
    post = Post(LocalAws("http://127.0.0.1:0"))
    post.letters[ACCEPTED.recipient] = 1
    post.digests[post.name(USER["email"], DAY)] = 1
    with engine.connect() as connection:
        connection.execute(insert(users), USER)
        connection.execute(insert(runs), [run_row(fire) for fire in FIRES])
        connection.execute(
            insert(jobs),
            {"id": ACCEPTED.id, "type": "send_email", "data": "{}", "status": "completed", "created_at": 0},
        )
        connection.execute(insert(deliveries), {"digest_day": DAY.isoformat(), "user_id": USER["id"], "status": "sent"})
        connection.execute(
            insert(backups),
            {"id": "b1", "kind": "dump", "run_id": "r1", "status": "finished", "taken_at": 0, "verified_at": 1},
        )
        answers: dict[str, dict[str, Any]] = {
            "backup.list": {"backups": [{"id": "b1", "finished_at": "2027-01-01T00:00:00Z"}]},
            "backup.restore": dict(RESTORED),
        }
        yield Left(
            connection=connection,
            planned={"daily_digest": DAILY},
            first=FIRST,
            now=NOW,
            requests=[ACCEPTED],
            post=post,
            ask=lambda command, **_: answers[command],
        )
    engine.dispose()


def broken(left: Left) -> list[str]:
    return [each.promise for each in inspect(left)]


def change(connection: Connection, table: Table, **values: Any) -> None:
    connection.execute(update(table).values(**values))


def test_what_is_well_is_counted_and_nothing_is_said(left: Left) -> None:
    assert broken(left) == []
    assert left.counts["fires"] == {"succeeded": 3}
    assert left.counts["requests"] == {"accepted, completed, 1 mails": 1}
    assert left.counts["digests"] == {"sent": 1}
    assert left.counts["backups"] == {"restored": 1}


def test_a_fire_of_which_nothing_tells_is_told_by_its_moment(left: Left) -> None:
    left.connection.execute(delete(runs).where(runs.c.id == f"run of {FIRES[1]:%d}"))
    [violation] = inspect(left)
    assert violation.promise == "a fire that is due has a run or a reason"
    assert violation.how == "daily_digest was due at 2027-01-02T08:00:00Z, and nothing tells of it"


@pytest.mark.parametrize(
    "values", [{"status": "running"}, {"status": "failed", "error": "x"}, {"status": "missed"}, {"status": "dead"}]
)
def test_a_run_that_is_not_over_or_gives_no_reason_is_told(left: Left, values: dict[str, Any]) -> None:
    change(left.connection, runs, **values)
    assert broken(left) == ["a run ends, and one that did not succeed says why"] * 3


@pytest.mark.parametrize("mails", [0, 2])
def test_a_job_that_was_done_another_number_of_times_than_once_is_told(left: Left, mails: int) -> None:
    left.post.letters[ACCEPTED.recipient] = mails
    assert broken(left) == ["an accepted job is done once, or dead"]


def test_a_job_that_was_lost_is_told(left: Left) -> None:
    left.connection.execute(delete(jobs))
    assert "an accepted job is done once, or dead" in broken(left)


@pytest.mark.parametrize("status", ["pending", "processing", "failed"])
def test_a_job_that_is_not_over_is_told(left: Left, status: str) -> None:
    change(left.connection, jobs, status=status)
    assert "a job is completed or dead" in broken(left)


@pytest.mark.parametrize(
    ("status", "mails"), [("sent", 2), ("sent", 0), ("unknown", 2), ("refused", 1), ("pending", 0), ("sending", 1)]
)
def test_a_digest_that_the_ledger_tells_otherwise_is_told(left: Left, status: str, mails: int) -> None:
    change(left.connection, deliveries, status=status)
    left.post.digests[left.post.name(USER["email"], DAY)] = mails
    assert broken(left) == ["nobody has two digests of one day, nor one that the ledger does not know"]


def test_a_digest_of_which_the_ledger_knows_nothing_is_told(left: Left) -> None:
    left.connection.execute(delete(deliveries))
    assert broken(left) == ["nobody has two digests of one day, nor one that the ledger does not know"]


@pytest.mark.parametrize("answer", [{"differences": ["posts"]}, {"is_complete": False}])
def test_a_backup_that_does_not_restore_as_it_was_is_told(left: Left, answer: dict[str, Any]) -> None:
    left.ask("backup.restore").update(answer)
    assert broken(left) == ["a listed backup restores as it was"]


def test_a_run_that_made_two_backups_is_told(left: Left) -> None:
    row = {"id": "b2", "kind": "dump", "run_id": "r1", "status": "finished", "taken_at": 0, "verified_at": 1}
    left.connection.execute(insert(backups), row)
    assert broken(left) == ["a run makes one backup"]


def test_the_story_has_the_lines_that_name_a_run_whichever_function_wrote_them(tmp_path: Path) -> None:
    with Story(tmp_path / "log", LocalClock(ahead_ms=0)) as story:
        story.add("daily_digest", json.dumps({"level": "INFO", "message": "run started", "run_id": "r1"}))
        story.add("daily_digest", json.dumps({"level": "INFO", "message": "run started", "run_id": "r2"}))
        story.write(json.dumps({"level": "ERROR", "message": "run given up", "run_id": "r1"}) + "\n")
        told = list(story.of("r1"))
        assert [("run started" in line, "run given up" in line) for line in told] == [(True, False), (False, True)]
        assert story.lines == 3
        assert from_ms(LocalClock(ahead_ms=0).now_ms()).strftime("%Y-%m-%d") in told[0]
