"""The core: claim → start → call → classify → finish → report."""

from dataclasses import replace
from typing import Any

from chalicelib import tasks
from chalicelib.core.attempt import Attempt, attempt
from chalicelib.core.clock import iso
from chalicelib.core.context import Context
from chalicelib.core.database import is_server_fault
from chalicelib.core.errors import (
    InvalidRequestError,
    OutOfTimeError,
    PermanentError,
    RunFailedError,
    TransientError,
)
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.redaction import redact
from chalicelib.core.telemetry import Trace, bind, bound, carried, logger, report, trace_of
from chalicelib.queue.message import Message
from chalicelib.runs import claims, pings
from chalicelib.runs.claims import Run
from chalicelib.runs.fire import is_of_person, read_fire
from chalicelib.runs.pings import Ping, Signal
from chalicelib.runs.renewal import renewed
from chalicelib.tasks import Task

# What a run's end is to whoever waits for it: one that was not needed is as good, one that will be tried again no end.
SIGNALS: dict[Outcome, Signal] = {
    Outcome.SUCCEEDED: "success",
    Outcome.SKIPPED: "success",
    Outcome.DEAD: "fail",
}


def execute(name: str, *, event: object, context: Context) -> dict[str, Any]:
    """Execute a task for the fire that the event asks for, at most once, and return its summary.

    Raises RunFailedError for a failed or dead run, so that Lambda's retries and alarms see it.
    """
    task = tasks.find(name)
    with bound(task=name, request_id=context.request_id):
        claimed = attempt(lambda: _claim(task, event, context), clock=context.clock, last=False)
        ended: Attempt[Any] = claimed
        if claimed.value is not None:
            with carried(_trace_of(claimed.value, context)):
                ended = _execute(task, context, claimed.value)
            if ended.error is None and ended.value is None:
                return {"task": name, "run_id": claimed.value.id, "handed_on": True}
        # A person's slip is no run, and one that rang would do so until the next success.
        is_slip = is_of_person(event) and isinstance(claimed.error, InvalidRequestError)
        summary = report("run", name, ended, is_measured=not is_slip)
        if ended.outcome.is_failure:
            sentence = redact(f"{name} {ended.outcome}: {ended.error_message}")
            raise RunFailedError(sentence, outcome=ended.outcome) from ended.error
        return summary


def _claim(task: Task, event: object, context: Context) -> Run:
    fire = read_fire(event, now_ms=context.clock.now_ms(), options=task.options)
    bind(scheduled_for=iso(fire.scheduled_for), trigger=fire.trigger, dry_run=fire.dry_run)
    run = claims.claim(context, task.name, fire, overlap=task.overlap)
    bind(run_id=run.id, attempt=run.attempt, trace_id=_trace_of(run, context).id)
    return run


def _trace_of(run: Run, context: Context) -> Trace:
    # A dry run has no id.
    return trace_of(run.id or context.request_id)


def _execute(task: Task, context: Context, run: Run) -> Attempt[Any]:
    logger.info("run started")
    if run.attempt == 1:
        _ping(context, run, "start")
    performed = attempt(lambda: _perform(task, context, run), clock=context.clock, last=False)
    ended = _give_up(performed, task, run)
    if ended.error is None and ended.value is None:
        return ended
    finished = attempt(lambda: claims.finish(context, run, ended), clock=context.clock, last=False)
    if finished.error is not None:
        # What is not recorded is not done: the next attempt takes up the checkpoint.
        return _give_up(finished, task, run)
    if signal := SIGNALS.get(ended.outcome):
        _ping(
            context, run, signal, sentence=f"{task.name} {ended.outcome}: {ended.error_message}" if ended.error else ""
        )
    return ended


def _give_up(ended: Attempt[Any], task: Task, run: Run) -> Attempt[Any]:
    """Return the attempt as dead where its failure was one too many."""
    # Lambda repeats a fire after one and two minutes, so an outage of four minutes would use up three attempts. What
    # may pass has as many again, which the watch begins a quarter of an hour later.
    may_pass = isinstance(ended.error, TransientError) or is_server_fault(ended.error)
    most = 2 * task.max_attempts if may_pass else task.max_attempts
    is_given_up = ended.outcome is Outcome.FAILED and run.failures + 1 >= most
    return replace(ended, outcome=Outcome.DEAD) if is_given_up else ended


def _ping(context: Context, run: Run, signal: Signal, *, sentence: str = "") -> None:
    # A dry run has no id.
    if run.id is not None:
        ping = Ping(signal=signal, task=run.task, run_id=run.id, attempt=run.attempt, sentence=sentence)
        pings.send(context, ping)


def _perform(task: Task, context: Context, run: Run) -> Counts | None:
    try:
        with renewed(context, run):
            counts = task.perform(context, run)
    except OutOfTimeError as rest:
        if run.dry_run:
            # Whoever goes on with it would do it.
            raise PermanentError(f"a dry run is not handed on, and its time was up: {rest}") from rest
        # Released before it is sent: whoever gets the message must find the run free.
        claims.release(context, run)
        context.queues.work.send([Message(type="continue_run", data=run.to_continue(task.name))])
        logger.info("run handed on", extra={"reason": str(rest)})
        return None
    if counts.failed > task.max_failed_share * counts.total:
        allowed = f"the task allows {100 * task.max_failed_share:g}%"
        raise RunFailedError(f"{counts.failed} of {counts.total} items failed, and {allowed}", counts=counts)
    return counts
