"""What app.py asks for where a plain `chalice deploy` imports it: that it behaves as `nightshift deploy` does."""

import atexit
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import click
from botocore.exceptions import BotoCoreError, ClientError

from nightshift.deploy import functions, lock, package, record, session
from nightshift.deploy.refusal import refusal_of


def prepare() -> None:
    """Have Chalice go by what AWS has, ship compiled code and hold the stage's lock; for all else, do nothing.

    Ends the command with a sentence where somebody else deploys the stage, or AWS refuses.
    """
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "deploy":
        return
    stage, profile = context.params["stage"], context.params.get("profile")
    if profile:
        os.environ["AWS_PROFILE"] = profile
    try:
        _hold_lock(stage)
        functions.check_maker(session.client("lambda"), stage)
        resources = record.read(session.client, stage)
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(f"chalice deploy: {refusal_of(error)}") from None
    except ValueError as error:
        raise SystemExit(f"chalice deploy: {error}") from None
    if record.update(Path.cwd(), stage, resources):
        # Chalice has read its record already, so it begins once more, as the same process: the lock stays its own.
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606
    # What Python compiled beside the sources would count as sources, and so as another package than this one.
    sys.dont_write_bytecode = True
    package.build(Path.cwd())


def _hold_lock(stage: str) -> None:
    bucket = os.environ.get("BUCKET")
    if not bucket:
        raise ValueError(f"{stage} has no stacks yet, which the functions need: nightshift deploy --stage {stage}")
    held = ExitStack()
    held.enter_context(lock.held(session.client("s3"), bucket, stage=stage, who=session.place(stage).caller))
    atexit.register(held.close)
