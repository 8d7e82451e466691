"""The database cleanup: delete the rows that the rules in rules.py call too old."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.api import Context, Counts, InvalidRequestError, OutOfTimeError, Run, logger, save_checkpoint, task
from chalicelib.core.attempt import attempt
from chalicelib.core.errors import NightshiftError, RunFailedError
from chalicelib.core.telemetry import bind, bound
from chalicelib.tasks.database_cleanup import rules
from chalicelib.tasks.database_cleanup.chunks import Archive
from chalicelib.tasks.database_cleanup.deletion import Progress, count_due, delete_due, read_progress
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.database_cleanup.throttle import short_lock_timeout

# A chunk and a checkpoint take hundredths of a second each. Repeating the chunks since the last one is harmless.
SAVE_EVERY_MS = 1000


# Invalid timestamps can wait for a person, unless most are invalid.
@task(max_failed_share=0.5, catch_up="skip", options=("rules", "uncapped"))
def database_cleanup(context: Context, run: Run) -> Counts:
    """Run the rules one after another; a failed rule does not stop the others.

    Counts are rows: succeeded were deleted; failed have an invalid timestamp, are referred to by other rows, or belong
    to a failed rule; skipped were due when counted and then gone, changed or in use. A dry run skips all due rows.
    Raises RunFailedError.
    """
    chosen, uncapped = _read_options(run)
    progress = {name: read_progress(saved) for name, saved in (run.checkpoint or {}).items()}
    with short_lock_timeout(context.database):
        for rule in chosen:
            found = progress.setdefault(rule.name, Progress())
            if not found.is_done and found.error is None:
                _run_rule(context, run, rule, progress, uncapped=rule.name in uncapped)
    counts = {rule.name: progress[rule.name].final_counts() for rule in chosen}
    bind(rules={name: each.as_dict() for name, each in counts.items()})
    total = sum(counts.values(), Counts())
    errors = {rule.name: error for rule in chosen if (error := progress[rule.name].error)}
    if errors:
        _save(context, run, {name: each.reopen() for name, each in progress.items()})
        message = "; ".join(f"the rule {name} failed: {error}" for name, error in errors.items())
        raise RunFailedError(message, counts=total)
    return total


def _run_rule(context: Context, run: Run, rule: Rule, progress: dict[str, Progress], *, uncapped: bool) -> None:
    """Run a rule and record its progress. Raises OutOfTimeError and AlreadyClaimed."""

    def work() -> None:
        if run.dry_run:
            counts = count_due(context, rule, at=run.scheduled_for, uncapped=uncapped)
            progress[rule.name] = Progress(counts=counts, is_done=True)
        else:
            _delete(context, run, rule, progress, uncapped=uncapped)

    with bound(rule=rule.name):
        ended = attempt(work, clock=context.clock, last=False)
        error = ended.error
        if error is not None and not isinstance(error, OutOfTimeError):
            # The database's own message, without the statement and its ids.
            message = str(getattr(error, "orig", None) or error)
            progress[rule.name] = replace(progress[rule.name], error=message)
        _save(context, run, progress)
        fields: dict[str, Any] = {"duration_ms": ended.duration_ms, **progress[rule.name].final_counts().as_dict()}
        if isinstance(error, OutOfTimeError):
            raise error
        if error is None:
            logger.info("rule done", extra=fields)
        else:
            fields |= {"error_type": type(error).__name__, "error": message}
            # Nightshift's own errors explain themselves; others need their traceback.
            logger.error("rule failed", extra=fields, exc_info=None if isinstance(error, NightshiftError) else error)


def _delete(context: Context, run: Run, rule: Rule, progress: dict[str, Progress], *, uncapped: bool) -> None:
    saved_ms = context.clock.now_ms()
    # Each attempt writes its own objects: rows that an earlier one archived may no longer exist in the database.
    prefix = f"archive/{run.task}/{rule.name}/{run.scheduled_for:%Y-%m-%d}/{run.id}-{run.attempt:04}"
    archive = Archive(context.store, prefix=prefix) if rule.archive else None
    if context.is_out_of_time():
        raise OutOfTimeError("the next invocation runs the remaining rules")
    for found in delete_due(
        context, rule, at=run.scheduled_for, start=progress[rule.name], archive=archive, uncapped=uncapped
    ):
        progress[rule.name] = found
        if context.is_out_of_time() and not found.is_done:
            raise OutOfTimeError(
                f"{found.counts.succeeded} rows are deleted, the rest continues in the next invocation"
            )
        if context.clock.now_ms() >= saved_ms + SAVE_EVERY_MS:
            _save(context, run, progress)
            saved_ms = context.clock.now_ms()


def _save(context: Context, run: Run, progress: Mapping[str, Progress]) -> None:
    save_checkpoint(context, run, {name: each.as_dict() for name, each in progress.items()})


def _read_options(run: Run) -> tuple[list[Rule], list[str]]:
    known = {rule.name: rule for rule in rules.RULES}
    names: dict[str, Any] = {"rules": list(known), "uncapped": []}
    for option, value in run.options.items():
        if not (isinstance(value, list) and all(isinstance(name, str) and name in known for name in value)):
            raise InvalidRequestError(f"{option} must be a list of rules: {', '.join(known)}")
        names[option] = value
    return [rule for name, rule in known.items() if name in names["rules"]], names["uncapped"]
