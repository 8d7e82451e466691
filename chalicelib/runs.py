"""The core: claim → start → call → classify → finish → report."""

from dataclasses import replace
from typing import Any

from chalicelib import claims, tasks
from chalicelib.attempts import Attempt, attempt
from chalicelib.claims import Run
from chalicelib.clock import iso
from chalicelib.context import Context
from chalicelib.errors import OutOfTimeError, RunFailedError, TooManyFailedError
from chalicelib.fire import Trigger, read_fire
from chalicelib.outcome import Counts
from chalicelib.queue.message import Message
from chalicelib.tasks import Task
from chalicelib.telemetry import bind, bound, logger, mask_addresses, report


def execute(name: str, *, event: object, context: Context, trigger: Trigger | None = None) -> dict[str, Any]:
    """Execute a task for the fire that the event asks for, at most once, and return its summary.

    `trigger` says who asked first, where the event is only handed on.

    Raises RunFailedError for a failed or dead run, so that Lambda's retries and alarms see it.
    """
    task = tasks.find(name)
    with bound(task=name, request_id=context.request_id):
        claimed = attempt(lambda: _claim(task, event, context, trigger), clock=context.clock, last=False)
        ended: Attempt[Any] = claimed
        if claimed.value is not None:
            ended = _execute(task, context, claimed.value)
            if ended.error is None and ended.value is None:
                return {"task": name, "run_id": claimed.value.id, "handed_on": True}
        summary = report("run", name, ended)
        if ended.outcome.is_failure:
            sentence = mask_addresses(f"{name} {ended.outcome}: {ended.error}")
            raise RunFailedError(sentence, outcome=ended.outcome) from ended.error
        return summary


def _claim(task: Task, event: object, context: Context, trigger: Trigger | None) -> Run:
    fire = read_fire(event, now_ms=context.clock.now_ms(), options=task.options)
    fire = replace(fire, trigger=trigger or fire.trigger)
    bind(scheduled_for=iso(fire.scheduled_for), trigger=fire.trigger, dry_run=fire.dry_run)
    run = claims.claim(context, task.name, fire, overlap=task.overlap)
    bind(run_id=run.id, attempt=run.attempt)
    return run


def _execute(task: Task, context: Context, run: Run) -> Attempt[Any]:
    logger.info("run started")
    last = run.failures + 1 >= task.max_attempts
    ended = attempt(lambda: _perform(task, context, run), clock=context.clock, last=last)
    if ended.error is None and ended.value is None:
        return ended
    finished = attempt(lambda: claims.finish(context, run, ended), clock=context.clock, last=last)
    # What is not recorded is not done: the next attempt takes up the checkpoint.
    return ended if finished.error is None else finished


def _perform(task: Task, context: Context, run: Run) -> Counts | None:
    try:
        counts = task.perform(context, run)
    except OutOfTimeError as rest:
        # Released before it is sent: whoever gets the message must find the run free.
        claims.release(context, run)
        context.queues.work.send([Message(type="continue_run", data=run.to_continue(task.name))])
        logger.info("run handed on", extra={"reason": str(rest)})
        return None
    if counts.failed > task.max_failed_share * counts.total:
        raise TooManyFailedError(counts, allowed_share=task.max_failed_share)
    return counts
