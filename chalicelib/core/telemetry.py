"""Log lines in JSON without secrets and addresses, an attempt's summary line, metrics in EMF, and traces."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.core.error_text import is_named
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.redaction import may_hold_secret, redact

if TYPE_CHECKING:
    from chalicelib.core.attempt import Attempt

NAMESPACE = "Nightshift"
# With its stage, so that two stages of one account share no metric; nightshift deploy sets it.
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "nightshift")


def _serialise(line: dict[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)
    if may_hold_secret(text):
        text = json.dumps(redact(line), ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate has no UTF-8, and writing it would lose the line; as an escape it is JSON.
    return text.encode("utf-8", "backslashreplace").decode()


logger = Logger(service=SERVICE, json_serializer=_serialise, use_rfc3339=True)


def sample() -> None:
    """Decide whether the debug lines of the invocation that begins are written, by POWERTOOLS_LOGGER_SAMPLE_RATE."""
    # Powertools decides once a process, which may live for hours.
    if logger.sampling_rate:
        logger.refresh_sample_rate_calculation()


def bind(**fields: object) -> None:
    """Add these fields to every line of this thread until the surrounding `bound` ends."""
    logger.thread_safe_append_keys(**fields)


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Add these fields to every line of the block in this thread, and restore the earlier ones after it."""
    before = logger.thread_safe_get_current_keys()
    bind(**fields)
    try:
        yield
    finally:
        logger.thread_safe_clear_keys()
        bind(**before)


def report(kind: Literal["run", "job"], name: str, ended: Attempt[Any], *, is_measured: bool = True) -> dict[str, Any]:
    """Write the summary line of an attempt and, if wanted, its metrics, and return what the line says."""
    result = summarise(kind, name, ended)
    fields = logger.thread_safe_get_current_keys()
    # A dry run must neither raise nor end an alarm.
    if is_measured and not fields.get("dry_run"):
        measure(kind, name, [ended])
    summary: dict[str, Any] = redact(fields | result)
    return summary


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
        result |= {"error_type": type(ended.error).__name__, "error": ended.error_message}
    elif ended.error is not None:
        result["reason"] = ended.error_message
    unnamed = None if ended.error is None or is_named(ended.error) else ended.error
    write = logger.error if ended.outcome.is_failure else logger.info
    write(f"{kind} {ended.outcome.value}", extra=result, exc_info=unnamed)
    return result


def summarise_together(jobs: Iterable[tuple[str, str, str, Attempt[Any]]]) -> None:
    """Write one line for each type and outcome of jobs that did not fail: (type, job id, trace id, attempt).

    The line of skipped jobs has each reason once.
    """
    alike: dict[tuple[str, Outcome], list[tuple[str, str, Attempt[Any]]]] = {}
    for type_, job_id, trace_id, ended in jobs:
        alike.setdefault((type_, ended.outcome), []).append((job_id, trace_id, ended))
    for (type_, outcome), group in alike.items():
        result = {
            "type": type_,
            "job_ids": [job_id for job_id, _, _ in group],
            # Jobs that one run enqueued have the same trace.
            "trace_ids": list(dict.fromkeys(trace_id for _, trace_id, _ in group)),
            "outcome": outcome.value,
            "duration_ms": sum(ended.duration_ms for _, _, ended in group),
            **sum((ended.counts for _, _, ended in group), Counts()).as_dict(),
        }
        if reasons := dict.fromkeys(ended.error_message for _, _, ended in group if ended.error_message):
            result["reason"] = "; ".join(filter(None, reasons))
        logger.info("jobs %s", outcome.value, extra=result)


def measure(kind: Literal["run", "job"], name: str, attempts: Sequence[Attempt[Any]]) -> None:
    """Write the metrics of attempts; the task or type is their only dimension beside the service."""
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    metrics.add_dimension(_label(kind), name)
    outcomes = Counter(ended.outcome for ended in attempts)
    if kind == "run" and Outcome.SUCCEEDED in outcomes:
        # The alarm on dead runs keeps its state without data; this zero ends it.
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
    """Write an age, in hours, as a metric of a task."""
    _write(metric, MetricUnit.NoUnit, hours, task=task)


def _write(metric: str, unit: MetricUnit, value: float, *, task: str) -> None:
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    metrics.add_dimension("task", task)
    metrics.add_metric(metric, unit, value)
    metrics.flush_metrics()


def _label(kind: Literal["run", "job"]) -> str:
    return "task" if kind == "run" else "type"


_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})(-.*)?", re.ASCII)
# Neither the trace id nor its second half, the step, may be zero.
_IDS = re.compile(r"[0-9a-f]{16}(?!0{16})[0-9a-f]{16}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A position in a trace, as in W3C Trace Context: the trace's id and the step's, in hex."""

    id: str
    step: str
    flags: str = "01"

    def __str__(self) -> str:
        """Return the `traceparent` of this step's messages."""
        return f"00-{self.id}-{self.step}-{self.flags}"


def trace_of(id_: str, *, traceparent: str | None = None) -> Trace:
    """Return the trace of a run or job: the one of its message, otherwise its own.

    Its own is its UUID without hyphens, so all attempts have the same trace and none is stored.
    """
    own = id_.replace("-", "").lower()
    if not _IDS.fullmatch(own):
        own = sha256(id_.encode()).hexdigest()[:32]
    brought = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if brought is None:
        return Trace(id=own, step=own[16:])
    return Trace(id=brought[1], step=own[16:], flags=brought[2])


# A context variable, so that functions which enqueue need no argument for it.
_carried: ContextVar[Trace | None] = ContextVar("carried", default=None)


@contextmanager
def carried(trace: Trace) -> Iterator[None]:
    """Give every message that is made in the block this trace."""
    token = _carried.set(trace)
    try:
        yield
    finally:
        _carried.reset(token)


def traceparent() -> str | None:
    """Return the `traceparent` of a message that is made now; None outside runs and jobs."""
    trace = _carried.get()
    return None if trace is None else str(trace)


def xray_header() -> str | None:
    """Return X-Ray's header of this invocation if X-Ray samples it; Lambda sets one in any case."""
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    return header if "Sampled=1" in header else None
