"""What it costs to run: functions, queues, schedules and mails."""

from collections.abc import Iterator

from scale import prices
from scale.inputs import BATCH, CONCURRENCY, PRIORITY_CONCURRENCY, WORKER_MEMORY_MB
from scale.line import Line, line
from scale.mornings import RECIPIENTS, Morning, send
from scale.paths import FIRST_RATE, VERIFICATION
from scale.team import DAYS, Team
from scale.work import mail, usual

# A month's fires of what comes by the clock, and the seconds of each, which are assumed: dispatch, watch, sync,
# warming, and the daily and monthly tasks but for the backup.
CLOCK = ((43_200, 0.3), (8_640, 0.5), (2_880, 2.0), (1_440, 1.0), (125, 30.0))
FIRES = sum(fires for fires, _ in CLOCK) + DAYS
BACKUP_MB = 1769
# Of a run that only asks RDS: assumed.
ASKING = 30.0
# An idle poller asks for this long.
POLL = 20
GIB = 1024


def run(team: Team) -> Iterator[Line]:
    """Yield the lines of a month."""
    digest = send(Morning(users=team.users, setting=team.setting, has_redis=True))
    invocations = team.invocations + DAYS * digest.invocations + FIRES
    of_all = f"{DAYS} × ({team.jobs:,} jobs / {team.batch:g} + {digest.invocations:,} of the digest) + {FIRES:,} fires"
    yield line("Lambda", "requests", of_all, invocations, prices.LAMBDA_REQUESTS)
    gib, of_mails, others = WORKER_MEMORY_MB / GIB, mail().seconds, usual().seconds
    job = team.mail_share * of_mails + (1 - team.mail_share) * others
    of_jobs = f"{DAYS} × {team.jobs:,} × {1000 * job:.0f} ms × {gib:g} GB"
    yield line("Lambda", "jobs", of_jobs, DAYS * team.jobs * job * gib, prices.LAMBDA_SECONDS)
    of_digest = f"{DAYS} × {digest.billed:,.0f} s, waits for SES included, × {gib:g} GB"
    yield line("Lambda", "digest", of_digest, DAYS * digest.billed * gib, prices.LAMBDA_SECONDS)
    of_clock = f"({' + '.join(f'{fires:,} × {seconds:g} s' for fires, seconds in CLOCK)}) × {gib:g} GB"
    clock = sum(fires * seconds for fires, seconds in CLOCK)
    yield line("Lambda", "what comes by the clock", of_clock, clock * gib, prices.LAMBDA_SECONDS)
    backup = ASKING if team.has_exports else VERIFICATION * team.database_gb / FIRST_RATE
    of_backup = f"{DAYS} × {backup:,.0f} s × {BACKUP_MB / GIB:.2f} GB"
    yield line("Lambda", "backups", of_backup, DAYS * backup * BACKUP_MB / GIB, prices.LAMBDA_SECONDS)
    polls = (CONCURRENCY + PRIORITY_CONCURRENCY) * 86_400 / POLL
    digests = team.users / RECIPIENTS / BATCH
    of_queues = (
        f"{DAYS} × ({team.jobs:,} sent + 2 × {team.jobs / team.batch:,.0f} received and deleted "
        f"+ 3 × {digests:,.0f} of the digest + {polls:,.0f} in vain)"
    )
    requests = DAYS * (team.jobs + 3 * digests + polls) + 2 * team.invocations
    yield line("SQS", "requests", of_queues, requests, prices.SQS_REQUESTS)
    yield line("EventBridge", "scheduled rules", "not charged", FIRES, prices.SCHEDULED)
    of_ses = f"{DAYS} × ({team.users:,} digests + {team.mail_share:.0%} of {team.jobs:,} jobs)"
    yield line("SES", "mails", of_ses, DAYS * (team.users + team.mail_share * team.jobs), prices.MAILS)
