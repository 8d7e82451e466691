"""All that a task or a handler imports: `from chalicelib.api import Context, Counts, Run, task`.

A module is imported when a name of it is first used: a cold start imports no more than the file needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.core.context import Context as Context
    from chalicelib.core.errors import InvalidRequestError as InvalidRequestError
    from chalicelib.core.errors import OutOfTimeError as OutOfTimeError
    from chalicelib.core.errors import PermanentError as PermanentError
    from chalicelib.core.errors import Skipped as Skipped
    from chalicelib.core.errors import Snooze as Snooze
    from chalicelib.core.errors import TransientError as TransientError
    from chalicelib.core.outcome import Counts as Counts
    from chalicelib.core.telemetry import logger as logger
    from chalicelib.queue.application import application_job as application_job
    from chalicelib.queue.handler import Rate as Rate
    from chalicelib.queue.handler import handler as handler
    from chalicelib.queue.job import Job as Job
    from chalicelib.queue.outbox import enqueue as enqueue
    from chalicelib.queue.outbox import enqueue_many as enqueue_many
    from chalicelib.queue.outbox import transaction as transaction
    from chalicelib.runs.claims import Run as Run
    from chalicelib.runs.claims import save_checkpoint as save_checkpoint
    from chalicelib.runs.task import task as task

MODULES = {
    "core.context": ("Context",),
    "core.errors": ("InvalidRequestError", "OutOfTimeError", "PermanentError", "Skipped", "Snooze", "TransientError"),
    "core.outcome": ("Counts",),
    "core.telemetry": ("logger",),
    "queue.application": ("application_job",),
    "queue.handler": ("Rate", "handler"),
    "queue.job": ("Job",),
    "queue.outbox": ("enqueue", "enqueue_many", "transaction"),
    "runs.claims": ("Run", "save_checkpoint"),
    "runs.task": ("task",),
}


def __getattr__(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"chalicelib.{module}"), name)
    raise AttributeError(f"chalicelib.api has no {name}")
