"""What each task would do at a moment, counted through a mapping that is not written yet.

The program reads application.py from standard input, in a process of its own: every other module imports it by name.
"""

import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

Line = tuple[str, str]


def count(text: str, *, at: datetime, environment: Mapping[str, str]) -> list[Line]:
    """Return each task and what it would do at a moment, with this application.py. Nothing is written."""
    done = subprocess.run(
        [sys.executable, "-m", "nightshift.adopt.preview", at.isoformat()],
        input=text,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"the mapping cannot be used: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return [(task, sentence) for task, sentence in json.loads(done.stdout.splitlines()[-1])]


def _count_all(at: datetime) -> Iterator[Line]:
    from chalicelib.core.clock import SystemClock
    from chalicelib.core.config import Environment
    from chalicelib.core.context import Context, client
    from chalicelib.core.errors import NightshiftError
    from chalicelib.core.telemetry import logger
    from nightshift.adopt.database import read_only
    from nightshift.local.environment import local_environment
    from nightshift.local.invocation import LocalContext

    logger.setLevel("CRITICAL")
    with tempfile.TemporaryDirectory() as folder:
        environment = local_environment(os.environ, endpoint="http://127.0.0.1:0", folder=Path(folder))
        # The user's own settings, such as DIGEST_ZONE, come first.
        settings = Environment(environment | {name: os.environ[name] for name in os.environ if name in environment})
    context = Context(LocalContext(function_name="adopt"), environment=settings, clock=SystemClock(), client=client)
    read_only(context.database.engine)
    for task, work in TASKS.items():
        try:
            yield task, work(context, at)
        except NightshiftError as error:
            yield task, f"{error}"


def _digest(context: Any, at: datetime) -> str:
    from chalicelib.application import posts, users
    from chalicelib.columns import is_absent
    from chalicelib.core.clock import SystemClock
    from chalicelib.core.mapping import require_mapping
    from chalicelib.mail.ledger import Deliveries
    from chalicelib.mail.settings import MailSettings
    from chalicelib.schedule.schedule import window_before
    from chalicelib.tasks.daily_digest import count_posts

    if is_absent(posts):
        return "is skipped: there is no table of posts"
    require_mapping(context.database.engine, users, posts)
    window = window_before(at, context.settings(MailSettings).digest_zone)
    found = context.database.autocommit(lambda connection: count_posts(connection, window))
    readers = Deliveries(context.database, SystemClock(), day=window.day.isoformat()).count_users()
    return f"{_many(found, 'post')} of {window.day} for {_many(readers, 'reader')}"


def _activity(context: Any, at: datetime) -> str:
    from chalicelib.application import sessions
    from chalicelib.columns import is_absent
    from chalicelib.core.clock import SystemClock
    from chalicelib.core.mapping import require_mapping
    from chalicelib.schedule.schedule import window_before
    from chalicelib.tasks.record_activity import ActivitySettings
    from chalicelib.tasks.record_activity import count as count_active

    if is_absent(sessions):
        return "is skipped: there is no table of sessions"
    require_mapping(context.database.engine, sessions)
    day = window_before(at, context.settings(ActivitySettings).digest_zone)
    return f"{_many(count_active(context.database, SystemClock(), day), 'active user')} on {day.day}"


def _report(context: Any, at: datetime) -> str:
    from chalicelib.application import posts, users
    from chalicelib.core.mapping import require_mapping
    from chalicelib.mail.settings import MailSettings
    from chalicelib.tasks.monthly_report import find_administrators
    from chalicelib.tasks.monthly_report.figures import count_created
    from chalicelib.tasks.monthly_report.month import Month

    require_mapping(context.database.engine, users, posts)
    zone = context.settings(MailSettings).digest_zone
    month = Month.ended_before(at, zone)

    def new(table: Any) -> int:
        found: int = context.database.autocommit(lambda each: count_created(each, table, month.window(zone)))
        return found

    mails = _many(len(find_administrators(context)), "administrator")
    return f"{_many(new(users), 'new user')} and {_many(new(posts), 'new post')} of {month}, mailed to {mails}"


def _cache(context: Any, at: datetime) -> str:
    from chalicelib.application import posts, sessions
    from chalicelib.core.mapping import require_mapping
    from chalicelib.tasks.cache_warming import compute

    require_mapping(context.database.engine, posts, sessions)
    values = context.database.autocommit(lambda connection: compute(connection, at=at))
    found = []
    if "popular_posts" in values:
        found.append(f"the {len(values['popular_posts'])} most viewed posts")
    if "active_users" in values:
        found.append(f"{_many(values['active_users'], 'user')} active within a day")
    return " and ".join(found)


def _cleanup(context: Any, at: datetime) -> str:
    from chalicelib.application import expiring
    from chalicelib.core.errors import NightshiftError
    from chalicelib.tasks.database_cleanup.deletion import count_due
    from chalicelib.tasks.database_cleanup.rules import RULES

    counted = []
    for rule in RULES:
        if rule.timestamp in expiring or rule.name == "unverified_users":
            try:
                counted.append(f"{count_due(context, rule, at=at, uncapped=False).skipped:,} of {rule.table.name}")
            except NightshiftError as error:
                counted.append(f"{rule.table.name}: {error}")
    return f"deletes {', '.join(counted)}" if counted else "deletes nothing of yours: no table of sessions or tokens"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


TASKS: Mapping[str, Callable[[Any, datetime], str]] = {
    "daily_digest": _digest,
    "record_activity": _activity,
    "monthly_report": _report,
    "cache_warming": _cache,
    "database_cleanup": _cleanup,
}


def main() -> None:
    """Put the mapping in the place of the written one, and print what the tasks would do."""
    module = types.ModuleType("chalicelib.application")
    sys.modules[module.__name__] = module
    exec(compile(sys.stdin.read(), "application.py", "exec"), module.__dict__)  # noqa: S102 (it was just generated)
    import chalicelib

    chalicelib.application = module
    print(json.dumps(list(_count_all(datetime.fromisoformat(sys.argv[1])))))  # noqa: T201


if __name__ == "__main__":
    main()
