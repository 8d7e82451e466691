"""Nightshift's own tables and the guide's, as SQLAlchemy Core. Ids are char(36), times epoch milliseconds."""

from chalicelib.application import posts, users
from chalicelib.schema.backups import backups
from chalicelib.schema.guide import email_verification_tokens, external_data, jobs, password_reset_tokens, sessions
from chalicelib.schema.mail import deliveries, digests, emails, suppressions
from chalicelib.schema.reports import activity, activity_days, month_figures
from chalicelib.schema.runs import pauses, rate_slots, runs, schedules
from chalicelib.schema.sync import quarantine, sync_states

GUIDE_TABLES = [users, posts, sessions, password_reset_tokens, email_verification_tokens, external_data, jobs]

__all__ = [
    "GUIDE_TABLES",
    "activity",
    "activity_days",
    "backups",
    "deliveries",
    "digests",
    "email_verification_tokens",
    "emails",
    "external_data",
    "jobs",
    "month_figures",
    "password_reset_tokens",
    "pauses",
    "quarantine",
    "rate_slots",
    "runs",
    "schedules",
    "sessions",
    "suppressions",
    "sync_states",
]
