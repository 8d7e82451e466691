"""The page about logs has every field of a run's and a job's lines, and every debug line."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chalicelib.core.context import Context
from chalicelib.core.errors import RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.queue import outbox
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import Job
from tests.runs.plan import DONE, Plan, fail, utc

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE)
NAMED = {name for row in ROWS for name in re.findall(r"`(\w+)`", row)}
EXAMPLES = [json.loads(line) for line in re.findall(r"^\{.+\}$", PAGE, re.MULTILINE)]
# A logger has it from when it is made.
WHERE_SET = {"sampling_rate"}

Log = Callable[[], list[dict[str, Any]]]


class Payload(msgspec.Struct, frozen=True):
    """Whether the job is to fail."""

    fails: bool = False


def perform(_context: Context, job: Job[Payload]) -> Counts:
    """Do as the job says."""
    if job.payload.fails:
        fail()
    return DONE


HANDLER = Handler(
    type="mine", payload=Payload, perform=perform, max_attempts=3, backoff_seconds=(60,), timeout_seconds=None
)


def test_each_field_of_a_run_and_a_job_is_on_the_page_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    plan = Plan(f"sqlite:///{tmp_path / 'test.db'}", monkeypatch, "0 8 * * *")
    log()
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")
    # However slow the machine is, jobs that do nothing are told together.
    monkeypatch.setattr("chalicelib.queue.worker.ALONE_AFTER_SECONDS", 60)
    plan.kit.handlers["mine"] = HANDLER
    plan.meanwhile(fail)
    for _ in range(3):
        with suppress(RunFailedError):
            plan.fire(utc("03 08:00"))
    for data in ({}, {}, {"fails": True}):
        with outbox.transaction(plan.kit.context()) as connection:
            outbox.enqueue_many(connection, [Job(type="mine", payload=data, traceparent="mine")])
    plan.kit.drain()
    lines = [line for line in log() if "_aws" not in line and line["message"] != "fires missed"]
    assert {line["message"] for line in lines} > {"run failed", "run skipped", "jobs succeeded", "job failed"}
    assert {field for line in lines for field in line} == NAMED - WHERE_SET


def test_the_example_has_fields_of_the_page_only_and_one_trace() -> None:
    assert len(EXAMPLES) == 3
    assert {field for line in EXAMPLES for field in line} <= NAMED
    assert len({line["trace_id"] for line in EXAMPLES}) == 1


def test_every_debug_line_is_on_the_page() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "chalicelib").rglob("*.py"))
    said = re.findall(r"logger\.debug\(\s*\"(.+?)\"", code)
    assert len(said) == code.count("logger.debug(") > 3
    assert [each for each in said if f"`{each}`" not in PAGE] == []
