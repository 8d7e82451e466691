"""What CloudWatch sees: JSON log lines with addresses masked, one summary line an attempt, and its EMF metrics."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from chalicelib.attempts import Attempt
from chalicelib.errors import NightshiftError

NAMESPACE = "Nightshift"
# With its stage, so that two stages of one account share no metric; nightshift deploy sets it.
SERVICE = os.environ.get("POWERTOOLS_SERVICE_NAME", "nightshift")
# The keys of the line's layout, among those that the logger calls current.
_LAYOUT = frozenset({"level", "location", "message", "timestamp", "service", "sampling_rate"})

# A local part ends after 64 characters, and so does the search for where it began, however long the text.
_ADDRESS = re.compile(r"([\w.!#$%&'*+/=?^`{|}~-])[\w.!#$%&'*+/=?^`{|}~-]{0,63}@([\w-]+(?:\.[\w-]+)+)")


def mask_addresses(text: str) -> str:
    """Return the text with every e-mail address reduced to its first character and domain."""
    return _ADDRESS.sub(r"\1***@\2", text) if "@" in text else text


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {mask_addresses(str(key)): _mask(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_mask(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return mask_addresses(str(value))


def _serialise(line: dict[str, Any]) -> str:
    text = json.dumps(_mask(line), ensure_ascii=False, separators=(",", ":"))
    # A lone surrogate has no UTF-8, and writing it would lose the line; as an escape it is JSON.
    return text.encode("utf-8", "backslashreplace").decode()


logger = Logger(service=SERVICE, json_serializer=_serialise, use_rfc3339=True)


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


def report(kind: Literal["run", "job"], name: str, ended: Attempt[Any]) -> dict[str, Any]:
    """Write the one summary line of an attempt and its metrics, and return what the line says.

    `name` is the task of a run, the type of a job; it is the metrics' only dimension beside the service.
    """
    label = "task" if kind == "run" else "type"
    bind(**{label: name})
    result: dict[str, Any] = {
        "outcome": ended.outcome.value,
        "duration_ms": ended.duration_ms,
        **ended.counts.as_dict(),
    }
    if ended.outcome.is_failure:
        result |= {"error_type": type(ended.error).__name__, "error": str(ended.error)}
    elif ended.error is not None:
        result["reason"] = str(ended.error)
    # An error that Nightshift names is a sentence; any other needs its traceback.
    unnamed = None if isinstance(ended.error, NightshiftError) else ended.error
    write = logger.error if ended.outcome.is_failure else logger.info
    write(f"{kind} {ended.outcome.value}", extra=result, exc_info=unnamed)

    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    metrics.add_dimension(label, name)
    metrics.add_metric(f"{kind}_{ended.outcome.value}", MetricUnit.Count, 1)
    metrics.add_metric(f"{kind}_duration", MetricUnit.Milliseconds, ended.duration_ms)
    for count, value in ended.counts.as_dict().items():
        metrics.add_metric(f"items_{count}", MetricUnit.Count, value)
    metrics.flush_metrics()
    fields = {key: value for key, value in logger.get_current_keys().items() if key not in _LAYOUT}
    masked: dict[str, Any] = _mask(fields | result)
    return masked
