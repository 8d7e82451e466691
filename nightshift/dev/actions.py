"""What the page's buttons do: the operator's own commands, with this shell's settings."""

from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from chalicelib.operate.schedules import find
from nightshift.cli.requests import ask, project_schedules
from nightshift.cli.user_errors import message_of

# A run that takes longer goes on, and the page shows it.
PATIENCE_SECONDS = 3.0

Form = Mapping[str, str]
# Has a task run as a request asks, and returns the summary. Raises ValueError or NightshiftError, with a sentence.
Run = Callable[[str, Mapping[str, Any]], dict[str, Any]]


def perform(action: str, form: Form, *, run: Run) -> str:
    """Do what a button asks for, and return what became of it in one sentence. Raises KeyError for a missing field."""
    try:
        return ACTIONS[action](form, run)
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        return f"Not done: {message}"


def _retry(form: Form, _: Run) -> str:
    ask(None, "jobs.retry", ids=[form["id"]])
    return f"Job {form['id']} is tried again."


def _forget(form: Form, _: Run) -> str:
    ask(None, "jobs.forget", ids=[form["id"]])
    return f"Job {form['id']} is forgotten."


def _pause_task(form: Form, _: Run) -> str:
    return f"Paused {ask(None, 'schedule.pause', task=form['name'], reason=form['reason'])['paused']}."


def _resume_task(form: Form, _: Run) -> str:
    return _resumed(form["name"], ask(None, "schedule.resume", task=form["name"])["resumed"])


def _pause_jobs(form: Form, _: Run) -> str:
    return f"Paused jobs of {ask(None, 'jobs.pause', type=form['name'], reason=form['reason'])['paused']}."


def _resume_jobs(form: Form, _: Run) -> str:
    return _resumed(form["name"], ask(None, "jobs.resume", type=form["name"])["resumed"])


def _resumed(name: str, resumed: str | None) -> str:
    return f"Resumed {name}." if resumed else f"{name} was not paused."


def _run(form: Form, run: Run) -> str:
    task, ended = form["name"], SimpleQueue[dict[str, Any] | Exception]()
    # A name that is not a task's could be that of any function.
    find(task, project_schedules())

    def work() -> None:
        try:
            ended.put(run(task, {}))
        except Exception as error:  # noqa: BLE001 (it is raised below, or its log line is all that is told)
            ended.put(error)

    Thread(target=work, daemon=True).start()
    try:
        summary = ended.get(timeout=PATIENCE_SECONDS)
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
