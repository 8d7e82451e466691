"""What the simulation and the costs are reckoned with: measured by `make bench`, set by us, or assumed, and which."""

from dataclasses import dataclass

from scale.measured import measured

# Set in .chalice/config.json, app.py and infra/queues.yaml; tests/scale/test_inputs.py holds them to these files.
CONCURRENCY = 5
PRIORITY_CONCURRENCY = 2
BATCH = 10
WORKER_MEMORY_MB = 512
WORKER_TIMEOUT = 300.0
TASK_TIMEOUT = 300.0
BACKUP_TIMEOUT = 900.0
CLEANUP_TIMEOUT = 900.0
DISPATCH_TIMEOUT = 60.0
VISIBILITY = 1800.0
MOST_RECEIVES = 10
RETENTION = 1_209_600.0

# Measured by `make bench`, as docs/speed.md shows it: seconds of a whole processor, of which a function has a share.
QUEUE_CPU = measured("queue", "Nightshift", "a job", table=1) * 1e-6
MAIL_CPU = measured("digest", None, "of our processor", table=3) * 1e-3
LISTED_A_SECOND = measured("digest", None, "readers")
READY_CPU = measured("cold_start", "work", "a cold start") * 1e-3
SYNC_CPU = measured("sync", "external_sync", "an item") * 1e-6
SWEPT_A_SECOND = measured("cleanup", "database_cleanup", "deleted") / measured("cleanup", "database_cleanup", "time")
REPORT_CPU, REPORT_USERS = measured("reports", "ours: the first report, each month counted", "time"), 50_000
ACTIVITY_CPU, ACTIVITY_USERS = measured("reports", "ours: one of these days", "time"), 50_000

# Octets of a job's line and of an invocation's metrics, as `make demo` writes them into its log.
JOB_LINE, METRICS_LINE = 486, 559

# Assumed, since nothing here measures them: they are AWS's, or your handler's.
ROUND_TRIP = 0.001
COMMIT = 0.005
SES_CALL = 0.040
SQS_CALL = 0.020
STARTING = 0.3
HANDLER = 0.100
# Octets of the three lines that Lambda itself writes of an invocation.
LAMBDA_LINES = 400
# How long a poller waits after it was turned away, which AWS does not say.
TURNED_AWAY_PAUSE = 30.0

# Lambda gives a function this part of a processor: all of one at 1,769 MB.
WHOLE_PROCESSOR_MB = 1769


def share(memory_mb: int) -> float:
    """Return how much of one processor a function of this memory has; what it does alone uses no second one."""
    return min(1.0, memory_mb / WHOLE_PROCESSOR_MB)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A figure, and where it comes from."""

    name: str
    value: str
    source: str


BENCH = "`make bench`"
ASSUMED = "assumed"

INPUTS = (
    Input(name="what the queue does for one job", value=f"{1000 * QUEUE_CPU:.2f} ms of a processor", source=BENCH),
    Input(name="one mail, but for SES's answer", value=f"{1000 * MAIL_CPU:.1f} ms of a processor", source=BENCH),
    Input(name="readers listed by the digest's run", value=f"{LISTED_A_SECOND:,.0f} a second", source=BENCH),
    Input(name="a worker's start", value=f"{1000 * READY_CPU:.0f} ms of a processor", source=BENCH),
    Input(name="an item of the sync", value=f"{1e6 * SYNC_CPU:.0f} µs of a processor", source=BENCH),
    Input(name="rows that the cleanup deletes", value=f"{SWEPT_A_SECOND:,.0f} a second", source=BENCH),
    Input(name="a report, of 50,000 users", value=f"{REPORT_CPU:.2f} s of a processor", source=BENCH),
    Input(name="a day's activity, of 50,000 users", value=f"{1000 * ACTIVITY_CPU:.0f} ms of a processor", source=BENCH),
    Input(
        name="processor of a worker",
        value=f"{share(WORKER_MEMORY_MB):.2f}, for {WORKER_MEMORY_MB} MB",
        source="config.json",
    ),
    Input(name="a job's line in the log", value=f"{JOB_LINE} B", source="`make demo`"),
    Input(name="an invocation's metrics there", value=f"{METRICS_LINE} B", source="`make demo`"),
    Input(name="Lambda's own lines of an invocation", value=f"{LAMBDA_LINES} B", source=ASSUMED),
    Input(name="a way to the database and back", value=f"{1000 * ROUND_TRIP:.0f} ms", source=ASSUMED),
    Input(name="a commit, with its way", value=f"{1000 * COMMIT:.0f} ms", source=ASSUMED),
    Input(name="SES's answer to a call", value=f"{1000 * SES_CALL:.0f} ms", source=ASSUMED),
    Input(name="SQS's answer to ten messages", value=f"{1000 * SQS_CALL:.0f} ms", source=ASSUMED),
    Input(name="what Lambda does before our code", value=f"{1000 * STARTING:.0f} ms", source=ASSUMED),
    Input(name="a usual handler's own work", value=f"{1000 * HANDLER:.0f} ms", source=ASSUMED),
    Input(name="a poller's pause after it was turned away", value=f"{TURNED_AWAY_PAUSE:.0f} s", source=ASSUMED),
)
