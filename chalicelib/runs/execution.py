"""Execute one run: claim it, call the task, record how that ended and report it."""

from dataclasses import replace
from typing import Any

from chalicelib.core.attempt import Attempt, attempt, report_or_raise
from chalicelib.core.clock import iso
from chalicelib.core.context import Context
from chalicelib.core.database import is_server_fault
from chalicelib.core.errors import InvalidRequestError, OutOfTimeError, PermanentError, RunFailedError, TransientError
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import Trace, bind, bound, carried, logger, trace_of
from chalicelib.queue.message import Message
from chalicelib.queue.services import queues
from chalicelib.runs import claims, pings
from chalicelib.runs.claims import Run
from chalicelib.runs.fire import is_from_person, read_fire
from chalicelib.runs.pings import Ping, Signal
from chalicelib.runs.task import Task, find_task

# A skipped run counts as done; one that will be retried has not ended.
SIGNALS: dict[Outcome, Signal] = {
    Outcome.SUCCEEDED: "success",
    Outcome.SKIPPED: "success",
    Outcome.DEAD: "fail",
}


def execute(name: str, *, event: object, context: Context) -> dict[str, Any]:
    """Execute a task for the fire that the event asks for, at most once, and return its summary.

    Raises RunFailedError for a failed or dead run, so that Lambda's retries and alarms see it, and ConfigurationError
    before anything is claimed.
    """
    task = find_task(name)
    if task.settings is not None:
        context.settings(task.settings)
    with bound(task=name, request_id=context.request_id):
        claimed = attempt(lambda: _claim(task, event, context), clock=context.clock, last=False)
        ended: Attempt[Any] = claimed
        if claimed.value is not None:
            with carried(_trace_of(claimed.value, context)):
                ended = _execute(task, context, claimed.value)
            if ended.error is None and ended.value is None:
                return {"task": name, "run_id": claimed.value.id, "continues": True}
        # A person's invalid request is not a failed run: its alarm would stay on until the next success.
        is_mistake = is_from_person(event) and isinstance(claimed.error, InvalidRequestError)
        return report_or_raise(name, ended, is_measured=not is_mistake)


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
    """Return how the attempt ended, without a value and an error if the run is to be continued."""
    logger.info("run started")
    if run.attempt == 1:
        _ping(context, run, "start")
    ended = _give_up(attempt(lambda: _perform(task, context, run), clock=context.clock, last=False), task, run)
    if ended.error is None and ended.value is None:
        return ended
    finished = attempt(lambda: claims.finish(context, run, ended), clock=context.clock, last=False)
    if finished.error is not None:
        # Work that is not recorded is not done: the next attempt continues from the checkpoint.
        return _give_up(finished, task, run)
    if signal := SIGNALS.get(ended.outcome):
        _ping(context, run, signal, ended)
    return ended


def _give_up(ended: Attempt[Any], task: Task, run: Run) -> Attempt[Any]:
    """Return the attempt, as dead if the run has no attempts left."""
    # Lambda repeats a fire after one and two minutes, so an outage of four minutes would use up three attempts. A
    # passing fault gets twice as many; the watch starts the others a quarter of an hour later.
    may_pass = isinstance(ended.error, TransientError) or is_server_fault(ended.error)
    most = 2 * task.max_attempts if may_pass else task.max_attempts
    is_given_up = ended.outcome is Outcome.FAILED and run.failures + 1 >= most
    return replace(ended, outcome=Outcome.DEAD) if is_given_up else ended


def _ping(context: Context, run: Run, signal: Signal, ended: Attempt[Any] | None = None) -> None:
    # A dry run has no id.
    if run.id is not None:
        sentence = f"{run.task} {ended.outcome}: {ended.error_message}" if ended and ended.error else ""
        pings.send(context, Ping(signal=signal, task=run.task, run_id=run.id, attempt=run.attempt, sentence=sentence))


def _perform(task: Task, context: Context, run: Run) -> Counts | None:
    """Call the task and return its counts, or None if the run is to be continued."""
    try:
        with claims.renewed(context, run):
            counts = task(context, run)
    except OutOfTimeError as rest:
        if run.dry_run:
            # The continuation would not be a dry run.
            raise PermanentError(f"a dry run is not continued, and its time is up: {rest}") from rest
        # Before sending: the message's receiver must be able to claim the run.
        claims.end_lease(context, run)
        queues(context).work.send([Message(type="continue_run", data=run.to_continue(task.name))])
        logger.info("run continues", extra={"reason": str(rest)})
        return None
    if counts.failed > task.max_failed_share * counts.total:
        allowed = f"the task allows {100 * task.max_failed_share:g}%"
        raise RunFailedError(f"{counts.failed} of {counts.total} items failed, and {allowed}", counts=counts)
    return counts
