"""The simulation does each job once, keeps to every limit, and ends when arithmetic says that it does."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale.arrivals import Lump, day
from scale.inputs import MOST_RECEIVES, RETENTION
from scale.invocation import Ended
from scale.outcome import Outcome
from scale.setting import Setting
from scale.simulation import simulate
from scale.work import Work
from tests.scale.worlds import LETTERS, MAILS, WORK, burst, setting
from tests.sweep import examples

LUMPS = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 60)), max_size=12).map(
    lambda pairs: [Lump(float(at), messages) for at, messages in sorted(pairs)]
)
WORKS = st.sampled_from([WORK, MAILS, LETTERS, replace(LETTERS, part=3), replace(WORK, start_seconds=2.0)])
SETTINGS = st.builds(
    setting,
    maximum_concurrency=st.integers(2, 12),
    reserved_concurrency=st.integers(1, 12),
    connections=st.integers(1, 12),
    mails_a_second=st.sampled_from([0.5, 3.0, 100.0]),
    commits_a_second=st.sampled_from([1e-6, 1e-3, 1.0]),
)


def told(lumps: list[Lump], work: Work, limits: Setting) -> tuple[Outcome, list[Ended]]:
    """Return the outcome and each invocation."""
    invocations: list[Ended] = []
    return simulate(lumps, work, limits, observe=invocations.append), invocations


@settings(max_examples=examples(150))
@given(LUMPS, WORKS, SETTINGS)
def test_each_unit_is_done_once_or_given_up_by_sqs(lumps: list[Lump], work: Work, limits: Setting) -> None:
    outcome, invocations = told(lumps, work, limits)
    assert outcome.arrived == sum(lump.messages for lump in lumps) * work.units
    assert outcome.done + outcome.dead + outcome.expired == outcome.arrived
    assert sum(each.units for each in invocations) == outcome.done
    assert len(invocations) == outcome.invocations


@settings(max_examples=examples(150))
@given(LUMPS, WORKS, SETTINGS)
def test_never_more_run_at_once_than_pollers_functions_and_connections(
    lumps: list[Lump], work: Work, limits: Setting
) -> None:
    outcome, invocations = told(lumps, work, limits)
    most = min(limits.maximum_concurrency, limits.reserved_concurrency, limits.connections)
    # At the same moment an end comes before a beginning.
    changes = sorted([(each.began, 1) for each in invocations] + [(each.ended, -1) for each in invocations])
    running = 0
    for _, change in changes:
        running += change
        assert running <= most
    assert outcome.most_running <= most


@settings(max_examples=examples(100))
@given(LUMPS, st.sampled_from([MAILS, LETTERS]), SETTINGS)
def test_never_more_mails_pass_than_ses_allows(lumps: list[Lump], work: Work, limits: Setting) -> None:
    _, invocations = told(lumps, work, limits)
    for first, last in product(invocations, repeat=2):
        within = [each for each in invocations if first.began <= each.began and each.ended <= last.ended]
        span = last.ended - first.began
        assert sum(each.units for each in within) <= limits.mails_a_second * max(0.0, span) + 1e-6


@settings(max_examples=examples(100))
@given(LUMPS, WORKS, SETTINGS)
def test_who_is_never_short_of_functions_and_connections_turns_nobody_away(
    lumps: list[Lump], work: Work, limits: Setting
) -> None:
    roomy = replace(limits, reserved_concurrency=limits.maximum_concurrency, connections=limits.maximum_concurrency)
    assert simulate(lumps, work, roomy).turned_away == 0


@settings(max_examples=examples(60))
@given(st.integers(1, 400), st.integers(2, 30))
def test_one_more_worker_never_makes_a_burst_last_longer(messages: int, workers: int) -> None:
    fewer = simulate(burst(messages), WORK, setting(maximum_concurrency=workers))
    more = simulate(burst(messages), WORK, setting(maximum_concurrency=workers + 1))
    assert more.ended <= fewer.ended


@pytest.mark.parametrize(("workers", "seconds"), [(2, 500), (5, 200), (10, 100)])
def test_a_burst_lasts_as_long_as_its_rounds(workers: int, seconds: float) -> None:
    outcome = simulate(burst(1000), WORK, setting(maximum_concurrency=workers))
    # A hundred batches of ten seconds; beyond five, the workers come one by one within the first second.
    assert outcome.ended == pytest.approx(seconds, abs=1)
    assert outcome.binds == "workers"
    assert outcome.billed == pytest.approx(1000)


def test_more_workers_help_until_ses_binds_and_then_no_more() -> None:
    took = [
        simulate(burst(3000), MAILS, setting(maximum_concurrency=workers, mails_a_second=8)) for workers in (4, 8, 40)
    ]
    assert took[0].ended == pytest.approx(3000 / 4, rel=0.02)
    assert took[0].binds == "workers"
    assert took[1].ended == pytest.approx(3000 / 8, rel=0.03)
    assert took[2].ended == pytest.approx(3000 / 8, rel=0.01)
    assert took[2].binds == "SES"
    # Who waits for SES is paid for all the same.
    assert took[2].billed > 4 * took[0].billed


def test_the_database_binds_where_its_commits_do_not_suffice() -> None:
    outcome = simulate(burst(1000), replace(WORK, commits=2.0), setting(maximum_concurrency=10, commits_a_second=4))
    assert outcome.ended == pytest.approx(500, rel=0.02)
    assert outcome.binds == "database"


def test_a_backlog_grows_by_what_arrives_beyond_what_is_done() -> None:
    # Five a second arrive for ten minutes, and two are done.
    outcome = simulate([Lump(float(at), 5) for at in range(600)], WORK, setting(maximum_concurrency=2))
    assert outcome.most_waiting == pytest.approx(600 * 3, rel=0.02)
    assert outcome.ended == pytest.approx(3000 / 2, rel=0.01)
    assert outcome.behind == pytest.approx(900, rel=0.02)
    assert outcome.oldest == pytest.approx(900, rel=0.03)
    assert max(outcome.backlog) == outcome.most_waiting


def test_workers_that_suffice_let_nobody_wait() -> None:
    outcome = simulate([Lump(10.0 * at, 10) for at in range(100)], WORK, setting(maximum_concurrency=2))
    assert outcome.oldest == 0
    assert outcome.most_waiting == 10


def test_five_pollers_begin_at_once_and_five_more_each_second() -> None:
    invocations: list[Ended] = []
    simulate(burst(2000), replace(WORK, seconds=20.0), setting(maximum_concurrency=100), observe=invocations.append)
    began = sorted(each.began for each in invocations)[:100]
    assert began[:5] == [0.0] * 5
    assert began[5:] == pytest.approx([0.2 * (n + 1) for n in range(95)])


def test_after_a_lull_there_are_five_again() -> None:
    invocations: list[Ended] = []
    lumps = [Lump(0.0, 400), Lump(1000.0, 400)]
    simulate(lumps, replace(WORK, seconds=20.0), setting(maximum_concurrency=100), observe=invocations.append)
    began = sorted(each.began for each in invocations)
    assert began[40:45] == [1000.0] * 5
    assert began[45:50] == pytest.approx([1000 + 0.2 * (n + 1) for n in range(5)])


def test_a_cold_start_is_paid_for_once_by_each_environment() -> None:
    cold = simulate(burst(100), replace(WORK, start_seconds=3.0), setting(maximum_concurrency=2))
    assert cold.billed == pytest.approx(100 + 2 * 3)


def test_what_finds_no_place_comes_back_and_is_a_dead_letter_at_its_tenth_delivery() -> None:
    short = setting(maximum_concurrency=5, reserved_concurrency=1)
    few = simulate(burst(50), WORK, short)
    # Of five batches four find no place, half an hour later three, and so on.
    assert few.turned_away == 40 + 30 + 20 + 10
    assert few.done == 50
    assert few.oldest >= 1800
    # For longer than ten times the visibility time-out the one place is taken.
    crowd = simulate([Lump(float(at), 2) for at in range(30_000)], WORK, short)
    assert crowd.dead > 0
    assert crowd.turned_away >= MOST_RECEIVES * crowd.dead


def test_no_invocation_goes_on_beyond_its_time_and_what_it_did_not_do_is_done_by_others() -> None:
    slow = setting(maximum_concurrency=5, mails_a_second=0.5)
    outcome, invocations = told(burst(40), replace(LETTERS, time=100.0), slow)
    assert outcome.done == 400
    assert outcome.handed_on > 0
    assert outcome.handed_back > 0
    # The last mail may have to wait for its turn.
    assert max(each.ended - each.began for each in invocations) <= 100 + 1
    assert outcome.ended == pytest.approx(400 / 0.5, rel=0.02)


def test_far_too_many_workers_for_ses_make_dead_letters() -> None:
    crowd = setting(maximum_concurrency=200, mails_a_second=1)
    outcome = simulate(burst(400), replace(LETTERS, time=100.0), crowd)
    assert outcome.dead > 0
    assert simulate(burst(400), replace(LETTERS, time=100.0), replace(crowd, maximum_concurrency=5)).dead == 0


def test_what_waits_longer_than_sqs_keeps_it_is_lost() -> None:
    outcome = simulate(burst(2000), MAILS, setting(mails_a_second=0.001))
    assert outcome.expired > 0
    assert outcome.oldest <= RETENTION
    assert outcome.done == pytest.approx(0.001 * RETENTION, abs=20)


def test_the_same_is_the_same_again() -> None:
    arrivals = day(5000, every=60, seed=3)
    first, second = (simulate(arrivals, WORK, setting(maximum_concurrency=2)) for _ in range(2))
    assert first == second


def test_batches_that_are_reckoned_together_tell_the_same_but_for_a_grain() -> None:
    arrivals = day(150_000, every=60, seed=2)
    fine, coarse = (simulate(arrivals, WORK, setting(maximum_concurrency=2), grain=grain) for grain in (1, 10))
    assert coarse.ended == pytest.approx(fine.ended, rel=0.01)
    assert coarse.most_waiting == pytest.approx(fine.most_waiting, rel=0.01)
    assert coarse.oldest == pytest.approx(fine.oldest, abs=200)
    assert coarse.billed == pytest.approx(fine.billed, rel=0.01)


def test_nothing_is_nothing() -> None:
    outcome = simulate([], WORK, setting())
    assert (outcome.arrived, outcome.done, outcome.ended, outcome.backlog) == (0, 0, 0, ())


def test_times_of_events_never_go_back() -> None:
    invocations: list[Ended] = []
    simulate(day(20_000, every=60, seed=5), WORK, setting(maximum_concurrency=9), observe=invocations.append)
    assert all(first.ended <= second.ended for first, second in pairwise(invocations))
