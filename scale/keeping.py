"""What it costs to keep and to watch: backups, logs, metrics, alarms, secrets; and what the application has anyhow."""

from collections.abc import Iterator

from scale import prices
from scale.inputs import JOB_LINE, LAMBDA_LINES, METRICS_LINE
from scale.line import Line, line
from scale.running import FIRES
from scale.team import DAYS, HOURS, Team

# Of a backup a night, what BACKUP_KEEP keeps, and what the bucket keeps for 30 days more.
KEPT, REMOVED = 32, 30
# How well zstd compresses SQL, assumed; the GB of a part, and the requests to write one and to read it twice.
COMPRESSION, PART_GB, WRITES, READS = 4, 0.064, 4, 2
LOG_MONTHS, LOG_COMPRESSION = 12, 0.15
# Written every hour: seven of each of dispatch, watch, warming and sync, the fires missed of eight tasks, and two ages;
# where there are jobs, seven of each of four types. Those of four daily tasks are paid for an hour a day.
HOURLY, OF_JOBS, DAILY = 4 * 7 + 8 + 2, 4 * 7, 4 * 7
# tests/scale/test_cost.py counts both in the templates.
ALARMS, KEYS = 56, ("bucket", "alerts", "mail feedback")
GB = 1e9


def keep(team: Team) -> Iterator[Line]:
    """Yield the lines of a month."""
    size, parts = team.database_gb / COMPRESSION, team.database_gb / PART_GB
    of_copies = f"({KEPT} kept + {REMOVED} removed, for 30 days) × {team.database_gb:g} GB / {COMPRESSION}"
    yield line("S3", "backups", of_copies, (KEPT + REMOVED) * size, prices.S3_STORED)
    yield line("S3", "writes", f"{DAYS} × {parts:,.0f} × {WRITES}", DAYS * parts * WRITES, prices.S3_WRITES)
    yield line("S3", "reads", f"{DAYS} × {parts:,.0f} × {READS}", DAYS * parts * READS, prices.S3_READS)
    if team.has_exports:
        of_exports = f"{DAYS} × {team.database_gb:g} GB"
        yield line("RDS", "exports of snapshots", of_exports, DAYS * team.database_gb, prices.EXPORTED)
    jobs, invocations = DAYS * team.jobs, team.invocations + FIRES
    written = (jobs * JOB_LINE + invocations * (METRICS_LINE + LAMBDA_LINES)) / GB
    of_logs = f"{jobs:,} jobs × {JOB_LINE} B + {invocations:,.0f} invocations × {METRICS_LINE + LAMBDA_LINES} B"
    yield line("CloudWatch", "logs written", of_logs, written, prices.LOGS_WRITTEN)
    of_months = f"{LOG_MONTHS} months × {written:,.2f} GB × {LOG_COMPRESSION}"
    yield line("CloudWatch", "logs kept", of_months, LOG_MONTHS * written * LOG_COMPRESSION, prices.LOGS_STORED)
    hourly = HOURLY + OF_JOBS * (team.jobs > 0)
    of_metrics = f"{hourly} + {DAILY} × {DAYS} h / {HOURS} h"
    yield line("CloudWatch", "metrics", of_metrics, hourly + DAILY * DAYS / HOURS, prices.METRICS)
    yield line("CloudWatch", "alarms", "of one metric each", ALARMS, prices.ALARMS)
    yield line("CloudWatch", "dashboard", "one", 1, prices.DASHBOARDS)
    starts = DAYS * 24 * (10 + team.setting.maximum_concurrency)
    yield line("Secrets Manager", "secrets", "links, database, cache", 3, prices.SECRETS)
    of_starts = f"3 × {starts:,} starts, of each environment every hour"
    yield line("Secrets Manager", "calls", of_starts, 3 * starts, prices.SECRET_CALLS)
    yield line("KMS", "keys", ", ".join(KEYS), len(KEYS), prices.KEYS)


def have(team: Team) -> Iterator[Line]:
    """Yield the lines of what the application has anyhow, or Nightshift's `network` and `data` stacks make."""
    stored, hours = max(20, 1.5 * team.database_gb), f"{HOURS} h"
    yield line("VPC", "endpoints of SQS, secrets, mail", f"3 × 2 zones × {hours}", 6 * HOURS, prices.ENDPOINT_HOURS)
    yield line("VPC", "NAT, for sources outside", f"{hours}, and its traffic", HOURS, prices.NAT_HOURS)
    yield line("VPC", "NAT's public address", hours, HOURS, prices.ADDRESS_HOURS)
    yield line("RDS", "database, in one zone", hours, HOURS, team.database)
    yield line("RDS", "its storage", f"1.5 × {team.database_gb:g} GB, at least 20", stored, prices.DATABASE_STORED)
    yield line("ElastiCache", "cache", hours, HOURS, prices.CACHE_HOURS)
