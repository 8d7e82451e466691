"""What is done about a message, decided from its job's row, the clock and the policy alone."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.queue.job import OVER, TAKEN, WAITING, Status
from chalicelib.queue.verdict import EARLY_MS, Claim, Decision, Policy, Verdict, judge
from tests.sweep import examples

NOW = 1_772_452_800_000
LATER, EARLIER = NOW + 3_600_000, NOW - 3_600_000
CLAIM = Claim(by="r2", now_ms=NOW, lease_until=LATER + 1)
TAKES = {Verdict.TAKE, Verdict.TAKE_ALONE}


def row(status: Status = Status.PENDING, **values: Any) -> Any:
    """A row that is due, held by nobody, and has used no attempt."""
    standing: dict[str, Any] = {"attempts": 0, "due_at": 0, "expires_at": None, "slot_at": None, "lease_until": 0}
    return SimpleNamespace(
        **{"id": "j1", "type": "note", "status": status, "claimed_by": "r1", "last_error": None, **standing, **values}
    )


def decide(row: Any, *, max_attempts: int = 3, is_paused: bool = False, alone: bool = False) -> Decision:
    policy = Policy(max_attempts=max_attempts, interval_ms=None)
    return judge(row, policy=policy, is_paused=is_paused, claim=CLAIM, alone=alone)


def test_a_job_that_waits_and_is_due_is_taken() -> None:
    assert decide(row()).verdict is Verdict.TAKE
    assert decide(row(Status.FAILED, attempts=1, due_at=EARLIER)).verdict is Verdict.TAKE


@pytest.mark.parametrize("status", OVER)
def test_a_job_that_is_over_needs_nothing(status: Status) -> None:
    # Not even where everything else about it would ask for something.
    over = row(status, attempts=9, due_at=LATER, expires_at=EARLIER, lease_until=LATER)
    decision = decide(over, is_paused=True)
    assert (decision.verdict, decision.reason) == (Verdict.SETTLED, f"job j1 is {status}")


@pytest.mark.parametrize("status", TAKEN)
def test_a_job_under_a_live_lease_is_left_alone_and_the_reason_names_who_holds_it(status: Status) -> None:
    held = row(status, attempts=9, expires_at=EARLIER, lease_until=NOW + 1)
    decision = decide(held, is_paused=True, alone=True)
    assert decision.verdict is Verdict.HELD
    assert decision.reason == "job j1 is held by r1 until 2026-03-02T12:00:00Z"


@pytest.mark.parametrize("status", TAKEN)
def test_what_this_claim_holds_by_a_statement_whose_answer_was_lost_is_its_own_at_the_same_attempt(
    status: Status,
) -> None:
    decision = decide(row(status, attempts=3, claimed_by=CLAIM.by, lease_until=CLAIM.lease_until))
    assert (decision.verdict, decision.attempt) == (Verdict.TAKE, 3)


@pytest.mark.parametrize("status", TAKEN)
def test_an_earlier_claim_of_the_same_request_is_not_this_one(status: Status) -> None:
    earlier = row(status, attempts=1, claimed_by=CLAIM.by, lease_until=CLAIM.lease_until - 1)
    assert decide(earlier).verdict is Verdict.HELD


@pytest.mark.parametrize("status", TAKEN)
def test_a_lease_is_over_at_its_end(status: Status) -> None:
    assert decide(row(status, attempts=1, lease_until=NOW), alone=True).verdict is Verdict.TAKE


@pytest.mark.parametrize("status", WAITING)
def test_a_lease_that_outlived_its_claim_holds_nothing(status: Status) -> None:
    assert decide(row(status, lease_until=LATER)).verdict is Verdict.TAKE


@pytest.mark.parametrize("status", [*WAITING, *TAKEN])
@pytest.mark.parametrize(("expires_at", "is_over"), [(NOW - 1, True), (NOW, True), (NOW + 1, False)])
def test_a_job_expires_at_its_moment_unless_it_is_held(status: Status, expires_at: int, is_over: bool) -> None:
    # Before it would be given up, put off or waited for.
    decision = decide(row(status, attempts=3, due_at=LATER, expires_at=expires_at), is_paused=True)
    assert (decision.verdict is Verdict.EXPIRE) is is_over
    assert ("expired at" in decision.reason) is is_over


def test_a_job_whose_process_ended_in_its_last_attempt_is_given_up_even_while_its_type_is_paused() -> None:
    decision = decide(row(Status.PROCESSING, attempts=3, lease_until=EARLIER), is_paused=True)
    assert decision.verdict is Verdict.GIVE_UP
    assert decision.reason == "attempt 3 was the last: the process ended in the middle of it"


def test_a_job_that_failed_as_often_as_it_may_is_given_up_with_its_last_error() -> None:
    decision = decide(row(Status.FAILED, attempts=3, last_error="ValueError: no"))
    assert (decision.verdict, decision.reason) == (Verdict.GIVE_UP, "attempt 3 was the last: ValueError: no")


def test_a_claim_in_company_counts_for_no_attempt() -> None:
    # Of ten that were claimed together when their process ended, nine had perhaps not begun.
    decision = decide(row(Status.CLAIMED, attempts=3, lease_until=EARLIER))
    assert (decision.verdict, decision.attempt) == (Verdict.TAKE_ALONE, 3)
    assert decide(row(Status.PROCESSING, attempts=2, lease_until=EARLIER)).attempt == 3


@pytest.mark.parametrize("status", TAKEN)
def test_what_was_claimed_when_a_process_ended_is_taken_by_itself(status: Status) -> None:
    left = row(status, attempts=1, lease_until=EARLIER)
    assert decide(left).verdict is Verdict.TAKE_ALONE
    assert decide(left, alone=True).verdict is Verdict.TAKE


@pytest.mark.parametrize("max_attempts", [0, 1])
def test_what_may_be_tried_once_is_tried_once_and_not_never(max_attempts: int) -> None:
    assert decide(row(), max_attempts=max_attempts, alone=True).verdict is Verdict.TAKE
    again = row(Status.PROCESSING, attempts=1, lease_until=EARLIER)
    assert decide(again, max_attempts=max_attempts, alone=True).verdict is Verdict.GIVE_UP


def test_what_may_be_tried_once_is_taken_by_itself() -> None:
    assert decide(row(), max_attempts=1).verdict is Verdict.TAKE_ALONE
    assert decide(row(), max_attempts=2).verdict is Verdict.TAKE


@pytest.mark.parametrize("column", ["due_at", "slot_at"])
@pytest.mark.parametrize("status", WAITING)
def test_a_job_is_put_off_until_it_is_due_and_has_its_turn(status: Status, column: str) -> None:
    decision = decide(row(status, **{column: LATER}))
    assert (decision.verdict, decision.due_ms) == (Verdict.PUT_OFF, LATER)
    assert decision.reason == "job j1 is not due before 2026-03-02T13:00:00Z"


def test_the_later_of_due_time_and_turn_decides_and_the_turn_is_kept() -> None:
    decision = decide(row(due_at=NOW + 60_000, slot_at=LATER))
    assert (decision.due_ms, decision.slot_ms) == (LATER, LATER)
    assert decide(row(due_at=LATER, slot_at=NOW + 60_000)).due_ms == LATER


def test_a_message_that_comes_within_a_second_of_its_time_is_not_sent_back() -> None:
    assert decide(row(due_at=NOW + EARLY_MS)).verdict is Verdict.TAKE
    assert decide(row(due_at=NOW + EARLY_MS + 1)).verdict is Verdict.PUT_OFF


def test_a_job_of_a_paused_type_is_put_off_and_due_as_soon_as_its_type_is_resumed() -> None:
    decision = decide(row(), is_paused=True)
    assert (decision.verdict, decision.due_ms) == (Verdict.PUT_OFF, NOW)
    assert decision.reason == "jobs of type note are paused"


MOMENTS = st.sampled_from([0, EARLIER, NOW - 1, NOW, NOW + 1, NOW + EARLY_MS, NOW + EARLY_MS + 1, LATER])
ROWS = st.builds(
    row,
    status=st.sampled_from(Status),
    attempts=st.integers(0, 5),
    due_at=MOMENTS,
    slot_at=st.none() | MOMENTS,
    expires_at=st.none() | MOMENTS,
    lease_until=MOMENTS,
    last_error=st.none() | st.just("ValueError: no"),
)


@given(row=ROWS, max_attempts=st.integers(0, 4), is_paused=st.booleans(), alone=st.booleans())
@settings(max_examples=examples(400))
def test_whatever_a_row_says_only_what_is_free_due_and_has_attempts_left_is_taken(
    row: Any, max_attempts: int, is_paused: bool, alone: bool
) -> None:
    decision = decide(row, max_attempts=max_attempts, is_paused=is_paused, alone=alone)
    is_left = row.status in TAKEN
    is_held = is_left and row.lease_until > NOW
    is_expired = row.expires_at is not None and row.expires_at <= NOW
    assert (decision.verdict is Verdict.SETTLED) == (row.status in OVER)
    assert (decision.verdict is Verdict.HELD) == is_held
    assert (decision.verdict is Verdict.EXPIRE) == (is_expired and row.status not in OVER and not is_held)
    if decision.verdict in TAKES | {Verdict.GIVE_UP}:
        counts = row.status != Status.CLAIMED
        assert decision.attempt == row.attempts + counts
        assert (decision.verdict is Verdict.GIVE_UP) == (decision.attempt > max(max_attempts, 1))
    if decision.verdict in TAKES:
        assert not is_paused
        assert is_left or max(row.due_at, row.slot_at or 0) <= NOW + EARLY_MS
        assert (decision.verdict is Verdict.TAKE_ALONE) == (not alone and (is_left or max_attempts == 1))
    else:
        # Whatever is not taken says why, and what is put off says until when.
        assert decision.reason
    if decision.verdict is Verdict.PUT_OFF:
        assert decision.due_ms >= NOW


@given(row=ROWS, max_attempts=st.integers(0, 4), is_paused=st.booleans(), alone=st.booleans())
@settings(max_examples=examples(50))
def test_the_same_row_at_the_same_time_always_gets_the_same_verdict(
    row: Any, max_attempts: int, is_paused: bool, alone: bool
) -> None:
    before = dict(vars(row))
    first, second = (decide(row, max_attempts=max_attempts, is_paused=is_paused, alone=alone) for _ in range(2))
    assert first == second
    assert vars(row) == before
