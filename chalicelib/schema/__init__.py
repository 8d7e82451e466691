"""Nightshift's own tables, as SQLAlchemy Core. Ids are char(36), times epoch milliseconds."""

from chalicelib.schema.backups import backups
from chalicelib.schema.guide import external_data, jobs
from chalicelib.schema.mail import deliveries, digests, emails, suppressions
from chalicelib.schema.reports import activity, activity_days, month_figures
from chalicelib.schema.runs import breakers, pauses, rate_slots, runs, schedules
from chalicelib.schema.sync import quarantine, sync_states

__all__ = [
    "activity",
    "activity_days",
    "backups",
    "breakers",
    "deliveries",
    "digests",
    "emails",
    "external_data",
    "jobs",
    "month_figures",
    "pauses",
    "quarantine",
    "rate_slots",
    "runs",
    "schedules",
    "suppressions",
    "sync_states",
]
