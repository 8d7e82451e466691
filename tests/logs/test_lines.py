"""A raw line of a log becomes one that people can read, whatever it holds."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.attempt import attempt
from chalicelib.core.clock import SystemClock
from chalicelib.core.errors import TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import bound, logger, report
from nightshift.logs.lines import readable

AT = datetime(2026, 3, 2, 8, 0, 1, 234_000, tzinfo=UTC)
STAMP = "2026-03-02T08:00:01.234Z"
ID = "1d3c4a5e-0000-4000-8000-000000000001"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Return the lines that the functions' own logger has written."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.handlers[0], "stream", stream)
    return lambda: stream.getvalue().splitlines()


def ends(work: Callable[[], Any]) -> None:
    with bound(task="daily_digest", request_id=ID, run_id="0f8f", attempt=2, dry_run=False, trigger="schedule"):
        report("run", "daily_digest", attempt(work, clock=SystemClock(), last=False))


def fails_with(error: Exception) -> Callable[[], Any]:
    def work() -> None:
        raise error

    return work


def test_a_summary_tells_whose_it_is_how_long_it_took_and_what_became_of_what(written: Any) -> None:
    ends(lambda: Counts(total=4, succeeded=3, skipped=1))
    (line,) = written()
    told = "run succeeded task=daily_digest run_id=0f8f attempt=2 took=0.0s succeeded=3 skipped=1"
    assert (readable(line, at=AT) or "").startswith(f"{STAMP} INFO    {told}")


def test_a_named_error_is_a_sentence_and_any_other_has_its_traceback_below(written: Any) -> None:
    ends(fails_with(TransientError("SES is\ndown")))
    ends(fails_with(KeyError("a key")))
    named, unnamed = (readable(line, at=AT) or "" for line in written())
    assert named.startswith(f"{STAMP} ERROR   run failed: TransientError: SES is down task=daily_digest ")
    assert "\n" not in named
    first, *below = unnamed.splitlines()
    assert "ERROR   run failed: KeyError: 'a key' task=daily_digest " in first
    assert below[0] == "    Traceback (most recent call last):"
    assert below[1].startswith('      File "')
    assert below[-1] == "    KeyError: 'a key'"


def test_what_else_a_line_says_stands_behind_and_its_own_time_is_used_where_none_is_given() -> None:
    line = json.dumps(
        {
            "level": "WARNING",
            "location": "x:1",
            "message": "jobs wait for dispatch",
            "timestamp": "2026-03-02T09:00:01.234+01:00",
            "service": "nightshift-prod",
            "reason": "no queue",
            "jobs": 3,
            "ids": ["a", "b"],
            "type": "send_email",
        }
    )
    told = 'jobs wait for dispatch: no queue type=send_email jobs=3 ids=["a", "b"]'
    assert readable(line) == f"{STAMP} WARNING {told}"
    assert readable(line, at=datetime(2026, 1, 1, tzinfo=UTC), function="work") == (
        f"2026-01-01T00:00:00.000Z WARNING work: {told}"
    )


def test_of_a_long_value_only_the_beginning_is_told_and_what_comes_after_it_too() -> None:
    rules = {f"rule{number}": {"total": 197, "failed": 0} for number in range(20)}
    told = readable(json.dumps({"level": "INFO", "message": "run succeeded", "rules": rules, "backup": "b1"})) or ""
    value = json.dumps(rules)[:120]
    assert told == f"INFO    run succeeded rules={value}… backup=b1"


@pytest.mark.parametrize(
    "noise",
    [
        f"START RequestId: {ID} Version: $LATEST\n",
        f"END RequestId: {ID}\n",
        "INIT_START Runtime Version: python:3.13.v60\tRuntime Version ARN: arn:aws:lambda:x\n",
        "INIT_REPORT Init Duration: 512.12 ms\tPhase: invoke\n",
        '{"_aws":{"Timestamp":1,"CloudWatchMetrics":[]},"task":"daily_digest","run_failed":[1.0]}\n',
        " \n",
        "",
    ],
)
def test_noise_is_dropped(noise: str) -> None:
    assert readable(noise, at=AT) is None


REPORT = f"REPORT RequestId: {ID}\tDuration: 83210.12 ms\tBilled Duration: 83622 ms\tMemory Size: 512 MB\t"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            f"{REPORT}Max Memory Used: 96 MB\tInit Duration: 411.30 ms\t\n",
            f"REPORT  ended after 1 min 23 s, 96 of 512 MB used, cold start 0.4 s request_id={ID}",
        ),
        (
            f"{REPORT}Max Memory Used: 512 MB\tStatus: error\tError Type: Runtime.ExitError\n",
            f"ERROR   ended after 1 min 23 s, 512 of 512 MB used, error Runtime.ExitError request_id={ID}",
        ),
        (
            f"{REPORT}Max Memory Used: 96 MB\tStatus: timeout\n",
            f"ERROR   ended after 1 min 23 s, 96 of 512 MB used, timeout request_id={ID}",
        ),
        (
            "INIT_REPORT Init Duration: 10008.12 ms\tPhase: init\tStatus: timeout\n",
            "ERROR   cold start 10 s, timeout",
        ),
        (
            f"2026-03-02T08:00:01.234Z {ID} Task timed out after 300.05 seconds\n\n",
            f"ERROR   Task timed out after 300.05 seconds request_id={ID}",
        ),
        (
            f"RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n",
            f"ERROR   Error: Runtime exited with error: signal: killed request_id={ID}",
        ),
        (
            f"RequestId: {ID} Process exited before completing request\n",
            f"ERROR   Process exited before completing request request_id={ID}",
        ),
        (
            "[ERROR] KeyError: 'x'\rTraceback (most recent call last):\r\xa0\xa0File \"app.py\", line 3\r",
            "ERROR   KeyError: 'x'\n    Traceback (most recent call last):\n      File \"app.py\", line 3",
        ),
        (
            f"[WARNING]\t2026-03-02T08:00:01.234Z\t{ID}\tConnection pool is full\n",
            "WARNING Connection pool is full",
        ),
        ("printed\n  by hand\n", "        printed\n      by hand"),
    ],
)
def test_what_lambda_or_anybody_else_writes_is_told(line: str, told: str) -> None:
    assert readable(line, at=AT) == f"{STAMP} {told}"


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\u202egnp.exe\x9b1m"


@pytest.mark.parametrize(
    "line",
    [
        HOSTILE,
        f"[ERROR] {HOSTILE}\n{HOSTILE}",
        f"RequestId: {ID} Error: {HOSTILE}",
        json.dumps({"message": HOSTILE, "level": HOSTILE, HOSTILE: HOSTILE, "error": HOSTILE, "exception": HOSTILE}),
    ],
    ids=["text", "raised", "killed", "json"],
)
def test_nothing_is_left_that_a_terminal_would_obey(line: str) -> None:
    told = readable(line, at=AT, function=HOSTILE) or ""
    assert all(character.isprintable() or character == "\n" for character in told)
    assert "red" in told


@pytest.mark.parametrize(
    "line",
    [
        '{"a":' + 100_000 * "[",
        '{"message": {"a": 1}, "level": 7, "duration_ms": "long", "timestamp": 3, "exception": ["x"]}',
        '{"message": null, "duration_ms": 1e999}',
        '{"message": "m", "duration_ms": ' + 400 * "9" + "}",
        "{}",
        "{",
    ],
    ids=["deep", "types", "infinite", "huge", "empty", "broken"],
)
def test_what_only_looks_like_a_line_of_the_logger_is_told_all_the_same(line: str) -> None:
    told = readable(line, at=AT) or ""
    assert told.startswith(STAMP)
    assert len(told) < 2100


@given(st.text() | st.dictionaries(st.text(), st.text() | st.integers() | st.floats()).map(json.dumps))
def test_any_text_is_noise_or_can_be_printed(text: str) -> None:
    told = readable(text)
    assert told is None or all(character.isprintable() or character == "\n" for character in told)
