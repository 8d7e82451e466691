"""The actions of the page's buttons: the operator's own commands, with the settings of this shell."""

from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from chalicelib.operate.schedules import find
from nightshift.cli.output import message_of
from nightshift.cli.requests import ask, project_schedules

# A run that takes longer continues, and the page shows it.
PATIENCE_SECONDS = 3.0

Form = Mapping[str, str]
# Runs a task for a request, and returns the summary. Raises ValueError or NightshiftError.
Run = Callable[[str, Mapping[str, Any]], dict[str, Any]]


def perform(action: str, form: Form, *, run: Run) -> str:
    """Perform the action of a button, and return its result in one sentence. Raises KeyError for a missing field."""
    try:
        return ACTIONS[action](form, run)
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        return f"Not done: {message}"


def _retry(form: Form, _: Run) -> str:
    ask(None, "jobs.retry", ids=[form["id"]])
    return f"Job {form['id']} is retried."


def _forget(form: Form, _: Run) -> str:
    ask(None, "jobs.forget", ids=[form["id"]])
    return f"Job {form['id']} is deleted."


def _pause_task(form: Form, _: Run) -> str:
    return f"Paused {ask(None, 'schedule.pause', task=form['name'], reason=form['reason'])['paused']}."


def _pause_jobs(form: Form, _: Run) -> str:
    return f"Paused jobs of {ask(None, 'jobs.pause', type=form['name'], reason=form['reason'])['paused']}."


def _resume_task(form: Form, _: Run) -> str:
    return _resumed(form["name"], ask(None, "schedule.resume", task=form["name"]))


def _resume_jobs(form: Form, _: Run) -> str:
    return _resumed(form["name"], ask(None, "jobs.resume", type=form["name"]))


def _resumed(name: str, answer: Mapping[str, Any]) -> str:
    return f"Resumed {name}." if answer["resumed"] else f"{name} was not paused."


def _run(form: Form, run: Run) -> str:
    task, results = form["name"], SimpleQueue[dict[str, Any] | Exception]()
    # Only a task's name: any other would call some other function.
    find(task, project_schedules())

    def work() -> None:
        try:
            results.put(run(task, {}))
        except Exception as error:  # noqa: BLE001 (raised below, or visible in the log only)
            results.put(error)

    Thread(target=work, daemon=True).start()
    try:
        summary = results.get(timeout=PATIENCE_SECONDS)
    except Empty:
        return f"{task} is running."
    if isinstance(summary, Exception):
        raise summary
    return f"{task}: {summary.get('outcome', 'continues')}{', ' + summary['reason'] if 'reason' in summary else ''}."


ACTIONS: dict[str, Callable[[Form, Run], str]] = {
    "retry": _retry,
    "forget": _forget,
    "pause-task": _pause_task,
    "resume-task": _resume_task,
    "pause-jobs": _pause_jobs,
    "resume-jobs": _resume_jobs,
    "run": _run,
}
