"""The database cleanup: what the rules of chalicelib/tasks/database_cleanup/rules.py say is too old to keep."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from chalicelib.core.attempt import attempt
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError, NightshiftError, OutOfTimeError, RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import bind, bound, logger
from chalicelib.runs.claims import Run, save_checkpoint
from chalicelib.runs.task import Task
from chalicelib.tasks.database_cleanup import rules
from chalicelib.tasks.database_cleanup.chunks import Archive
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.database_cleanup.sweep import Progress, count_due, delete_due, read_progress
from chalicelib.tasks.database_cleanup.throttle import little_patience

# A chunk takes hundredths of a second, and so does saving; what was done since is done again at no cost.
SAVE_EVERY_MS = 1000


def perform(context: Context, run: Run) -> Counts:
    """Carry out the rules one after the other, each whatever became of those before.

    Counts are rows: succeeded were deleted; failed hold a moment that cannot be understood, are referred to by others,
    or remain of a rule that failed; skipped were due at first, and then gone, changed or in use. A dry run skips what
    is due. Raises RunFailedError.
    """
    chosen, uncapped = _read_options(run)
    book = {name: read_progress(saved) for name, saved in (run.checkpoint or {}).items()}
    with little_patience(context.database):
        for rule in chosen:
            progress = book.setdefault(rule.name, Progress())
            if not progress.is_done and progress.error is None:
                _carry_out(context, run, rule, book, uncapped=rule.name in uncapped)
    tallies = {rule.name: book[rule.name].tally() for rule in chosen}
    bind(rules={name: counts.as_dict() for name, counts in tallies.items()})
    total = sum(tallies.values(), Counts())
    errors = {rule.name: error for rule in chosen if (error := book[rule.name].error)}
    if errors:
        _save(context, run, {name: progress.reopen() for name, progress in book.items()})
        sentence = "; ".join(f"the rule {name} failed: {error}" for name, error in errors.items())
        raise RunFailedError(sentence, counts=total)
    return total


def _carry_out(context: Context, run: Run, rule: Rule, book: dict[str, Progress], *, uncapped: bool) -> None:
    """Carry out a rule, and enter into the book how that went. Raises OutOfTimeError and AlreadyClaimed."""

    def work() -> None:
        if run.dry_run:
            counts = count_due(context, rule, at=run.scheduled_for, uncapped=uncapped)
            book[rule.name] = Progress(counts=counts, is_done=True)
        else:
            _sweep(context, run, rule, book, uncapped=uncapped)

    with bound(rule=rule.name):
        ended = attempt(work, clock=context.clock, last=False)
        if isinstance(ended.error, OutOfTimeError):
            _save(context, run, book)
            raise ended.error
        if ended.error is not None:
            # Of a refusal by the database its own words, without the statement and all its ids.
            book[rule.name] = book[rule.name].fail(str(getattr(ended.error, "orig", None) or ended.error))
        _save(context, run, book)
        _log(book[rule.name], ended.error, duration_ms=ended.duration_ms)


def _sweep(context: Context, run: Run, rule: Rule, book: dict[str, Progress], *, uncapped: bool) -> None:
    saved_ms = context.clock.now_ms()
    archive = None
    if rule.archive:
        # Each attempt has objects of its own: what an earlier one archived may be gone from the database.
        prefix = f"archive/{run.task}/{rule.name}/{run.scheduled_for:%Y-%m-%d}/{run.id}-{run.attempt:04}"
        archive = Archive(context.store, prefix=prefix)
    if context.is_out_of_time():
        raise OutOfTimeError("the rules that are left are handed on")
    for progress in delete_due(
        context, rule, at=run.scheduled_for, start=book[rule.name], archive=archive, uncapped=uncapped
    ):
        book[rule.name] = progress
        if context.is_out_of_time() and not progress.is_done:
            raise OutOfTimeError(f"{progress.counts.succeeded} rows are deleted, the rest is handed on")
        if context.clock.now_ms() >= saved_ms + SAVE_EVERY_MS:
            _save(context, run, book)
            saved_ms = context.clock.now_ms()


def _save(context: Context, run: Run, book: Mapping[str, Progress]) -> None:
    save_checkpoint(context, run, {name: progress.as_dict() for name, progress in book.items()})


def _log(progress: Progress, error: Exception | None, *, duration_ms: int) -> None:
    fields: dict[str, object] = {"duration_ms": duration_ms, **progress.tally().as_dict()}
    if error is None:
        logger.info("rule done", extra=fields)
        return
    # An error that Nightshift names is a sentence; any other needs its traceback.
    unnamed = None if isinstance(error, NightshiftError) else error
    fields |= {"error_type": type(error).__name__, "error": progress.error}
    logger.error("rule failed", extra=fields, exc_info=unnamed)


def _read_options(run: Run) -> tuple[list[Rule], list[str]]:
    known = {rule.name: rule for rule in rules.RULES}
    names: dict[str, Any] = {"rules": list(known), "uncapped": []}
    for option, value in run.options.items():
        if not (isinstance(value, list) and all(isinstance(name, str) and name in known for name in value)):
            raise InvalidRequestError(f"{option} must be a list of rules: {', '.join(known)}")
        names[option] = value
    return [rule for name, rule in known.items() if name in names["rules"]], names["uncapped"]


TASK = Task(
    name="database_cleanup",
    perform=perform,
    # A value that nobody understands is for a person to look at, on a day of theirs.
    max_failed_share=0.5,
    max_attempts=3,
    overlap="skip",
    catch_up="skip",
    grace=timedelta(minutes=15),
    options=("rules", "uncapped"),
)
