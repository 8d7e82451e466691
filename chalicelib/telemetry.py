"""What CloudWatch sees: JSON lines that tell no secret and no address, one that sums an attempt up, its EMF metrics."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.attempts import Attempt
from chalicelib.outcome import Counts, Outcome
from chalicelib.redaction import may_tell, redact
from chalicelib.sentence import is_named

NAMESPACE = "Nightshift"
# With its stage, so that two stages of one account share no metric; nightshift deploy sets it.
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "nightshift")
# The keys of the line's layout, among those that the logger calls current.
LAYOUT = frozenset({"level", "location", "message", "timestamp", "service", "sampling_rate"})


def _serialise(line: dict[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)
    if may_tell(text):
        text = json.dumps(redact(line), ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate has no UTF-8, and writing it would lose the line; as an escape it is JSON.
    return text.encode("utf-8", "backslashreplace").decode()


logger = Logger(service=SERVICE, json_serializer=_serialise, use_rfc3339=True)


def sample() -> None:
    """Decide whether the debug lines of the invocation that begins are written, by POWERTOOLS_LOGGER_SAMPLE_RATE."""
    # By itself Powertools decides once a process, and a warm one would keep to that for hours.
    if logger.sampling_rate:
        logger.refresh_sample_rate_calculation()


def bind(**fields: object) -> None:
    """Put these fields on every line from here to the end of the surrounding `bound`."""
    logger.append_keys(**fields)


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Put these fields on every line within, and afterwards restore what was there."""
    before = dict(logger.get_current_keys())
    bind(**fields)
    try:
        yield
    finally:
        logger.remove_keys(set(logger.get_current_keys()) - set(before))
        logger.append_keys(**before)


def report(kind: Literal["run", "job"], name: str, ended: Attempt[Any], *, is_measured: bool = True) -> dict[str, Any]:
    """Write the summary line of an attempt and, if wanted, its metrics, and return what the line says."""
    result = summarise(kind, name, ended)
    fields = {key: value for key, value in logger.get_current_keys().items() if key not in LAYOUT}
    # A rehearsal that fails is nobody's loss, and one that succeeds mends nothing.
    if is_measured and not fields.get("dry_run"):
        measure(kind, name, [ended])
    told: dict[str, Any] = redact(fields | result)
    return told


def summarise(kind: Literal["run", "job"], name: str, ended: Attempt[Any], **fields: object) -> dict[str, Any]:
    """Write the one summary line of an attempt, and return what it adds; `name` is the task, or the job's type."""
    result: dict[str, Any] = {
        _label(kind): name,
        **fields,
        "outcome": ended.outcome.value,
        "duration_ms": ended.duration_ms,
        **ended.counts.as_dict(),
    }
    if ended.outcome.is_failure:
        result |= {"error_type": type(ended.error).__name__, "error": ended.told}
    elif ended.error is not None:
        result["reason"] = ended.told
    unnamed = None if ended.error is None or is_named(ended.error) else ended.error
    write = logger.error if ended.outcome.is_failure else logger.info
    write(f"{kind} {ended.outcome.value}", extra=result, exc_info=unnamed)
    return result


def summarise_together(jobs: Iterable[tuple[str, str, str, Attempt[Any]]]) -> None:
    """Write one line a type and outcome for jobs that succeeded or were skipped: (type, job id, trace's id, attempt).

    Of those that were skipped, the line has each reason once.
    """
    alike: dict[tuple[str, Outcome], list[tuple[str, str, Attempt[Any]]]] = {}
    for type_, job_id, trace_id, ended in jobs:
        alike.setdefault((type_, ended.outcome), []).append((job_id, trace_id, ended))
    for (type_, outcome), group in alike.items():
        result = {
            "type": type_,
            "job_ids": [job_id for job_id, _, _ in group],
            # Those that were enqueued by one run are of one trace.
            "trace_ids": list(dict.fromkeys(trace_id for _, trace_id, _ in group)),
            "outcome": outcome.value,
            "duration_ms": sum(ended.duration_ms for _, _, ended in group),
            **sum((ended.counts for _, _, ended in group), Counts()).as_dict(),
        }
        if reasons := dict.fromkeys(ended.told for _, _, ended in group if ended.told):
            result["reason"] = "; ".join(filter(None, reasons))
        logger.info("jobs %s", outcome.value, extra=result)


def measure(kind: Literal["run", "job"], name: str, attempts: Sequence[Attempt[Any]]) -> None:
    """Write the metrics of attempts; the task or type is their only dimension beside the service."""
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    metrics.add_dimension(_label(kind), name)
    outcomes = Counter(ended.outcome for ended in attempts)
    if kind == "run" and Outcome.SUCCEEDED in outcomes:
        # The alarm on dead runs stays as it is for as long as nothing is heard, and this zero is what ends it.
        outcomes.setdefault(Outcome.DEAD, 0)
    for outcome, number in outcomes.items():
        metrics.add_metric(f"{kind}_{outcome.value}", MetricUnit.Count, number)
    for ended in attempts:
        metrics.add_metric(f"{kind}_duration", MetricUnit.Milliseconds, ended.duration_ms)
    for count, value in sum((ended.counts for ended in attempts), Counts()).as_dict().items():
        metrics.add_metric(f"items_{count}", MetricUnit.Count, value)
    metrics.flush_metrics()


def count(metric: str, number: int, *, task: str) -> None:
    """Write a metric of a task that belongs to no run."""
    _write(metric, MetricUnit.Count, number, task=task)


def age(metric: str, hours: float, *, task: str) -> None:
    """Write as a metric of a task how old something is."""
    _write(metric, MetricUnit.NoUnit, hours, task=task)


def _write(metric: str, unit: MetricUnit, value: float, *, task: str) -> None:
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    metrics.add_dimension("task", task)
    metrics.add_metric(metric, unit, value)
    metrics.flush_metrics()


def _label(kind: Literal["run", "job"]) -> str:
    return "task" if kind == "run" else "type"
