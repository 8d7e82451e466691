"""A deployment's limits: what app.py and config.json say, what SES and the database allow, and what AWS has fixed."""

from dataclasses import dataclass, replace

from scale.inputs import CONCURRENCY

# Lambda's pollers of a standard queue: five to begin with, 300 more a minute while messages wait.
FIRST_POLLERS = 5
POLLERS_A_SECOND = 300 / 60
# What `maximum_concurrency` may be; without it, the mapping goes further.
LARGEST_MAXIMUM = 1000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`connections` are those that the database has left for workers; each environment keeps one."""

    name: str
    maximum_concurrency: int
    reserved_concurrency: int
    connections: int
    mails_a_second: float
    commits_a_second: float

    def __post_init__(self) -> None:
        if not 2 <= self.maximum_concurrency <= LARGEST_MAXIMUM:
            raise ValueError(f"maximum_concurrency must be 2 to {LARGEST_MAXIMUM}, as AWS has it")
        if min(self.reserved_concurrency, self.connections) < 1:
            raise ValueError("reserved_concurrency and connections must be at least 1, or nothing is ever done")
        if min(self.mails_a_second, self.commits_a_second) <= 0:
            raise ValueError("mails_a_second and commits_a_second must be greater than zero")

    @property
    def door(self) -> int:
        """How many invocations at once find a function and a connection; those beyond are turned away."""
        return min(self.reserved_concurrency, self.connections)


# db.t4g.micro has 1 GiB, and RDS gives MySQL a connection for each 12,582,880 bytes of it.
OCTETS_A_CONNECTION = 12_582_880
# Of gp3 below 400 GiB and from there on; a commit is at least a write of the redo log and one of the binary log.
SMALL_IOPS, LARGE_IOPS = 3_000, 12_000
WRITES_A_COMMIT = 2
# What the other functions may hold when all run at once, and what the application is left with.
OTHER_CONNECTIONS = 20


def connections_of(memory_gib: float) -> int:
    """Return how many connections RDS gives MySQL by default on a machine of this memory, at most."""
    return int(memory_gib * 2**30 / OCTETS_A_CONNECTION)


SMALL_COMMITS = SMALL_IOPS / WRITES_A_COMMIT
LARGE_COMMITS = LARGE_IOPS / WRITES_A_COMMIT

DEPLOYED = Setting(
    name="as deployed",
    maximum_concurrency=CONCURRENCY,
    reserved_concurrency=CONCURRENCY,
    connections=connections_of(1) - OTHER_CONNECTIONS,
    mails_a_second=14,
    commits_a_second=SMALL_COMMITS,
)
MISSET = replace(DEPLOYED, name="maximum 50, reserved 5", maximum_concurrency=50)
TEN = replace(
    DEPLOYED, name="10 workers, 100 mails/s", maximum_concurrency=10, reserved_concurrency=10, mails_a_second=100
)
FIFTY = replace(TEN, name="50 workers, 100 mails/s", maximum_concurrency=50, reserved_concurrency=50)
FORTY = Setting(
    name="40 workers, 500 mails/s",
    maximum_concurrency=40,
    reserved_concurrency=40,
    connections=connections_of(32) - OTHER_CONNECTIONS,
    mails_a_second=500,
    commits_a_second=LARGE_COMMITS,
)
MANY = replace(
    FORTY, name="200 workers, 14 mails/s", maximum_concurrency=200, reserved_concurrency=200, mails_a_second=14
)
CRAMPED = replace(
    MANY,
    name="200 workers, smallest database",
    connections=DEPLOYED.connections,
    commits_a_second=DEPLOYED.commits_a_second,
)
