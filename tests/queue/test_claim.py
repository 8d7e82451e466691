"""What the worker does about a message, decided from the row of its job, the clock and the attempts allowed."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.queue import claim
from chalicelib.queue.attempt import Action, JobAttempt
from chalicelib.queue.claim import EARLY_MS, Claim
from chalicelib.queue.job import OVER, TAKEN, WAITING, Status
from tests.sweep import examples

NOW = 1_772_452_800_000
LATER, EARLIER = NOW + 3_600_000, NOW - 3_600_000
CLAIM = Claim(by="r2", now_ms=NOW, lease_until=LATER + 1)
ATTEMPT = JobAttempt(
    job_id="j1", message_id="m1", receipt_handle="r", receives=1, sent_ms=NOW, body="", is_redriven=False
)
PERFORMS = {Action.PERFORM, Action.PERFORM_ALONE}


def row(status: Status = Status.PENDING, **values: Any) -> Any:
    """A row that is due, unclaimed, and has used no attempt."""
    standing: dict[str, Any] = {"attempts": 0, "due_at": 0, "expires_at": None, "slot_at": None, "lease_until": 0}
    return SimpleNamespace(
        **{"id": "j1", "type": "note", "status": status, "claimed_by": "r1", "last_error": None, **standing, **values}
    )


def decide(
    row: Any, *, max_attempts: int = 3, is_paused: bool = False, is_excused: bool = False, alone: bool = False
) -> JobAttempt:
    claimed = replace(CLAIM, alone=alone)
    return claim.decide(
        row, ATTEMPT, max_attempts=max_attempts, is_paused=is_paused, is_excused=is_excused, claim=claimed
    )


def test_due_job_is_performed() -> None:
    assert decide(row()).action is Action.PERFORM
    assert decide(row(Status.FAILED, attempts=1, due_at=EARLIER)).action is Action.PERFORM


@pytest.mark.parametrize("status", OVER)
def test_message_of_finished_job_is_acknowledged(status: Status) -> None:
    # Not even where everything else about it would ask for something.
    over = row(status, attempts=9, due_at=LATER, expires_at=EARLIER, lease_until=LATER)
    decided = decide(over, is_paused=True)
    assert (decided.action, decided.reason) == (Action.ACKNOWLEDGE, f"job j1 is {status}")


@pytest.mark.parametrize("status", TAKEN)
def test_job_under_live_lease_is_retried_later_and_reason_names_holder(status: Status) -> None:
    held = row(status, attempts=9, expires_at=EARLIER, lease_until=NOW + 1)
    decided = decide(held, is_paused=True, alone=True)
    assert decided.action is Action.RETRY_LATER
    assert decided.reason == "job j1 is held by r1 until 2026-03-02T12:00:00Z"


@pytest.mark.parametrize("status", TAKEN)
def test_claim_whose_answer_was_lost_keeps_its_attempt_number(
    status: Status,
) -> None:
    decided = decide(row(status, attempts=3, claimed_by=CLAIM.by, lease_until=CLAIM.lease_until))
    assert (decided.action, decided.number) == (Action.PERFORM, 3)


@pytest.mark.parametrize("status", TAKEN)
def test_earlier_claim_of_same_request_is_another_claim(status: Status) -> None:
    earlier = row(status, attempts=1, claimed_by=CLAIM.by, lease_until=CLAIM.lease_until - 1)
    assert decide(earlier).action is Action.RETRY_LATER


@pytest.mark.parametrize("status", TAKEN)
def test_lease_ends_at_its_time(status: Status) -> None:
    assert decide(row(status, attempts=1, lease_until=NOW), alone=True).action is Action.PERFORM


@pytest.mark.parametrize("status", WAITING)
def test_lease_of_waiting_job_is_ignored(status: Status) -> None:
    assert decide(row(status, lease_until=LATER)).action is Action.PERFORM


@pytest.mark.parametrize("status", [*WAITING, *TAKEN])
@pytest.mark.parametrize(("expires_at", "is_over"), [(NOW - 1, True), (NOW, True), (NOW + 1, False)])
def test_job_expires_at_its_time_unless_it_is_held(status: Status, expires_at: int, is_over: bool) -> None:
    # Before it would be given up, put off or waited for.
    decided = decide(row(status, attempts=3, due_at=LATER, expires_at=expires_at), is_paused=True)
    assert (decided.action is Action.EXPIRE) is is_over
    assert ("expired at" in decided.reason) is is_over


def test_job_whose_last_attempt_was_killed_is_given_up_even_while_paused() -> None:
    decided = decide(row(Status.PROCESSING, attempts=3, lease_until=EARLIER), is_paused=True)
    assert decided.action is Action.GIVE_UP
    assert decided.reason == "attempt 3 was the last: the process ended in the middle of it"


def test_job_without_attempts_left_is_given_up_with_last_error() -> None:
    decided = decide(row(Status.FAILED, attempts=3, last_error="ValueError: no"))
    assert (decided.action, decided.reason) == (Action.GIVE_UP, "attempt 3 was the last: ValueError: no")


def test_claim_together_with_others_does_not_count_as_attempt() -> None:
    # Of ten that were claimed together when their process ended, nine had perhaps not begun.
    decided = decide(row(Status.CLAIMED, attempts=3, lease_until=EARLIER))
    assert (decided.action, decided.number) == (Action.PERFORM_ALONE, 3)
    assert decide(row(Status.PROCESSING, attempts=2, lease_until=EARLIER)).number == 3


@pytest.mark.parametrize("status", TAKEN)
def test_job_of_killed_process_is_claimed_alone(status: Status) -> None:
    left = row(status, attempts=1, lease_until=EARLIER)
    assert decide(left).action is Action.PERFORM_ALONE
    assert decide(left, alone=True).action is Action.PERFORM


@pytest.mark.parametrize("max_attempts", [0, 1])
def test_job_with_one_attempt_is_performed_once(max_attempts: int) -> None:
    assert decide(row(), max_attempts=max_attempts, alone=True).action is Action.PERFORM
    again = row(Status.PROCESSING, attempts=1, lease_until=EARLIER)
    assert decide(again, max_attempts=max_attempts, alone=True).action is Action.GIVE_UP


def test_job_with_one_attempt_is_claimed_alone() -> None:
    assert decide(row(), max_attempts=1).action is Action.PERFORM_ALONE
    assert decide(row(), max_attempts=2).action is Action.PERFORM


@pytest.mark.parametrize("column", ["due_at", "slot_at"])
@pytest.mark.parametrize("status", WAITING)
def test_job_is_postponed_until_due_and_its_turn(status: Status, column: str) -> None:
    decided = decide(row(status, **{column: LATER}))
    assert (decided.action, decided.due_ms) == (Action.POSTPONE, LATER)
    assert decided.reason == "job j1 is not due before 2026-03-02T13:00:00Z"


def test_job_is_postponed_to_later_of_due_time_and_turn() -> None:
    decided = decide(row(due_at=NOW + 60_000, slot_at=LATER))
    assert (decided.due_ms, decided.slot_ms) == (LATER, LATER)
    assert decide(row(due_at=LATER, slot_at=NOW + 60_000)).due_ms == LATER


def test_message_within_a_second_of_its_time_is_performed() -> None:
    assert decide(row(due_at=NOW + EARLY_MS)).action is Action.PERFORM
    assert decide(row(due_at=NOW + EARLY_MS + 1)).action is Action.POSTPONE


def test_job_of_paused_type_is_postponed_and_due_at_resume() -> None:
    decided = decide(row(), is_paused=True)
    assert (decided.action, decided.due_ms) == (Action.POSTPONE, NOW)
    assert decided.reason == "jobs of type note are paused"


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
def test_only_free_and_due_jobs_with_attempts_left_are_performed(
    row: Any, max_attempts: int, is_paused: bool, alone: bool
) -> None:
    decided = decide(row, max_attempts=max_attempts, is_paused=is_paused, alone=alone)
    is_left = row.status in TAKEN
    is_held = is_left and row.lease_until > NOW
    is_expired = row.expires_at is not None and row.expires_at <= NOW
    assert (decided.action is Action.ACKNOWLEDGE) == (row.status in OVER)
    assert (decided.action is Action.RETRY_LATER) == is_held
    assert (decided.action is Action.EXPIRE) == (is_expired and row.status not in OVER and not is_held)
    if decided.action in PERFORMS | {Action.GIVE_UP}:
        counts = row.status != Status.CLAIMED
        assert decided.number == row.attempts + counts
        assert (decided.action is Action.GIVE_UP) == (row.attempts + counts > max(max_attempts, 1))
    if decided.action in PERFORMS:
        assert not is_paused
        assert is_left or max(row.due_at, row.slot_at or 0) <= NOW + EARLY_MS
        assert (decided.action is Action.PERFORM_ALONE) == (not alone and (is_left or max_attempts == 1))
    else:
        # Whatever is not taken says why, and what is put off says until when.
        assert decided.reason
    if decided.action is Action.POSTPONE:
        assert decided.due_ms >= NOW


@given(row=ROWS, max_attempts=st.integers(0, 4), is_paused=st.booleans(), alone=st.booleans())
@settings(max_examples=examples(50))
def test_same_row_at_same_time_gets_same_action(row: Any, max_attempts: int, is_paused: bool, alone: bool) -> None:
    before = dict(vars(row))
    first, second = (decide(row, max_attempts=max_attempts, is_paused=is_paused, alone=alone) for _ in range(2))
    assert first == second
    assert vars(row) == before
