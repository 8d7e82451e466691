"""Snapshots by RDS night by night: the watch has them exported, and their age is that of any backup."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from sqlalchemy import select

from chalicelib import backup
from chalicelib.backup import rds
from chalicelib.backup.status import find, read_backups
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.config import Environment
from chalicelib.core.context import Context
from chalicelib.core.errors import RunFailedError
from chalicelib.operate import watch
from chalicelib.runs import execution
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Invocation, Kit
from tests.backup.slow_rds import SlowRds
from tests.infra.templates import TEMPLATES

Log = Callable[[], list[dict[str, Any]]]
NIGHT = datetime(2026, 3, 2, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SNAPSHOT, EXPORT = 40 * MINUTE, 280 * MINUTE


class Nights:
    """A deployment whose database is too big for a dump, and its RDS."""

    def __init__(self, database_url: str) -> None:
        self.kit = Kit(database_url, clock=FrozenClock(NIGHT))
        self.rds = SlowRds(self.kit.clock, snapshot=SNAPSHOT, export=EXPORT)
        self.kit.environment |= {
            "BACKUP_RDS": "instance:shop",
            "BACKUP_EXPORT_ROLE": "arn:role",
            "BACKUP_EXPORT_KEY": "arn:key",
        }

    @property
    def now(self) -> datetime:
        return from_ms(self.kit.clock.now_ms())

    def context(self, *, seconds: float) -> Context:
        deadline_ms = self.kit.clock.now_ms() + round(1000 * seconds)
        invocation = Invocation(clock=self.kit.clock, deadline_ms=deadline_ms, aws_request_id="any")
        clients = {"rds": self.rds, "s3": self.kit.s3}
        return Context(
            invocation, environment=Environment(self.kit.environment), clock=self.kit.clock, client=clients.__getitem__
        )

    def back_up(self) -> dict[str, Any]:
        """Have the night's fire come, with too little time for any dump."""
        return execution.execute("database_backup", event={}, context=self.context(seconds=5))

    def watch(self, *, until: datetime) -> Iterator[datetime]:
        """Have the watch look every five minutes, and yield each moment."""
        while self.now < until:
            self.kit.clock.advance(300)
            watch.watch(self.context(seconds=60), {}, [backup.PART])
            yield self.now

    def rows(self) -> list[Any]:
        query = select(backups).order_by(backups.c.id)
        return self.kit.context().database.autocommit(lambda connection: list(connection.execute(query)))

    def findings(self) -> list[str]:
        status = self.kit.context().database.autocommit(read_backups)
        found = find(status, {"database_backup": Schedule("0 1 * * *")}, self.now)
        return [f"{each.subject} {each.matter}" for each in found]


@pytest.fixture
def nights(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Nights:
    # The page that each look leaves is most of its work, and tested elsewhere.
    monkeypatch.setattr("chalicelib.operate.status.page.store", lambda *_: None)
    return Nights(database_url)


def told(lines: list[dict[str, Any]], metric: str) -> list[float]:
    return [line[metric][0] for line in lines if metric in line]


def test_each_nights_snapshot_is_exported_and_noticed_as_soon_as_rds_is_ready_and_nothing_alarms(
    nights: Nights, log: Log
) -> None:
    for night in range(3):
        assert nights.back_up()["outcome"] == "succeeded"
        begun_at = nights.now
        for moment in nights.watch(until=NIGHT + (night + 1) * timedelta(days=1)):
            assert nights.findings() == []
            row = nights.rows()[-1]
            if moment >= begun_at + SNAPSHOT + EXPORT + 10 * MINUTE:
                assert row.verified_at is not None
        assert begun_at + SNAPSHOT + EXPORT <= from_ms(row.verified_at) < begun_at + SNAPSHOT + EXPORT + 10 * MINUTE
    lines = log()
    ages = told(lines, "backup_verified_age")
    assert 24 < max(ages) < TEMPLATES["alarms"]["Parameters"]["VerifiedBackupHours"]["Default"]
    assert told(lines, "backup_drilled_age") == []
    assert [line["message"] for line in lines if line.get("level") == "ERROR"] == []


def test_rds_is_asked_only_while_there_is_something_to_wait_for(nights: Nights) -> None:
    for _ in nights.watch(until=NIGHT + HOUR):
        assert nights.rds.asked == 0
    nights.back_up()
    for _ in nights.watch(until=nights.now + SNAPSHOT + EXPORT + 10 * MINUTE):
        pass
    asked = nights.rds.asked
    for _ in nights.watch(until=nights.now + HOUR):
        assert nights.rds.asked == asked
    # As of one that was left to RDS before its setting was taken away.
    nights.kit.clock.advance(86_400)
    nights.back_up()
    asked = nights.rds.asked
    del nights.kit.environment["BACKUP_RDS"]
    for _ in nights.watch(until=nights.now + HOUR):
        assert nights.rds.asked == asked


def test_an_export_that_fails_is_told_once_where_people_look_and_fails_no_look(nights: Nights, log: Log) -> None:
    nights.rds.failure = "the role may not write"
    nights.back_up()
    for _ in nights.watch(until=NIGHT + 3 * HOUR):
        pass
    (row,) = nights.rows()
    reason = f"the export of nightshift-{row.id.lower()} failed: the role may not write; the snapshot itself exists"
    assert (row.status, row.verified_at, row.error) == ("finished", None, reason)
    (line,) = (line for line in log() if line.get("level") == "ERROR")
    assert (line["message"], line["snapshot"], line["error"]) == ("snapshot not verified", row.id, reason)


def test_a_snapshot_that_rds_cannot_make_is_told_once_and_is_no_backup(nights: Nights, log: Log) -> None:
    nights.rds.is_broken = True
    nights.back_up()
    for _ in nights.watch(until=NIGHT + HOUR):
        pass
    (row,) = nights.rows()
    assert (row.status, row.verified_at) == ("failed", None)
    assert "RDS failed to create the snapshot" in row.error
    assert [line["error"] for line in log() if line.get("level") == "ERROR"] == [row.error]


def refuse() -> None:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeDBSnapshots")


@pytest.mark.parametrize(
    ("refusal", "seconds", "reason"),
    [
        (refuse, 60.0, "listing the snapshots of shop failed"),
        (threading.Event().wait, 0.05, "it took longer than the 0.05 s"),
    ],
    ids=["refuses", "hangs"],
)
def test_an_rds_that_does_not_answer_keeps_the_watch_from_no_other_look(
    nights: Nights,
    log: Log,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable[[], object],
    seconds: float,
    reason: str,
) -> None:
    nights.back_up()
    for _ in nights.watch(until=NIGHT + SNAPSHOT + EXPORT + 10 * MINUTE):
        pass
    nights.kit.clock.advance((to_ms(NIGHT + timedelta(days=1)) - nights.kit.clock.now_ms()) / 1000)
    nights.back_up()
    log()
    nights.rds.refuse = refusal
    monkeypatch.setattr(rds, "LONGEST_SECONDS", seconds)
    with pytest.raises(RunFailedError, match=rf"it could not check snapshots \({reason}"):
        watch.watch(nights.context(seconds=60), {}, [backup.PART])
    assert told(log(), "backup_verified_age") == [24.0]
