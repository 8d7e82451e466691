"""A process that invokes a function of app.py and kills itself, as hard as the kernel can, at a chosen moment.

python -m tests.runs.dying FUNCTION REQUEST_ID OPERATION NTH before|after < event.json

OPERATION is a call to AWS, such as sqs.SendMessageBatch, or commit.TABLE, of a transaction that has written to TABLE.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import boto3
from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

import app
from nightshift.local.invocation import LocalContext


def main(function: str, request_id: str, operation: str, nth: str, moment: str) -> None:
    calls = count(1)

    def die(**_: Any) -> None:
        if next(calls) == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    service, _, name = operation.partition(".")
    if service == "commit":
        die_at_commit_of(name, die, moment)
    else:
        boto3.setup_default_session()
        session: Any = boto3.DEFAULT_SESSION
        session.events.register(f"{moment}-call.{operation}", die)
    context = LocalContext(function_name=function, aws_request_id=request_id)
    getattr(app, function)(json.load(sys.stdin), context)


def die_at_commit_of(table: str, die: Callable[[], None], moment: str) -> None:
    commit: Callable[..., None] = DefaultDialect.do_commit
    has_begun = has_written = False

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal has_begun, has_written
        has_begun |= statement.startswith("BEGIN")
        if statement.startswith((f"INSERT INTO {table} ", f"UPDATE {table} ")):
            has_written = True
            # Outside a transaction, the statement itself commits.
            if moment == "before" and not has_begun:
                die()

    def do_commit(dialect: DefaultDialect, connection: object) -> None:
        nonlocal has_begun, has_written
        is_it, was_begun, has_begun, has_written = has_written, has_begun, False, False
        if is_it and was_begun and moment == "before":
            die()
        commit(dialect, connection)
        if is_it and moment == "after":
            die()

    event.listen(Engine, "before_cursor_execute", note)
    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
