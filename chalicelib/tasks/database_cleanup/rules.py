"""What is cleaned up: the one place to add a rule. docs/database_cleanup.md shows how."""

from datetime import timedelta

from sqlalchemy import and_

from chalicelib.application import users
from chalicelib.schema import (
    deliveries,
    email_verification_tokens,
    emails,
    password_reset_tokens,
    quarantine,
    runs,
    sessions,
)
from chalicelib.tasks.database_cleanup.rule import Rule

YEAR = timedelta(days=365)

RULES: tuple[Rule, ...] = (
    Rule(name="sessions", moment=sessions.c.updated_at, keep=timedelta(days=30)),
    # Of tokens nearly all have expired, on any day.
    Rule(name="password_reset_tokens", moment=password_reset_tokens.c.expires_at, max_share=1),
    Rule(name="email_verification_tokens", moment=email_verification_tokens.c.expires_at, max_share=1),
    Rule(
        name="unverified_users",
        moment=users.c.created_at,
        keep=timedelta(days=7),
        where=and_(users.c.is_verified.is_(False), users.c.is_admin.is_(False)),
        dependents={
            sessions.c.user_id: users.c.id,
            email_verification_tokens.c.user_id: users.c.id,
            password_reset_tokens.c.email: users.c.email,
        },
    ),
    Rule(name="runs", moment=runs.c.started_at, keep=YEAR),
    Rule(name="deliveries", moment=deliveries.c.settled_at, keep=YEAR),
    Rule(name="emails", moment=emails.c.settled_at, keep=YEAR),
    Rule(name="quarantine", moment=quarantine.c.seen_at, keep=timedelta(days=90)),
)
