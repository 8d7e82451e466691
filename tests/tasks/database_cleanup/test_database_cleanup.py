"""The database cleanup, from a fire to the rows that are left."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, insert, update

from chalicelib.application import email_verification_tokens, password_reset_tokens, sessions, users
from chalicelib.core.errors import ConfigurationError, RunFailedError
from chalicelib.schema import deliveries, emails, quarantine, runs
from chalicelib.tasks.database_cleanup.rules import Rule
from nightshift.testkit.kit import Killed
from tests.tasks.database_cleanup.samples import (
    NIGHT,
    add_email_token,
    add_reset_token,
    add_sessions,
    ago,
    clean,
    ids_in,
    lines_of,
    use,
)
from tests.world import World

Log = Callable[[], list[dict[str, Any]]]
SESSIONS = Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30))
NO_TABLE = Table("nowhere", MetaData(), Column("id", Integer, primary_key=True), Column("at", Integer))
BROKEN = Rule(name="broken", timestamp=NO_TABLE.c.at)


def counts(summary: dict[str, Any]) -> tuple[int, int, int, int]:
    return summary["total"], summary["succeeded"], summary["failed"], summary["skipped"]


def test_sessions_go_that_were_idle_for_longer_than_thirty_days(world: World) -> None:
    add_sessions(world, 3, days=31)
    world.execute(insert(sessions).values(id="edge", user_id="u", created_at=1, updated_at=ago(days=30)))
    add_sessions(world, 2, days=29, prefix="young")
    assert counts(clean(world)) == (3, 3, 0, 0)
    assert ids_in(world, sessions) == ["edge", "young00000", "young00001"]


def test_tokens_go_when_they_have_expired(world: World) -> None:
    for id_, expires_at in (("expired", ago(seconds=1)), ("edge", ago()), ("valid", ago(hours=-1))):
        add_reset_token(world, id_, expires_at=expires_at)
        add_email_token(world, id_, expires_at=expires_at)
    assert counts(clean(world)) == (2, 2, 0, 0)
    assert ids_in(world, password_reset_tokens) == ids_in(world, email_verification_tokens) == ["edge", "valid"]


def test_unverified_users_are_deleted_with_their_dependents(world: World) -> None:
    unverified: dict[str, Any] = {"is_verified": False, "created_at": ago(days=8)}
    differing: dict[str, dict[str, Any]] = {
        "verified": {"is_verified": True},
        "admin": {"is_admin": True},
        "young": {"created_at": ago(days=7)},
    }
    (gone,) = world.add_users(1, prefix="gone", **unverified)
    kept = {name: world.add_users(1, prefix=name, **unverified | values)[0] for name, values in differing.items()}
    for prefix, user_id in {"gone": gone, **kept}.items():
        add_sessions(world, 2, days=0, user_id=user_id, prefix=prefix)
        add_email_token(world, prefix, expires_at=ago(days=-1), user_id=user_id)
        add_reset_token(world, prefix, expires_at=ago(days=-1), email=f"{prefix}0@example.com")
    assert counts(clean(world)) == (1, 1, 0, 0)
    assert ids_in(world, users) == sorted(kept.values())
    assert ids_in(world, sessions) == [f"{prefix}0000{n}" for prefix in sorted(kept) for n in (0, 1)]
    assert ids_in(world, email_verification_tokens) == ids_in(world, password_reset_tokens) == sorted(kept)


@pytest.mark.parametrize(
    ("table", "moment", "days", "values"),
    [
        (deliveries, "settled_at", 365, {"digest_day": "2014-01-01", "user_id": "{}", "status": "sent"}),
        (emails, "settled_at", 365, {"job_id": "{}", "status": "sent"}),
        (quarantine, "seen_at", 90, {"digest": "{}", "source": "s", "reason": "r", "data": "{{}}"}),
    ],
    ids=str,
)
def test_nightshifts_own_history_is_deleted(
    world: World, table: Table, moment: str, days: int, values: dict[str, str]
) -> None:
    for id_, age in (("old", days + 1), ("young", days - 1)):
        row = {name: value.format(id_) for name, value in values.items()} | {moment: ago(days=age)}
        world.execute(insert(table).values(row))
    assert counts(clean(world)) == (1, 1, 0, 0)
    assert [id_.rpartition("/")[2] for id_ in ids_in(world, table)] == ["young"]


def test_runs_go_after_a_year(world: World) -> None:
    row: dict[str, Any] = {"task": "t", "trigger": "schedule", "status": "succeeded", "attempt": 1, "failures": 0}
    row |= {"lease_until": 0, "request_id": "r"}
    for id_, days in (("old", 366), ("young", 364)):
        values = {"id": id_, "scheduled_for": ago(days=days), "started_at": ago(days=days), **row}
        world.execute(insert(runs).values(values))
    summary = clean(world)
    assert ids_in(world, runs) == sorted(["young", summary["run_id"]])


def test_age_is_measured_from_the_fire(world: World) -> None:
    add_sessions(world, 1, days=31, prefix="old")
    add_sessions(world, 1, days=29, prefix="young")
    add_reset_token(world, "valid", expires_at=ago(hours=-1))
    world.clock.advance(100 * 86_400)
    clean(world)
    assert ids_in(world, sessions) == ["young00000"]
    assert ids_in(world, password_reset_tokens) == ["valid"]


def test_the_same_fire_again_does_nothing(world: World) -> None:
    add_sessions(world, 1, days=31)
    clean(world)
    add_sessions(world, 1, days=31, prefix="late")
    assert clean(world)["outcome"] == "skipped"
    assert ids_in(world, sessions) == ["late00000"]


def test_summary_and_log_have_each_rule(world: World, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    use(monkeypatch, SESSIONS, Rule(name="tokens", timestamp=password_reset_tokens.c.expires_at))
    add_sessions(world, 2, days=31)
    summary = clean(world)
    nothing = {"total": 0, "succeeded": 0, "failed": 0, "skipped": 0}
    assert summary["rules"] == {"sessions": nothing | {"total": 2, "succeeded": 2}, "tokens": nothing}
    lines = [line for line in log() if line.get("message") == "rule done"]
    assert [(line["rule"], line["succeeded"]) for line in lines] == [("sessions", 2), ("tokens", 0)]


def test_failed_rule_does_not_stop_others(world: World, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    use(monkeypatch, BROKEN, SESSIONS)
    add_sessions(world, 2, days=31)
    with pytest.raises(RunFailedError, match=r"the rule broken failed: the database has no column nowhere\.at"):
        clean(world)
    assert ids_in(world, sessions) == []
    assert (world.run().status, world.run().succeeded) == ("failed", 2)
    (line,) = [line for line in log() if line.get("message") == "rule failed"]
    assert (line["level"], line["rule"], line["error_type"]) == ("ERROR", "broken", "ConfigurationError")


def test_retry_runs_failed_rules_only(world: World, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    use(monkeypatch, BROKEN, SESSIONS)
    add_sessions(world, 2, days=31)
    with pytest.raises(RunFailedError):
        clean(world, request_id="r1")
    use(monkeypatch, Rule(name="broken", timestamp=password_reset_tokens.c.expires_at), SESSIONS)
    add_reset_token(world, "expired", expires_at=ago(days=1))
    add_sessions(world, 1, days=31, prefix="late")
    assert counts(clean(world, request_id="r1")) == (3, 3, 0, 0)
    assert ids_in(world, password_reset_tokens) == []
    assert ids_in(world, sessions) == ["late00000"]


def test_rule_that_keeps_failing_makes_the_run_dead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, BROKEN)
    for outcome in ("failed", "failed", "dead"):
        with pytest.raises(RunFailedError, match=f"database_cleanup {outcome}"):
            clean(world, request_id="r1")


def test_a_dry_run_counts_by_rule_and_changes_nothing(world: World, log: Log) -> None:
    add_sessions(world, 3, days=31)
    add_sessions(world, 1, days=29, prefix="young")
    world.add_users(2, is_verified=False, created_at=ago(days=8))
    summary = clean(world, dry_run=True)
    assert (summary["outcome"], counts(summary)) == ("succeeded", (5, 0, 0, 5))
    told = {name: rule["skipped"] for name, rule in summary["rules"].items() if rule["total"]}
    assert told == {"sessions": 3, "unverified_users": 2}
    lines = [line for line in log() if line.get("message") == "rule done" and line["total"]]
    assert [(line["rule"], line["skipped"]) for line in lines] == [("sessions", 3), ("unverified_users", 2)]
    assert (len(ids_in(world, sessions)), len(ids_in(world, users)), ids_in(world, runs)) == (4, 2, [])
    assert counts(clean(world)) == (5, 5, 0, 0)


def test_run_can_be_limited_to_some_rules(world: World) -> None:
    add_sessions(world, 1, days=31)
    add_reset_token(world, "expired", expires_at=ago(days=1))
    summary = clean(world, rules=["password_reset_tokens"])
    assert list(summary["rules"]) == ["password_reset_tokens"]
    assert (len(ids_in(world, sessions)), ids_in(world, password_reset_tokens)) == (1, [])


@pytest.mark.parametrize("options", [{"rules": ["session"]}, {"rules": "sessions"}, {"uncapped": [3]}], ids=str)
def test_options_that_name_no_rules_are_refused_before_anything_is_deleted(world: World, options: Any) -> None:
    add_sessions(world, 1, days=31)
    with pytest.raises(RunFailedError, match="must be a list of rules: sessions, password_reset_tokens"):
        clean(world, **options)
    assert len(ids_in(world, sessions)) == 1


def test_run_near_deadline_is_completed_by_the_worker(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30), chunk=2))
    add_sessions(world, 5, days=31)
    # Time stands still, so an invocation shorter than the reserve is out of time from the beginning.
    assert clean(world, seconds=9)["continues"] is True
    assert len(ids_in(world, sessions)) == 5
    world.drain()
    assert ids_in(world, sessions) == []
    assert (world.run().status, world.run().total, world.run().succeeded) == ("succeeded", 5, 5)


def test_continued_run_keeps_its_position_and_options(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30), chunk=2, max_rows=3)
    use(monkeypatch, BROKEN, rule)
    add_sessions(world, 6, days=31)
    chunks = count(1)

    def take_time(*_: object) -> None:
        if next(chunks) == 2:
            world.clock.advance(295)

    monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.Throttle.adapt", take_time)
    assert clean(world, rules=["sessions"], uncapped=["sessions"])["continues"] is True
    assert ids_in(world, sessions) == ["s00004", "s00005"]
    add_sessions(world, 1, days=31, prefix="before")
    world.drain()
    assert ids_in(world, sessions) == ["before00000"]
    assert (world.run().status, world.run().succeeded) == ("succeeded", 6)


def test_killed_run_repeats_at_most_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30), chunk=2))
    add_sessions(world, 6, days=31)
    chunks = count(1)

    def take_a_second(_pace: object) -> None:
        world.clock.advance(1)
        if next(chunks) == 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("chalicelib.tasks.database_cleanup.throttle.Throttle.wait", take_a_second)
        with pytest.raises(Killed):
            clean(world, request_id="r1")
    assert ids_in(world, sessions) == ["s00004", "s00005"]
    add_sessions(world, 1, days=31, prefix="before")
    assert counts(clean(world, request_id="r1")) == (6, 6, 0, 0)
    assert ids_in(world, sessions) == ["before00000"]


def test_attempt_stops_when_another_claims_its_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SESSIONS, Rule(name="tokens", timestamp=password_reset_tokens.c.expires_at))
    add_sessions(world, 1, days=31)
    add_reset_token(world, "expired", expires_at=ago(days=1))

    def take_over(_pace: object) -> None:
        world.execute(update(runs).values(attempt=runs.c.attempt + 1))

    monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.Throttle.wait", take_over)
    summary = clean(world)
    assert (summary["outcome"], ids_in(world, password_reset_tokens)) == ("skipped", ["expired"])
    assert "was taken over from attempt 1 by a later one" in summary["reason"]
    assert world.run().status == "running"


def test_failure_before_a_continuation_is_reported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, BROKEN, SESSIONS)
    add_sessions(world, 1, days=31)
    assert clean(world, seconds=9)["continues"] is True
    world.drain()
    assert world.run().status == "failed"
    assert "the rule broken failed" in world.run().error
    assert ids_in(world, sessions) == []


def test_invalid_timestamp_is_kept_counted_and_logged_once(
    world: World, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    use(monkeypatch, Rule(name="tokens", timestamp=password_reset_tokens.c.expires_at, chunk=1))
    for n in range(3):
        add_reset_token(world, f"expired{n}", expires_at=ago(days=1))
    add_reset_token(world, "zero", expires_at=0)
    summary = clean(world)
    assert (summary["outcome"], counts(summary)) == ("succeeded", (4, 3, 1, 0))
    assert ids_in(world, password_reset_tokens) == ["zero"]
    (line,) = lines_of(log(), "ERROR")
    assert (line["message"], line["rule"], line["ids"]) == ("timestamps are invalid", "tokens", ["zero"])


def test_run_fails_when_most_timestamps_are_invalid(world: World) -> None:
    add_reset_token(world, "expired", expires_at=ago(days=1))
    for n in range(2):
        add_reset_token(world, f"zero{n}", expires_at=0)
    with pytest.raises(RunFailedError, match="2 of 3 items failed"):
        clean(world)


def test_a_user_who_verifies_just_before_the_chunk_stays_and_counts_as_skipped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = world.add_users(2, is_verified=False, created_at=ago(days=8))
    verified = update(users).where(users.c.id == ids[0]).values(is_verified=True)
    monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.Throttle.wait", lambda _: world.execute(verified))
    assert counts(clean(world, rules=["unverified_users"])) == (2, 1, 0, 1)
    assert ids_in(world, users) == [ids[0]]


@pytest.mark.parametrize(
    "mistake", [{"keep": timedelta(seconds=-1)}, {"chunk": 0}, {"max_rows": -1}, {"max_share": 1.1}], ids=str
)
def test_rule_with_invalid_limits_is_refused(mistake: Any) -> None:
    with pytest.raises(ConfigurationError, match="the rule tokens"):
        Rule(name="tokens", timestamp=password_reset_tokens.c.expires_at, **mistake)


def test_a_run_for_a_past_night_cleans_what_was_due_then(world: World) -> None:
    add_sessions(world, 1, days=31, prefix="recent")
    add_sessions(world, 1, days=91, prefix="ancient")
    clean(world, NIGHT - timedelta(days=60))
    assert ids_in(world, sessions) == ["recent00000"]
