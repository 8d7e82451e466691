"""The safety cap: rather than emptying a table, a rule deletes nothing and the run fails with the reason."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from chalicelib.application import password_reset_tokens, sessions
from chalicelib.core.errors import RunFailedError
from chalicelib.tasks.database_cleanup.rules import Rule
from tests.tasks.database_cleanup.samples import (
    add_reset_token,
    add_sessions,
    add_things,
    ago,
    clean,
    ids_in,
    things,
    use,
)
from tests.world import World


def sessions_rule(**limits: Any) -> Rule:
    return Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30), **limits)


@pytest.fixture
def _small_is_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.tasks.database_cleanup.deletion.SMALL_TABLE", 10)


def test_more_than_half_of_a_table_does_not_go_and_the_run_says_so(world: World) -> None:
    add_sessions(world, 501, days=31)
    add_sessions(world, 500, days=1, prefix="young")
    add_reset_token(world, "expired", expires_at=ago(days=1))
    with pytest.raises(
        RunFailedError, match="sessions failed: 501 of 1001 rows are due and the rule allows 500, so no"
    ):
        clean(world)
    assert len(ids_in(world, sessions)) == 1001
    assert ids_in(world, password_reset_tokens) == []
    assert (world.run().total, world.run().succeeded, world.run().failed) == (502, 1, 501)


def test_half_of_a_table_goes(world: World) -> None:
    add_sessions(world, 501, days=31)
    add_sessions(world, 501, days=1, prefix="young")
    assert clean(world)["succeeded"] == 501


def test_a_table_of_a_thousand_rows_may_be_emptied(world: World) -> None:
    add_sessions(world, 1000, days=31)
    assert clean(world)["succeeded"] == 1000


@pytest.mark.usefixtures("_small_is_ten")
@pytest.mark.parametrize(
    ("limits", "is_allowed"),
    [
        ({"max_share": 0.9}, True),
        ({"max_share": 0.8}, False),
        ({"max_share": 1, "max_rows": 9}, True),
        ({"max_share": 1, "max_rows": 8}, False),
    ],
    ids=str,
)
def test_a_rule_may_have_limits_of_its_own(
    world: World, monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], is_allowed: bool
) -> None:
    use(monkeypatch, sessions_rule(**limits))
    add_sessions(world, 9, days=31)
    add_sessions(world, 2, days=1, prefix="young")
    if is_allowed:
        assert clean(world)["succeeded"] == 9
    else:
        with pytest.raises(RunFailedError, match="9 of 11 rows are due and the rule allows 8"):
            clean(world)
    assert len(ids_in(world, sessions)) == (2 if is_allowed else 11)


@pytest.mark.usefixtures("_small_is_ten")
def test_uncapped_lifts_a_rules_limit_for_one_run(world: World) -> None:
    add_sessions(world, 11, days=31)
    with pytest.raises(RunFailedError, match='invoke the task with "uncapped": \\["sessions"\\]'):
        clean(world)
    assert clean(world, uncapped=["sessions"])["succeeded"] == 11
    assert ids_in(world, sessions) == []


@pytest.mark.usefixtures("_small_is_ten")
def test_lifting_the_cap_of_one_rule_leaves_that_of_another(world: World) -> None:
    add_sessions(world, 11, days=31)
    with pytest.raises(RunFailedError, match="11 of 11 rows are due"):
        clean(world, uncapped=["unverified_users"])


@pytest.mark.usefixtures("_small_is_ten")
def test_a_dry_run_fails_where_the_run_would(world: World) -> None:
    add_sessions(world, 11, days=31)
    with pytest.raises(RunFailedError, match="11 of 11 rows are due"):
        clean(world, dry_run=True)
    assert clean(world, dry_run=True, uncapped=["sessions"])["skipped"] == 11


@pytest.mark.usefixtures("_small_is_ten")
def test_retry_counts_again_when_nothing_was_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, sessions_rule())
    add_sessions(world, 11, days=31)
    with pytest.raises(RunFailedError):
        clean(world, request_id="r1")
    use(monkeypatch, sessions_rule(max_share=1))
    assert clean(world, request_id="r1")["succeeded"] == 11


@pytest.mark.usefixtures("_small_is_ten")
def test_text_is_capped_as_numbers_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with things(world, "VARCHAR(64)") as table:
        use(monkeypatch, Rule(name="things", timestamp=table.c.moment))
        add_things(world, {f"{n:02}": "2016-08-03T00:00:00Z" for n in range(11)})
        with pytest.raises(RunFailedError, match="11 of 11 rows are due and the rule allows 5"):
            clean(world)
        assert len(ids_in(world, table)) == 11


@pytest.fixture
def _all_become_due(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have somebody make every session old after they were counted, before the first chunk."""
    everything = update(sessions).values(updated_at=ago(days=31))
    monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.Throttle.wait", lambda _: world.execute(everything))


@pytest.mark.usefixtures("_small_is_ten", "_all_become_due")
@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("is_archived", [False, True])
def test_rows_that_become_due_after_the_count_do_not_go_beyond_the_cap(
    world: World, monkeypatch: pytest.MonkeyPatch, chunk: int, is_archived: bool
) -> None:
    use(monkeypatch, sessions_rule(chunk=chunk, archive=is_archived))
    add_sessions(world, 2, days=31)
    add_sessions(world, 18, days=1, prefix="young")
    with pytest.raises(RunFailedError, match="more rows are due now than when they were counted"):
        clean(world, request_id="r1")
    # The repetition has no allowance of its own.
    with pytest.raises(RunFailedError, match=r"more rows are due now|20 of 20 rows are due"):
        clean(world, request_id="r1")
    left = len(ids_in(world, sessions))
    assert 10 <= left <= 20
    assert left == 10 or chunk > 1
    assert world.run().succeeded == 20 - left


@pytest.mark.usefixtures("_small_is_ten")
def test_rows_that_come_in_after_the_count_do_not_go_beyond_the_cap_however_many(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, sessions_rule(chunk=4))
    add_sessions(world, 4, days=31)
    add_sessions(world, 8, days=1, prefix="young")
    row = {"user_id": "u", "created_at": 1, "updated_at": ago(days=31)}
    rows = iter([[{"id": f"a{n:03}", **row} for n in range(100)]])

    def come_in(_pace: object) -> None:
        if batch := next(rows, None):
            world.execute(insert(sessions), batch)

    monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.Throttle.wait", come_in)
    with pytest.raises(RunFailedError, match="more rows are due now"):
        clean(world)
    assert len(ids_in(world, sessions)) == 112 - world.run().succeeded >= 106
