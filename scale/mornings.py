"""The digest of a morning under several settings."""

from dataclasses import dataclass
from functools import cache

from scale.arrivals import fan_out
from scale.days import binding
from scale.inputs import LISTED_A_SECOND, PRIORITY_CONCURRENCY
from scale.outcome import Outcome
from scale.setting import DEPLOYED, FIFTY, FORTY, MANY, TEN, Setting
from scale.simulation import simulate
from scale.table import none, span, table
from scale.work import PROCESSOR, Work, digest

# As chalicelib/tasks/daily_digest.py has it.
RECIPIENTS = 100
# As chalicelib/mail/ses.py has it, and SES.
MOST_A_CALL = 50


@dataclass(frozen=True, kw_only=True)
class Morning:
    """A digest to so many readers; without Redis each worker keeps to its share of SES's rate."""

    users: int
    setting: Setting
    has_redis: bool

    @property
    def work(self) -> Work:
        """What one mail takes: as many go in one call to SES as in one second, where it takes so many."""
        if self.has_redis:
            return digest(recipients=RECIPIENTS, mails_a_call=_calls_of(self.setting.mails_a_second))
        own = self.setting.mails_a_second / self._workers
        return digest(recipients=RECIPIENTS, mails_a_call=_calls_of(own), turn_seconds=1 / own)

    @property
    def _workers(self) -> int:
        # MAIL_WORKERS is the sum of both workers' concurrency.
        return self.setting.reserved_concurrency + PRIORITY_CONCURRENCY


MORNINGS = tuple(
    Morning(users=users, setting=setting, has_redis=has_redis)
    for users, setting, has_redis in (
        (1_000, DEPLOYED, True),
        (100_000, DEPLOYED, False),
        (100_000, DEPLOYED, True),
        (100_000, TEN, True),
        (1_000_000, DEPLOYED, True),
        (1_000_000, TEN, True),
        (1_000_000, FIFTY, True),
        (1_000_000, FORTY, True),
        (1_000_000, MANY, True),
    )
)


@cache
def send(morning: Morning) -> Outcome:
    """Return what becomes of a digest."""
    listed_a_second = LISTED_A_SECOND * PROCESSOR
    arrivals = fan_out(morning.users, a_second=listed_a_second, recipients=RECIPIENTS)
    return simulate(arrivals, morning.work, morning.setting)


def tell_mornings() -> str:
    """Return the table of digests."""
    heads = ("readers", "setting", "pace", "binds", "all sent after", "mails/s", "handed back", "dead letters")
    rows = []
    for morning in MORNINGS:
        outcome = send(morning)
        rows.append(
            (
                f"{morning.users:,}",
                morning.setting.name,
                "shared" if morning.has_redis else "each its own",
                binding(outcome, morning.setting) if morning.has_redis else "its own pace",
                span(outcome.ended) if outcome.done == outcome.arrived else "not all",
                f"{outcome.done / outcome.ended:,.0f}",
                none(outcome.handed_back),
                none(outcome.dead / RECIPIENTS),
            )
        )
    return table(heads, rows, texts=4)


def _calls_of(rate: float) -> int:
    return max(1, min(MOST_A_CALL, int(rate)))
