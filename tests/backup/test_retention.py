"""Retention: what is kept has a reason, and what could not be had back is never removed."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.backup.archive.folder import UNFINISHED, BackupInfo
from chalicelib.backup.retention import RetentionDecision, decide
from chalicelib.backup.settings import Policy, read_policy
from tests.backup.archives import id_of

NOW = datetime(2026, 11, 25, 2, tzinfo=UTC)
POLICY = Policy(all=3, daily=5, weekly=3, monthly=4, yearly=2)
DAY = timedelta(days=1)


def made(moment: datetime, *, number: int = 0, finished: bool = True, verified: bool = True) -> BackupInfo:
    return BackupInfo(
        id=id_of(moment, number=number),
        finished_at=moment if finished else None,
        verified_at=moment if finished and verified else None,
        drilled_at=None,
        touched_at=moment,
        bytes=0,
    )


def daily(days: int, *, until: datetime = NOW, verified: bool = True) -> list[BackupInfo]:
    return [made(until - n * DAY, verified=verified) for n in range(days)]


def kept(backups: Iterable[BackupInfo], *, now: datetime = NOW, policy: Policy = POLICY) -> dict[str, tuple[str, ...]]:
    decisions = decide(list(backups), now=now, policy=policy)
    return {f"{d.backup.taken_at:%Y-%m-%d}": d.reasons for d in decisions if d.keep}


def ids(decisions: Iterable[RetentionDecision[BackupInfo]], *, keep: bool) -> set[str]:
    return {decision.backup.id for decision in decisions if decision.keep is keep}


def test_every_backup_is_decided_upon_with_all_its_reasons() -> None:
    policy = Policy(all=2, daily=3, weekly=2, monthly=2, yearly=2)
    assert kept(daily(700), policy=policy) == {
        "2026-11-25": (
            "the newest",
            "the newest that is verified",
            "of the last 2 days",
            "the last of the day 2026-11-25",
            "the last of the week 2026-W48",
            "the last of the month 2026-11",
            "the last of the year 2026",
        ),
        "2026-11-24": ("of the last 2 days", "the last of the day 2026-11-24"),
        "2026-11-23": ("the last of the day 2026-11-23",),
        "2026-11-22": ("the last of the week 2026-W47",),
        "2026-10-31": ("the last of the month 2026-10",),
        "2025-12-31": ("the last of the year 2025",),
    }
    decisions = decide(daily(700), now=NOW, policy=policy)
    assert len(decisions) == 700
    assert [d.backup.id for d in decisions] == sorted((d.backup.id for d in decisions), reverse=True)
    assert {d.reasons for d in decisions if not d.keep} == {("no rule keeps it",)}


def test_the_last_of_a_day_stands_for_it() -> None:
    hourly = [made(NOW - n * timedelta(hours=1)) for n in range(72)]
    decisions = decide(hourly, now=NOW, policy=Policy(all=0, daily=9, weekly=0, monthly=0, yearly=0))
    assert [f"{d.backup.taken_at:%dT%H}" for d in decisions if d.keep] == ["25T02", "24T23", "23T23", "22T23"]


def test_one_that_was_read_back_stands_for_its_day_rather_than_a_later_one_that_was_not() -> None:
    noon = NOW - 5 * DAY
    backups = [made(NOW), made(noon), made(noon + timedelta(hours=1), verified=False)]
    decisions = decide(backups, now=NOW, policy=Policy(all=0, daily=9, weekly=0, monthly=0, yearly=0))
    assert ids(decisions, keep=False) == {backups[2].id}


def test_days_without_a_backup_do_not_count() -> None:
    assert list(kept(made(NOW - n * 100 * DAY) for n in range(9))) == [
        *("2026-11-25", "2026-08-17", "2026-05-09", "2026-01-29", "2025-10-21")
    ]


def test_backups_that_fail_to_come_cost_none_that_is_there() -> None:
    backups = [made(NOW - n * timedelta(hours=6)) for n in range(400)]
    later = decide(backups, now=NOW + 1000 * DAY, policy=POLICY)
    assert ids(later, keep=True) == ids(decide(backups, now=NOW, policy=POLICY), keep=True)


def test_a_backup_from_the_future_does_not_make_the_others_old() -> None:
    policy = Policy(all=3, daily=0, weekly=0, monthly=0, yearly=0)
    future = made(NOW + 10_000 * DAY)
    assert list(kept([*daily(5), future], policy=policy))[1:] == ["2026-11-25", "2026-11-24", "2026-11-23"]


def test_the_newest_that_is_verified_stays_however_old_it_is() -> None:
    good = made(NOW - 900 * DAY)
    backups = [good, *daily(800, verified=False)]
    assert kept(backups)["2024-06-08"] == ("the newest that is verified",)


def test_nothing_goes_while_nothing_is_verified() -> None:
    assert all("none is verified" in reasons for reasons in kept(daily(400, verified=False)).values())
    assert len(kept(daily(400, verified=False))) == 400


def test_no_backups_need_no_decision() -> None:
    assert decide([], now=NOW, policy=POLICY) == []


@pytest.mark.parametrize(
    ("age", "keep", "reason"),
    [
        (timedelta(0), True, "unfinished, and perhaps under way"),
        (UNFINISHED, True, "unfinished, and perhaps under way"),
        (UNFINISHED + timedelta(seconds=1), False, "unfinished, and untouched for two days"),
    ],
)
def test_what_was_begun_only_goes_when_nothing_came_to_it_for_two_days(age: timedelta, keep: bool, reason: str) -> None:
    begun = replace(made(NOW - 9 * DAY, finished=False), touched_at=NOW - age)
    (decision,) = decide([begun], now=NOW, policy=POLICY)
    assert (decision.keep, decision.reasons) == (keep, (reason,))


def test_what_was_begun_only_counts_for_no_rule() -> None:
    backups = [made(NOW, finished=False), made(NOW - DAY)]
    assert kept(backups)["2026-11-24"][0] == "the newest"


FIRST = datetime(2019, 12, 1, tzinfo=UTC)
SECONDS_UNTIL_NOW = round((NOW - FIRST).total_seconds())


def moments(seconds: int) -> st.SearchStrategy[datetime]:
    return st.integers(0, seconds).map(lambda number: FIRST + timedelta(seconds=number))


SPARSE = st.lists(
    st.builds(
        made,
        moments(SECONDS_UNTIL_NOW),
        number=st.integers(0, 3),
        finished=st.booleans() | st.just(True),
        verified=st.booleans(),
    ),
    unique_by=lambda backup: backup.id,
    max_size=20,
)
BACKUPS = SPARSE | st.integers(0, 40).map(daily)
SMALL = st.integers(0, 6)
POLICIES = st.builds(Policy, all=SMALL, daily=SMALL, weekly=SMALL, monthly=SMALL, yearly=SMALL)
MOMENTS = moments(2 * SECONDS_UNTIL_NOW)


@given(backups=BACKUPS, policy=POLICIES, now=MOMENTS)
def test_the_newest_and_the_newest_verified_are_never_removed(
    backups: list[BackupInfo], policy: Policy, now: datetime
) -> None:
    removed = ids(decide(backups, now=now, policy=policy), keep=False)
    finished = sorted(backup.id for backup in backups if backup.finished_at)
    verified = sorted(backup.id for backup in backups if backup.verified_at)
    assert not removed & {*finished[-1:], *verified[-1:]}


@given(backups=BACKUPS, policy=POLICIES, now=MOMENTS)
def test_each_backup_has_one_decision_with_a_reason(backups: list[BackupInfo], policy: Policy, now: datetime) -> None:
    decisions = decide(backups, now=now, policy=policy)
    assert sorted(d.backup.id for d in decisions) == sorted(backup.id for backup in backups)
    assert all(decision.reasons for decision in decisions)


@given(backups=BACKUPS, policy=POLICIES, now=MOMENTS)
def test_what_was_kept_is_kept_again(backups: list[BackupInfo], policy: Policy, now: datetime) -> None:
    first = decide(backups, now=now, policy=policy)
    second = decide([d.backup for d in first if d.keep], now=now, policy=policy)
    assert second == [d for d in first if d.keep]


@given(backups=BACKUPS, policy=POLICIES, now=MOMENTS, more=POLICIES)
def test_a_policy_that_keeps_more_removes_nothing_that_another_keeps(
    backups: list[BackupInfo], policy: Policy, now: datetime, more: Policy
) -> None:
    larger = Policy(
        all=policy.all + more.all,
        daily=policy.daily + more.daily,
        weekly=policy.weekly + more.weekly,
        monthly=policy.monthly + more.monthly,
        yearly=policy.yearly + more.yearly,
    )
    smaller = ids(decide(backups, now=now, policy=policy), keep=True)
    assert smaller <= ids(decide(backups, now=now, policy=larger), keep=True)


@given(backups=BACKUPS, policy=POLICIES, now=MOMENTS, hours=st.integers(0, 100_000))
def test_what_is_removed_now_would_not_be_kept_later(
    backups: list[BackupInfo], policy: Policy, now: datetime, hours: int
) -> None:
    removed = ids(decide(backups, now=now, policy=policy), keep=False)
    assert removed <= ids(decide(backups, now=now + timedelta(hours=hours), policy=policy), keep=False)


@given(backups=BACKUPS, policy=POLICIES, now=MOMENTS, hours=st.integers(1, 10_000), verified=st.booleans())
def test_a_new_backup_brings_no_removed_one_back(
    backups: list[BackupInfo], policy: Policy, now: datetime, hours: int, verified: bool
) -> None:
    newest = max((backup.taken_at for backup in backups), default=NOW)
    new = made(newest + timedelta(hours=hours), verified=verified)
    removed = ids(decide(backups, now=now, policy=policy), keep=False)
    assert removed <= ids(decide([*backups, new], now=now, policy=policy), keep=False)


@given(backups=BACKUPS, policy=POLICIES, now=MOMENTS, data=st.data())
def test_the_order_of_the_list_does_not_matter(
    backups: list[BackupInfo], policy: Policy, now: datetime, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(backups))
    assert decide(shuffled, now=now, policy=policy) == decide(backups, now=now, policy=policy)


def test_a_policy_is_read_from_its_setting() -> None:
    assert read_policy("all=3 daily=5 weekly=3 monthly=4 yearly=2") == POLICY
    assert read_policy("  yearly=2 monthly=4\tweekly=3 daily=5 all=3 ") == POLICY


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "7",
            "all",
            "all=3",
            "all=3 daily=5 weekly=3 monthly=4",
            "all=3 daily=5 weekly=3 monthly=4 yearly=2 hourly=1",
        ),
        *("all=3 all=3 daily=5 weekly=3 monthly=4 yearly=2", "all=-3 daily=5 weekly=3 monthly=4 yearly=2"),
        *("all=0 daily=0 weekly=0 monthly=0 yearly=0", "all=1.5 daily=5 weekly=3 monthly=4 yearly=2"),
        *("all=3, daily=5, weekly=3, monthly=4, yearly=2", "all=³ daily=5 weekly=3 monthly=4 yearly=2"),
        "all=99999 daily=5 weekly=3 monthly=4 yearly=2",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\Amust give a number, not all zero, to each of all, daily, weekly"):
        read_policy(text)
