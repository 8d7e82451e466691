"""Sizes of team, from none, as their months are reckoned."""

from dataclasses import dataclass

from scale import prices
from scale.prices import Price
from scale.setting import DEPLOYED, FORTY, TEN, Setting

DAYS, HOURS = 30, 730


@dataclass(frozen=True, kw_only=True)
class Team:
    """A day has a digest for each user, and `jobs` of which `mail_share` send a mail.

    An invocation does `batch` of them, fewer than ten where they come apart. `database` is the price of its machine.
    """

    name: str
    users: int
    jobs: int
    mail_share: float
    batch: float
    setting: Setting
    database_gb: float
    database: Price
    has_exports: bool

    @property
    def invocations(self) -> float:
        """Those of a month's jobs."""
        return DAYS * self.jobs / self.batch


IDLE = Team(
    name="idle",
    users=0,
    jobs=0,
    mail_share=0,
    batch=1,
    setting=DEPLOYED,
    database_gb=0.1,
    database=prices.MICRO_HOURS,
    has_exports=False,
)
SMALL = Team(
    name="small",
    users=1_000,
    jobs=10_000,
    mail_share=0.2,
    batch=1,
    setting=DEPLOYED,
    database_gb=2,
    database=prices.MICRO_HOURS,
    has_exports=False,
)
MEDIUM = Team(
    name="medium",
    users=50_000,
    jobs=500_000,
    mail_share=0.2,
    batch=2,
    setting=TEN,
    database_gb=4,
    database=prices.XLARGE_HOURS,
    has_exports=False,
)
LARGE = Team(
    name="large",
    users=1_000_000,
    jobs=10_000_000,
    mail_share=0.2,
    batch=5,
    setting=FORTY,
    database_gb=1000,
    database=prices.RAM_HOURS,
    has_exports=True,
)
