"""The environment in which functions run locally: nothing of the user's AWS set-up gets in."""

import os
from collections.abc import Mapping
from pathlib import Path

REGION, ACCOUNT = "us-east-1", "123456789012"
QUEUE, DEAD_LETTER_QUEUE = "nightshift-work", "nightshift-dead-letters"
SENDER = "digest@slow-harbour.example"


def local_environment(base: Mapping[str, str], *, endpoint: str, folder: Path) -> dict[str, str]:
    """Return `base` with every AWS setting replaced, so that no call can leave this machine.

    DATABASE_URL and REDIS_URL are taken from `base` where it sets them; otherwise the database is an SQLite file
    in the folder, and there is no Redis.
    """
    kept = {name: value for name, value in base.items() if not name.upper().startswith(("AWS_", "BOTO"))}
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        # Not the user's: a profile in there could name another endpoint or a command to run.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "DATABASE_URL": base.get("DATABASE_URL") or f"sqlite:///{folder / 'nightshift.db'}",
        "WORK_QUEUE_NAME": QUEUE,
        "WORK_QUEUE_URL": f"{endpoint}/{ACCOUNT}/{QUEUE}",
        "DEAD_LETTER_QUEUE_URL": f"{endpoint}/{ACCOUNT}/{DEAD_LETTER_QUEUE}",
        "MAIL_FROM": SENDER,
        "MAIL_RATE": "1000",
        "SITE_NAME": "Slow Harbour",
        "SITE_URL": "https://slow-harbour.example",
        "UNSUBSCRIBE_URL": "https://slow-harbour.example/unsubscribe",
        "UNSUBSCRIBE_SECRETS": "not a secret: for the local runtime only",
    }
