"""A day's jobs under several settings."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from scale.arrivals import day
from scale.inputs import CONCURRENCY
from scale.outcome import Outcome
from scale.setting import CRAMPED, DEPLOYED, FIFTY, FORTY, MANY, MISSET, TEN, Setting
from scale.simulation import simulate
from scale.table import none, span, table
from scale.work import Work, mail, usual

SEED = 1
# Jobs a day, the seconds between lumps, and the batches that are reckoned as one: ages are as coarse as that.
GRAINS = {10_000: (1, 1), 1_000_000: (5, 5), 10_000_000: (20, 20)}
# A wait that nobody minds, and that the grain may have made.
SHORT = 300.0

DAYS: tuple[tuple[int, Work, Setting], ...] = (
    (10_000, usual(), DEPLOYED),
    (10_000, mail(), DEPLOYED),
    (1_000_000, usual(), DEPLOYED),
    (1_000_000, mail(), DEPLOYED),
    (1_000_000, mail(), TEN),
    (1_000_000, usual(), MISSET),
    (10_000_000, usual(), DEPLOYED),
    (10_000_000, usual(), FIFTY),
    (10_000_000, usual(), CRAMPED),
    (10_000_000, mail(), FIFTY),
    (10_000_000, mail(), FORTY),
)


@cache
def spend(jobs: int, work: Work, setting: Setting) -> Outcome:
    """Return what becomes of a day's jobs."""
    every, grain = GRAINS[jobs]
    return simulate(day(jobs, every=every, seed=SEED), work, setting, grain=grain)


def binding(outcome: Outcome, setting: Setting) -> str:
    """Return which limit binds first, as the settings call it."""
    if outcome.turned_away:
        return "connections" if setting.connections < setting.reserved_concurrency else "reserved_concurrency"
    if outcome.oldest < SHORT:
        return "nothing"
    return "maximum_concurrency" if outcome.binds == "workers" else outcome.binds


def tell_days() -> str:
    """Return the table of days."""
    heads = ("jobs a day", "what", "setting", "binds", "waiting", "oldest", "after midnight", "turned away", "given up")
    rows = []
    for jobs, work, setting in DAYS:
        outcome = spend(jobs, work, setting)
        rows.append(
            (
                f"{jobs:,}",
                work.name,
                setting.name,
                binding(outcome, setting),
                f"{outcome.most_waiting:,}",
                span(outcome.oldest),
                span(outcome.behind),
                none(outcome.turned_away),
                none(outcome.dead + outcome.expired),
            )
        )
    return table(heads, rows, texts=4)


def tell_settings() -> str:
    """Return the table of settings."""
    heads = ("setting", "maximum", "reserved", "connections left", "mails/s", "commits/s")
    rows = [
        (
            setting.name,
            f"{setting.maximum_concurrency}",
            f"{setting.reserved_concurrency}",
            f"{setting.connections:,}",
            f"{setting.mails_a_second:,.0f}",
            f"{setting.commits_a_second:,.0f}",
        )
        for setting in (DEPLOYED, MISSET, TEN, FIFTY, FORTY, CRAMPED, MANY)
    ]
    return table(heads, rows, texts=1)


def backlogs() -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield for three numbers of workers how many of ten million jobs wait, minute by minute."""
    for workers in (CONCURRENCY, 13, 25):
        setting = replace(FORTY, maximum_concurrency=workers, reserved_concurrency=workers)
        yield workers, spend(10_000_000, usual(), setting).backlog
