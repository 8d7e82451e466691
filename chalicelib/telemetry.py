"""What CloudWatch sees: JSON lines that tell no secret and no address, one that sums an attempt up, its EMF metrics."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.attempts import Attempt
from chalicelib.outcome import Counts, Outcome
from chalicelib.sentence import is_named

NAMESPACE = "Nightshift"
# With its stage, so that two stages of one account share no metric; nightshift deploy sets it.
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "nightshift")
# The keys of the line's layout, among those that the logger calls current.
LAYOUT = frozenset({"level", "location", "message", "timestamp", "service", "sampling_rate"})

# A local part ends after 64 characters, and so does the search for where it began, however long the text.
_ADDRESS = re.compile(r"([\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{0,63}@([\w-]+(?:\.[\w-]+)+)")


def mask_addresses(text: str) -> str:
    """Return the text with every e-mail address reduced to its first character and domain."""
    return _ADDRESS.sub(r"\1***@\2", text) if "@" in text else text


# What a person would not want to see in a log, by the names that people give it.
_NAMES = (
    "passw|passphrase|pwd|secret|token|authori[sz]ation|credential|cookie|signature|"
    "(?:api|access|private).?key|card.?num"
)
_SECRET = re.compile(_NAMES, re.I)
# The same in text that holds JSON, also as a string within a string. Each step is bounded: the text may be long.
_SECRET_IN_TEXT = re.compile(
    rf"""((?:{_NAMES})[\w.-]{{0,40}}\\{{0,8}}(?:["']?\s{{0,8}}[:=]|["']\s{{0,8}},)\s{{0,8}})"""
    # Quoted, quoted within a string, an object or a list, which may end anywhere in such a text, or a bare word.
    r"""("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|\\{1,8}["'][^"'\\]*|[\[{].*|"""
    r"""(?:(?:bearer|basic)\s{1,8})?[^\s,;&}\]"'\\]+)""",
    re.I | re.S,
)
# Who one is at a server, before its name: with a password, in which anything may stand, or without.
_SECRET_IN_URL = re.compile(r"""(://)(?:[^\s/?#:@]{0,256}:[^\s"'<>]{0,256}|[^\s/?#"'<>]{0,256})@""")
_SECRET_BY_ITSELF = re.compile(r"(\bbearer\s{1,8}|[?&](?:key|sig|code|auth)=)[^\s&\"'\\]{6,}", re.I)
# Without any of these, as nearly every line is, a text has nothing to hide; looking for them takes no time.
_SIGNS = (
    *("@", "://", "key", "passw", "passphrase", "pwd", "secret", "token", "authori", "credential", "cookie"),
    *("signature", "bearer", "card"),
)

_COUNTS = vars(Counts()).keys()


def redact(value: Any) -> Any:
    """Return a value with secrets replaced, by their names and in URLs, and addresses masked; as JSON can tell it."""
    if isinstance(value, dict):
        # Counts are no secret whatever they count, such as a table of tokens.
        return {
            redact(str(key)): "[redacted]" if _SECRET.search(str(key)) and not _is_counts(item) else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = _SECRET_IN_URL.sub(r"\1[redacted]@", str(value))
    text = _SECRET_BY_ITSELF.sub(r"\1[redacted]", text)
    return mask_addresses(_SECRET_IN_TEXT.sub(r"\1[redacted]", text))


def _is_counts(item: Any) -> bool:
    return isinstance(item, dict) and item.keys() == _COUNTS


def _may_tell(text: str) -> bool:
    lowered = text.lower()
    return any([sign in lowered for sign in _SIGNS])  # noqa: C419 (a generator takes twice as long)


def _serialise(line: dict[str, Any]) -> str:
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)
    if _may_tell(text):
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


def summarise_together(done: Iterable[tuple[str, str, str, Attempt[Any]]]) -> None:
    """Write one line a type for jobs that were done and recorded together: (type, job id, trace's id, attempt)."""
    by_type: dict[str, list[tuple[str, str, Attempt[Any]]]] = {}
    for type_, job_id, trace_id, ended in done:
        by_type.setdefault(type_, []).append((job_id, trace_id, ended))
    for type_, group in by_type.items():
        result = {
            "type": type_,
            "job_ids": [job_id for job_id, _, _ in group],
            # Those that were enqueued by one run are of one trace.
            "trace_ids": list(dict.fromkeys(trace_id for _, trace_id, _ in group)),
            "outcome": Outcome.SUCCEEDED.value,
            "duration_ms": sum(ended.duration_ms for _, _, ended in group),
            **sum((ended.counts for _, _, ended in group), Counts()).as_dict(),
        }
        logger.info("jobs succeeded", extra=result)


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
