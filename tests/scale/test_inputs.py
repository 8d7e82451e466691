"""What is reckoned with is what is set, and what the page of the measurements says."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from bench import reports
from bench.report import find
from bench.stored import STORED, read_report
from chalicelib.backup import backups
from chalicelib.core.context import RESERVE_MS
from chalicelib.mail import sending, ses
from chalicelib.tasks import daily_digest
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.external_sync.sources import Source
from scale import inputs, mornings, paths, running, setting, work

ROOT = Path(__file__).parent.parent.parent
STAGES: dict[str, Any] = json.loads((ROOT / ".chalice" / "config.json").read_text(encoding="utf-8"))["stages"]
QUEUES = (ROOT / "infra" / "queues.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("stage", STAGES)
def test_functions_are_set_as_they_are_reckoned(stage: str) -> None:
    functions = STAGES[stage]["lambda_functions"]
    assert functions["work"] == {
        "lambda_memory_size": inputs.WORKER_MEMORY_MB,
        "lambda_timeout": inputs.WORKER_TIMEOUT,
        "reserved_concurrency": inputs.CONCURRENCY,
    }
    assert functions["work_priority"]["reserved_concurrency"] == inputs.PRIORITY_CONCURRENCY
    for name in ("daily_digest", "external_sync", "monthly_report"):
        assert functions[name]["lambda_timeout"] == inputs.TASK_TIMEOUT
        assert functions[name]["lambda_memory_size"] == inputs.WORKER_MEMORY_MB
    assert functions["database_backup"]["lambda_timeout"] == inputs.BACKUP_TIMEOUT
    assert functions["database_backup"]["lambda_memory_size"] == running.BACKUP_MB
    assert functions["database_cleanup"]["lambda_timeout"] == inputs.CLEANUP_TIMEOUT
    assert functions["dispatch"]["lambda_timeout"] == inputs.DISPATCH_TIMEOUT
    others = sum(each.get("reserved_concurrency", 1) for name, each in functions.items() if name != "work")
    assert others <= setting.OTHER_CONNECTIONS


def test_triggers_are_as_they_are_reckoned() -> None:
    triggers = {
        keyword.arg: ast.literal_eval(keyword.value)
        for function in ast.parse((ROOT / "app.py").read_text(encoding="utf-8")).body
        if isinstance(function, ast.FunctionDef) and function.name == "work"
        for decorator in function.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
        if keyword.arg != "queue"
    }
    assert triggers == {"batch_size": inputs.BATCH, "maximum_concurrency": inputs.CONCURRENCY}


def test_queues_are_as_they_are_reckoned() -> None:
    assert f'"{inputs.WORKER_TIMEOUT:.0f}": {{ Seconds: {inputs.VISIBILITY:.0f} }}' in QUEUES
    assert f"maxReceiveCount: {inputs.MOST_RECEIVES}" in QUEUES
    assert f"MessageRetentionPeriod: {inputs.RETENTION:.0f}" in QUEUES


def test_the_code_keeps_to_what_is_reckoned() -> None:
    assert work.RESERVE == RESERVE_MS / 1000
    assert work.LONGEST_CALL == sending.SEND_LIMIT_MS / 1000
    assert mornings.RECIPIENTS == daily_digest.RECIPIENTS_PER_MESSAGE
    assert mornings.MOST_A_CALL == ses.MAX_RECIPIENTS
    assert paths.FIRST_RATE == backups.FIRST_RATE / 1e9
    assert paths.VERIFICATION == backups.VERIFICATION
    assert Rule.max_rows == paths.MAX_ROWS
    assert (Source.max_pages, Source.max_bytes) == (paths.MAX_PAGES, paths.MAX_OCTETS)


def test_what_is_measured_is_reckoned_with_as_the_bench_has_it() -> None:
    measured = read_report(STORED)
    assert find(measured, "queue", "Nightshift", "a job", table=1) * 1e-6 == inputs.QUEUE_CPU
    assert find(measured, "digest", "100,000 readers", "readers") == inputs.LISTED_A_SECOND
    assert find(measured, "digest", "100,000 readers", "of our processor", table=3) * 1e-3 == inputs.MAIL_CPU
    assert reports.SIZES["users"][0] == inputs.REPORT_USERS == inputs.ACTIVITY_USERS
    # Between what would be a mistake in the unit, or in the row.
    assert 10e-6 < inputs.QUEUE_CPU < inputs.MAIL_CPU < inputs.READY_CPU < inputs.REPORT_CPU * 60
    assert inputs.SYNC_CPU < inputs.QUEUE_CPU * 10
    assert 1_000 < inputs.SWEPT_A_SECOND < 1e6
    assert inputs.ACTIVITY_CPU < inputs.REPORT_CPU


def test_the_share_of_a_processor_follows_memory_up_to_one() -> None:
    assert inputs.share(1769) == 1
    assert inputs.share(512) == pytest.approx(0.289, abs=0.001)
    assert inputs.share(10_240) == 1
