"""The external sync: store the items of other systems in `external_data`, each source on its own."""

from typing import Any

from chalicelib.api import (
    Context,
    Counts,
    InvalidRequestError,
    OutOfTimeError,
    PermanentError,
    Run,
    Skipped,
    TransientError,
    logger,
    save_checkpoint,
    task,
)
from chalicelib.core.errors import NightshiftError
from chalicelib.core.outcome import Outcome
from chalicelib.tasks.external_sync.reader import SourceReader
from chalicelib.tasks.external_sync.sources import SyncSettings, all_sources


# A larger share of failed items looks like a change of the source's format.
@task(max_failed_share=0.5, catch_up="skip", options=("full_refresh", "accept_loss"), settings=SyncSettings)
def external_sync(context: Context, run: Run) -> Counts:
    """Read every source that this run has not read yet; a failed source does not stop the others.

    Counts are items: succeeded were written, skipped are unchanged, failed are in quarantine. A dry run writes nothing.
    The options `full_refresh` and `accept_loss` each name one source.
    """
    sources = all_sources(context.settings(SyncSettings))
    if not sources:
        raise Skipped(
            "EXTERNAL_SYNC_URL is not set, and chalicelib/tasks/external_sync/sources.py declares no other source"
        )
    full_refresh, accept_loss = (
        _read_option(run, key, [source.name for source in sources]) for key in external_sync.options
    )
    saved = run.checkpoint or {"done": [], "counts": {}}
    done, counts = list(saved["done"]), Counts(**saved["counts"])
    errors: dict[str, NightshiftError] = {}
    for source in sources:
        if source.name in done:
            continue
        try:
            reader = SourceReader(
                context,
                source,
                run_id=run.id,
                full_refresh=full_refresh == source.name,
                accept_loss=accept_loss == source.name,
            )
            counts += reader.read()
        except OutOfTimeError:
            raise
        except NightshiftError as error:
            logger.warning("source not read", extra={"source": source.name, "reason": str(error)})
            errors[source.name] = error
        else:
            done.append(source.name)
            save_checkpoint(context, run, {"done": done, "counts": counts.as_dict()})
    _raise_for(errors, counts)
    return counts


def _read_option(run: Run, key: str, names: list[str]) -> Any:
    value = run.options.get(key)
    if value is not None and value not in names:
        raise InvalidRequestError(f"{key} must name a source, one of {', '.join(names)}")
    return value


def _raise_for(errors: dict[str, NightshiftError], counts: Counts) -> None:
    """Raise one error for all sources, which is retried if any of them is to be retried."""
    message = "; ".join(f"{name}: {error}" for name, error in errors.items())
    outcomes = {error.outcome for error in errors.values()}
    if Outcome.FAILED in outcomes:
        failure: NightshiftError = TransientError(message)
    elif Outcome.DEAD in outcomes:
        failure = PermanentError(message)
    elif errors and counts == Counts():
        failure = Skipped(message)
    else:
        return
    failure.counts = counts
    raise failure
