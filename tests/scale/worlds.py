"""Kinds of work and settings whose ends can be reckoned by hand."""

from dataclasses import replace

from scale.arrivals import Lump
from scale.setting import Setting
from scale.work import Work

SETTING = Setting(
    name="ample",
    maximum_concurrency=2,
    reserved_concurrency=1000,
    connections=1000,
    mails_a_second=1e9,
    commits_a_second=1e9,
)
# A second a job, and nothing else.
WORK = Work(
    name="second",
    units=1,
    part=None,
    seconds=1.0,
    batch_seconds=0.0,
    start_seconds=0.0,
    mails=0.0,
    commits=1e-6,
    time=290.0,
)
MAILS = replace(WORK, name="mails", mails=1.0)
# Ten mails a message, one at a time.
LETTERS = replace(MAILS, name="letters", units=10, part=1)


def burst(messages: int, *, at: float = 0.0) -> list[Lump]:
    """Return messages that arrive all at once."""
    return [Lump(at, messages)]


def setting(**values: float) -> Setting:
    """Return an ample setting but for these values; who may run is as many as pollers there are, unless it says so."""
    return replace(SETTING, **values)  # type: ignore[arg-type]
