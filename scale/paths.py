"""On paper: what limits each path for a million users, ten million jobs a day and a database of a terabyte."""

from scale import inputs
from scale.arrivals import DAY, PEAK
from scale.bound import Bound, ordered
from scale.inputs import BATCH, COMMIT, ROUND_TRIP, SQS_CALL
from scale.setting import DEPLOYED, LARGEST_MAXIMUM, OTHER_CONNECTIONS
from scale.work import PROCESSOR, RESERVE, digest, usual

USERS, JOBS, DATABASE_GB = 1_000_000, 10_000_000, 1000
# In which a digest is to be sent.
HOUR = 3600.0
# As chalicelib/backup/backups.py has them: GB of text a second before anything was measured, and with reading it back.
FIRST_RATE, VERIFICATION = 0.010, 2.0
# As chalicelib/tasks/database_cleanup/rules.py and chalicelib/tasks/external_sync/sources.py have them.
MAX_ROWS, MAX_PAGES, MAX_OCTETS = 1_000_000, 10_000, 512 << 20
# An item as JSON, and how many a page has: assumed, as that a source lists as much as there are users.
ITEM_OCTETS, ITEMS_A_PAGE = 1000, 100
# AWS's, of one account in one region: Lambda keeps a hundred of its thousand for functions without a reservation.
RESERVABLE, IN_FLIGHT, RULES = 900, 120_000, 300
SCHEDULES = 10

PER_SECOND = PEAK * JOBS / DAY
MAIL, JOB = digest(recipients=1, mails_a_call=int(DEPLOYED.mails_a_second)), usual()
TASK, BACKUP, CLEANUP = (
    seconds - RESERVE for seconds in (inputs.TASK_TIMEOUT, inputs.BACKUP_TIMEOUT, inputs.CLEANUP_TIMEOUT)
)


def bounds() -> tuple[Bound, ...]:
    """Return the limits of all paths."""
    rows = (*_mails(), *_jobs(), *_copies(), *_tasks(), *_account())
    return ordered(
        [
            Bound(path=path, limit=limit, allows=allows, needs=needs, unit=unit, change=change)
            for path, limit, allows, needs, unit, change in rows
        ]
    )


Row = tuple[str, str, float, float, str, str]


def _mails() -> tuple[Row, ...]:
    rate, listed = USERS / HOUR, inputs.LISTED_A_SECOND * PROCESSOR * TASK
    workers = "`maximum_concurrency`, `reserved_concurrency`, `MAIL_WORKERS`"
    return (
        ("digest", "SES's send rate", DEPLOYED.mails_a_second, rate, "mails/s, all in an hour", "ask SES"),
        ("digest", "workers at once", DEPLOYED.maximum_concurrency / MAIL.seconds, rate, "mails/s", workers),
        ("digest", "commits", DEPLOYED.commits_a_second / MAIL.commits, rate, "mails/s", "`DatabaseStorageGiB`"),
        ("digest", "time-out, then handed on", listed, USERS, "readers listed by a run", "`lambda_memory_size`"),
    )


def _jobs() -> tuple[Row, ...]:
    running, most = PER_SECOND * JOB.seconds, LARGEST_MAXIMUM / JOB.seconds
    # Dispatch locks ten rows, sends them and marks each, in one transaction; it runs once a minute, one at a time.
    sending = BATCH / (SQS_CALL + 2 * COMMIT + BATCH * ROUND_TRIP) * (inputs.DISPATCH_TIMEOUT - RESERVE) / 60
    workers = "`maximum_concurrency` in `app.py`, `reserved_concurrency`"
    return (
        ("queue", "workers at once", DEPLOYED.maximum_concurrency / JOB.seconds, PER_SECOND, "jobs/s", workers),
        ("queue", "connections", DEPLOYED.connections, running, "workers at once", "`DatabaseInstanceClass`"),
        ("queue", "commits", DEPLOYED.commits_a_second / JOB.commits, PER_SECOND, "jobs/s", "`DatabaseStorageGiB`"),
        ("queue", "`maximum_concurrency`, at its most", most, PER_SECOND, "jobs/s", "faster handlers"),
        ("queue", "messages in flight", IN_FLIGHT, BATCH * running, "messages", "ask SQS"),
        ("dispatch", "a run a minute", sending, PER_SECOND, "rows/s", "`transaction()` or SQS, not rows"),
    )


def _copies() -> tuple[Row, ...]:
    dumped, read = BACKUP * FIRST_RATE / VERIFICATION, BACKUP * FIRST_RATE
    memory, near = "`lambda_memory_size`, `BACKUP_SCHEMA_ONLY`, then `BACKUP_RDS`", "a machine near it; RDS"
    return (
        ("backup", "its estimate, at 10 MB/s", dumped, DATABASE_GB, "GB", memory),
        ("backup", "the same, at 100 MB/s", 10 * dumped, DATABASE_GB, "GB", "`BACKUP_RDS`"),
        ("restore, drill", "read whole in one run, at 100 MB/s", 10 * read, DATABASE_GB, "GB", near),
    )


def _tasks() -> tuple[Row, ...]:
    rule, later = "`max_rows` in `cleanup/rules.py`", "`lambda_memory_size`"
    swept, synced = inputs.SWEPT_A_SECOND * CLEANUP, TASK * PROCESSOR / inputs.SYNC_CPU
    counted = TASK * PROCESSOR * inputs.REPORT_USERS / inputs.REPORT_CPU
    recorded = TASK * PROCESSOR * inputs.ACTIVITY_USERS / inputs.ACTIVITY_CPU
    source, pages = "`max_bytes` of the source, or pages", MAX_PAGES * ITEMS_A_PAGE
    return (
        ("cleanup", "`max_rows`, if all jobs are mails", MAX_ROWS, JOBS, "rows of `emails` a night", rule),
        ("cleanup", "`max_rows`", MAX_ROWS, USERS, "rows of `deliveries` a night", rule),
        ("cleanup", "time-out, then handed on", swept, JOBS, "rows a run", "`lambda_timeout`"),
        ("sync", "`max_bytes`", MAX_OCTETS / ITEM_OCTETS, USERS, "items of 1 kB in an answer", source),
        ("sync", "`max_pages`", pages, USERS, "items, 100 a page", "`max_pages` of the source"),
        ("sync", "time-out, then handed on", synced, USERS, "new items a run", later),
        ("report", "time-out", counted, USERS, "users, twelve months at once", later),
        ("report", "time-out of `record_activity`", recorded, USERS, "users", later),
    )


def _account() -> tuple[Row, ...]:
    running = PER_SECOND * JOB.seconds + OTHER_CONNECTIONS
    return (
        ("account", "Lambda's concurrency", RESERVABLE, running, "reserved at once", "ask Lambda"),
        ("account", "EventBridge's rules", RULES, SCHEDULES, "rules of a stage", "ask EventBridge"),
    )
