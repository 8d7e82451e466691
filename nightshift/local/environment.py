"""The environment of functions that run locally, without the user's AWS configuration, and its database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine

REGION, ACCOUNT = "us-east-1", "123456789012"
QUEUE, PRIORITY_QUEUE, DEAD_LETTER_QUEUE = "nightshift-work", "nightshift-priority", "nightshift-dead-letters"
BUCKET = "nightshift-local"
SENDER = "digest@slow-harbour.example"


def isolated(base: Mapping[str, str]) -> dict[str, str]:
    """Return `base` with AWS credentials and settings that reach nothing, instead of the user's own."""
    kept = {name: value for name, value in base.items() if not name.upper().startswith(("AWS_", "BOTO"))}
    return kept | {
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        # A profile in the user's files could name another endpoint, or a command to run.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # Until an emulator runs, calls go to a port on which nothing can listen.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:0",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def local_environment(base: Mapping[str, str], *, endpoint: str, folder: Path) -> dict[str, str]:
    """Return the environment of functions that use the emulator at `endpoint`.

    Without DATABASE_URL in `base`, the database is an SQLite file in the folder.
    """
    return isolated(base) | {
        "AWS_ENDPOINT_URL": endpoint,
        "DATABASE_URL": base.get("DATABASE_URL") or f"sqlite:///{folder / 'nightshift.db'}",
        "WORK_QUEUE_NAME": QUEUE,
        "WORK_QUEUE_URL": f"{endpoint}/{ACCOUNT}/{QUEUE}",
        "PRIORITY_QUEUE_NAME": PRIORITY_QUEUE,
        "PRIORITY_QUEUE_URL": f"{endpoint}/{ACCOUNT}/{PRIORITY_QUEUE}",
        "BUCKET": BUCKET,
        "DEAD_LETTER_QUEUE_URL": f"{endpoint}/{ACCOUNT}/{DEAD_LETTER_QUEUE}",
        "MAIL_FROM": SENDER,
        "MAIL_RATE": "1000",
        "SITE_NAME": "Slow Harbour",
        "SITE_URL": "https://slow-harbour.example",
        "UNSUBSCRIBE_URL": "https://slow-harbour.example/unsubscribe",
        "UNSUBSCRIBE_SECRETS": "not a secret: for the local runtime only",
    }


def engine_of(environment: Mapping[str, str]) -> Engine:
    """Return the engine of DATABASE_URL, with DATABASE_CREDENTIALS and DATABASE_CA. Raises ConfigurationError."""
    from chalicelib.core.config import DatabaseSettings, Environment
    from chalicelib.core.engine import engine_for

    settings = Environment(environment).read(DatabaseSettings)
    return engine_for(settings.database_url, credentials=settings.database_credentials, ca=settings.database_ca)


def enter(environment: Mapping[str, str]) -> None:
    """Replace the environment of this process."""
    os.environ.clear()
    os.environ.update(environment)


@contextmanager
def changed(**variables: str) -> Iterator[None]:
    """Set variables of this process until the block ends."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        enter(before)
