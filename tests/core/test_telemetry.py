"""Telemetry: JSON lines that name no reader, one summary line and one set of metrics an attempt."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from logging import StreamHandler
from typing import Any, Literal

import pytest

from chalicelib.core.attempt import Attempt
from chalicelib.core.context import from_lambda
from chalicelib.core.errors import PermanentError, Skipped, TransientError
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import SERVICE, bind, bound, logger, report
from nightshift.local.invocation import LocalContext

ADDRESS = "jane.doe@mail.example.org"
MASKED = "j***@mail.example.org"
HALF = Counts(total=4, succeeded=1, failed=2, skipped=1)

Output = Callable[[], str]
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Output:
    """What the logger wrote, through a stream that encodes as Lambda's does."""
    handler = logger.handlers[0]
    assert isinstance(handler, StreamHandler)
    written = BytesIO()
    monkeypatch.setattr(handler, "stream", TextIOWrapper(written, encoding="utf-8", write_through=True))
    return lambda: written.getvalue().decode()


@pytest.fixture
def lines(logged: Output) -> Lines:
    # Not splitlines(): CloudWatch ends a line at nothing but a line feed.
    return lambda: [json.loads(line) for line in logged().split("\n") if line]


def ended(
    outcome: Outcome, *, value: object = None, error: Exception | None = None, duration_ms: int = 12
) -> Attempt[Any]:
    return Attempt(outcome=outcome, duration_ms=duration_ms, value=value, error=error)


@pytest.mark.parametrize(
    ("rate", "some", "all_"), [(None, False, False), ("0", False, False), ("1", True, True), ("0.5", True, False)]
)
def test_debug_lines_are_sampled_by_the_invocation_also_in_a_warm_process(
    world_environment: None, lines: Lines, monkeypatch: pytest.MonkeyPatch, rate: str | None, some: bool, all_: bool
) -> None:
    monkeypatch.setattr(logger, "sampling_rate", rate)
    for number in range(100):
        from_lambda(LocalContext(function_name="work"))
        logger.debug("in detail", extra={"number": number})
        logger.debug("in detail", extra={"number": number})
    logger.setLevel(logging.INFO)
    told = [line["number"] for line in lines()]
    assert (bool(told), len(told) == 200) == (some, all_)
    # Whole invocations, and not single lines.
    assert sorted(2 * list(dict.fromkeys(told))) == told


def test_the_rate_is_powertools_own_variable() -> None:
    program = "from chalicelib.core.telemetry import logger; logger.debug('in detail')"
    environment = os.environ | {"POWERTOOLS_LOGGER_SAMPLE_RATE": "1"}
    told = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    (line,) = (json.loads(text) for text in told.stdout.splitlines())
    assert (line["message"], line["level"], line["sampling_rate"]) == ("in detail", "DEBUG", "1")


def test_an_address_is_masked_in_the_message_in_fields_and_in_nested_values(logged: Output, lines: Lines) -> None:
    nested = {"to": [ADDRESS, {"cc": (ADDRESS,)}], ADDRESS: 1, "error": ValueError(ADDRESS)}
    logger.info(f"sent to {ADDRESS}", extra={"recipient": ADDRESS, "details": nested})
    (line,) = lines()
    assert ADDRESS not in logged()
    assert "jane" not in logged()
    assert line["message"] == f"sent to {MASKED}"
    assert line["recipient"] == MASKED
    assert line["details"] == {"to": [MASKED, {"cc": [MASKED]}], MASKED: 1, "error": MASKED}


def test_an_address_is_masked_in_a_traceback(logged: Output, lines: Lines) -> None:
    try:
        try:
            int(ADDRESS)
        except ValueError as error:
            raise LookupError(f"no such reader: {ADDRESS}") from error
    except LookupError:
        logger.exception("failed")
    (line,) = lines()
    assert "jane" not in logged()
    assert MASKED in line["exception"]
    assert "Traceback" in line["exception"]


@pytest.mark.parametrize("before", ["\x07", "\x1b", "\x00", "\n", "\t", "\\", '"', "\\u", "\u2028", "\x7f"])
def test_a_line_stays_json_whatever_stands_before_an_address(lines: Lines, before: str) -> None:
    logger.info(f"{before}{ADDRESS}")
    (line,) = lines()
    assert ADDRESS not in line["message"]


def test_a_lone_surrogate_does_not_lose_the_line(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    # Kept from pytest's own capture, whose reports cannot carry it from one process to another.
    monkeypatch.setattr(logging.getLogger(SERVICE), "propagate", False)
    logger.info("the name \ud800 of a reader")
    assert len(lines()) == 1


def test_bound_fields_stand_on_every_line_within_and_are_restored_behind(lines: Lines) -> None:
    with bound(task="outer", request_id="r1"):
        with bound(task="inner", message_id="m1"):
            bind(attempt=2)
            logger.info("inner")
        logger.info("outer")
    logger.info("after")
    keys = ("task", "request_id", "message_id", "attempt")
    assert [{key: line[key] for key in keys if key in line} for line in lines()] == [
        {"task": "inner", "request_id": "r1", "message_id": "m1", "attempt": 2},
        {"task": "outer", "request_id": "r1"},
        {},
    ]


def test_bound_fields_are_restored_behind_an_error_too(lines: Lines) -> None:
    with bound(task="outer"):
        with pytest.raises(ValueError, match="no"), bound(task="inner", attempt=1):
            raise ValueError("no")
        logger.info("outer")
    (line,) = lines()
    assert line["task"] == "outer"
    assert "attempt" not in line


@pytest.mark.parametrize(
    ("outcome", "value", "error", "level"),
    [
        (Outcome.SUCCEEDED, HALF, None, "INFO"),
        (Outcome.SKIPPED, None, Skipped(f"held by {ADDRESS}"), "INFO"),
        (Outcome.FAILED, None, TransientError(f"not now, {ADDRESS}"), "ERROR"),
        (Outcome.DEAD, None, PermanentError(f"never, {ADDRESS}"), "ERROR"),
        (Outcome.FAILED, None, ValueError(f"unknown {ADDRESS}"), "ERROR"),
    ],
    ids=["succeeded", "skipped", "failed", "dead", "unknown"],
)
@pytest.mark.parametrize(("kind", "label"), [("run", "task"), ("job", "type")])
def test_an_attempt_is_one_line_and_one_set_of_metrics_that_name_no_reader(
    logged: Output,
    lines: Lines,
    capsys: pytest.CaptureFixture[str],
    kind: Literal["run", "job"],
    label: str,
    outcome: Outcome,
    value: Counts | None,
    error: Exception | None,
    level: str,
) -> None:
    with bound(request_id="r1"):
        report(kind, "digest", ended(outcome, value=value, error=error))
    (line,) = lines()
    counts = (value or Counts()).as_dict()
    assert (line["level"], line["message"]) == (level, f"{kind} {outcome}")
    assert (
        line.items() >= {label: "digest", "request_id": "r1", "outcome": outcome, "duration_ms": 12, **counts}.items()
    )

    (metrics,) = (json.loads(text) for text in capsys.readouterr().out.splitlines())
    (directive,) = metrics["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Nightshift"
    assert [sorted(dimensions) for dimensions in directive["Dimensions"]] == [sorted([label, "service"])]
    assert (metrics[label], metrics["service"]) == ("digest", SERVICE)
    # A run that succeeded also says that it is not dead: by that an alarm ends.
    alive = {"run_dead": ("Count", [0.0])} if (kind, outcome) == ("run", Outcome.SUCCEEDED) else {}
    assert {metric["Name"]: (metric["Unit"], metrics[metric["Name"]]) for metric in directive["Metrics"]} == {
        **alive,
        f"{kind}_{outcome}": ("Count", [1.0]),
        f"{kind}_duration": ("Milliseconds", [12.0]),
        **{f"items_{name}": ("Count", [float(count)]) for name, count in counts.items()},
    }
    assert "jane" not in logged() + json.dumps(metrics)


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.DEAD])
def test_a_dry_run_has_its_line_and_no_metrics_so_that_it_neither_rings_an_alarm_nor_ends_one(
    lines: Lines, capsys: pytest.CaptureFixture[str], outcome: Outcome
) -> None:
    error = PermanentError("no") if outcome is Outcome.DEAD else None
    with bound():
        bind(dry_run=True)
        report("run", "digest", ended(outcome, value=HALF, error=error))
        assert capsys.readouterr().out == ""
        bind(dry_run=False)
        report("run", "digest", ended(outcome, value=HALF, error=error))
        assert "run_dead" in capsys.readouterr().out
    assert [line["outcome"] for line in lines()] == [outcome, outcome]


def test_a_failure_names_its_error_and_a_skipped_attempt_its_reason(lines: Lines) -> None:
    with bound():
        report("run", "digest", ended(Outcome.FAILED, error=TransientError("not now")))
        report("run", "digest", ended(Outcome.SKIPPED, error=Skipped("done already")))
        report("run", "digest", ended(Outcome.SUCCEEDED, value=HALF))
    failed, skipped, succeeded = lines()
    assert (failed["error_type"], failed["error"]) == ("TransientError", "not now")
    assert skipped["reason"] == "done already"
    assert {"error", "error_type"}.isdisjoint(skipped)
    assert {"error", "error_type", "reason"}.isdisjoint(succeeded)


def test_only_an_error_that_nightshift_does_not_name_brings_its_traceback(lines: Lines) -> None:
    with bound():
        report("job", "digest", ended(Outcome.FAILED, error=TransientError("not now")))
        report("job", "digest", ended(Outcome.FAILED, error=ZeroDivisionError("oh")))
    named, unnamed = lines()
    assert "exception" not in named
    assert unnamed["exception"] == "ZeroDivisionError: oh"


def test_an_error_text_of_many_lines_is_one_line(logged: Output, capsys: pytest.CaptureFixture[str]) -> None:
    with bound():
        report("job", "digest", ended(Outcome.FAILED, error=ValueError("one\ntwo\r\nthree\u2028four\x85five")))
    assert logged().count("\n") == 1
    assert capsys.readouterr().out.count("\n") == 1


def test_what_is_returned_is_what_the_line_says_without_its_layout() -> None:
    with bound(request_id="r1"):
        bind(run_id="u1")
        summary = report("run", "digest", ended(Outcome.SUCCEEDED, value=HALF))
    assert summary == {
        "task": "digest",
        "request_id": "r1",
        "run_id": "u1",
        "outcome": "succeeded",
        "duration_ms": 12,
        **HALF.as_dict(),
    }
