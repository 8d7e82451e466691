"""`nightshift runs …`, `run` and `backfill`, as an operator runs them."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from chalicelib.schema import jobs, runs
from nightshift.local.environment import isolated
from tests.shell import BASE, Lambda, Shell, migrated

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
HOSTILE = "it broke \x1b[31mred\n[bold]not bold[/bold]"
ZONED = {"RECORD_ACTIVITY_SCHEDULE": "5 0 * * * Europe/Berlin"}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(environment=migrated(tmp_path, endpoint="http://127.0.0.1:1") | ZONED)


def add(shell: Shell, **values: Any) -> None:
    fixed = {"id": ID, "task": "record_activity", "trigger": "schedule", "status": "succeeded", "attempt": 1}
    times = {"scheduled_for": 1_772_438_400_000, "started_at": 0, "lease_until": 0, "request_id": "r", "failures": 0}
    shell.execute(insert(runs).values(**fixed | times | values))


def history(shell: Shell) -> list[tuple[int, str]]:
    return [(row.scheduled_for, row.status) for row in shell.execute(select(runs))]


def outcome(shell: Shell, *arguments: str) -> tuple[int, str]:
    """Run a task and return how the command ended and what it printed; the log is beside it."""
    done = shell.run("run", *arguments)
    assert all(line.startswith(("{", "nightshift: ")) for line in done.stderr.splitlines())
    return done.returncode, done.stdout


def test_runs_are_listed_with_what_became_of_them(shell: Shell) -> None:
    add(shell, succeeded=7, skipped=2)
    add(shell, id="b", scheduled_for=1_772_438_460_000, status="dead", error=HOSTILE, failed=1)
    header, first, second = (line.rstrip() for line in shell.tell("runs", "list").splitlines())
    assert header.split() == ["id", "task", "scheduled_for", "status", "attempt", "result"]
    assert first.split()[:5] == ["b", "record_activity", "2026-03-02T08:01:00Z", "dead", "1"]
    assert first.endswith("1 failed; it broke ·[31mred [bold]not bold[/bold]")
    assert second.startswith(ID)
    assert second.endswith("7 succeeded, 2 skipped")
    (only,) = json.loads(shell.tell("runs", "list", "--status", "dead", "--task", "record_activity", "--json"))
    assert (only["id"], only["error"]) == ("b", HOSTILE)
    assert shell.tell("runs", "list", "--status", "running") == "No runs match.\n"


def test_in_a_narrow_terminal_each_run_is_a_block_that_begins_with_its_id(shell: Shell) -> None:
    add(shell, succeeded=7, error="it broke")
    assert [line.rstrip() for line in shell.see("runs", "list", width=40).splitlines()] == [
        ID,
        "  task           record_activity",
        "  scheduled_for  2026-03-02T08:00:00Z",
        "  status         succeeded",
        "  attempt        1",
        "  result         7 succeeded",
        "                 it broke",
    ]


def test_a_run_is_shown_whole(shell: Shell) -> None:
    add(shell, error=HOSTILE, options='{"month": "2026-02"}')
    shown = dict(line.split(maxsplit=1) for line in shell.tell("runs", "show", ID).splitlines())
    assert (shown["id"], shown["status"], shown["options"]) == (ID, "succeeded", '{"month": "2026-02"}')
    assert shown["error"] == "it broke ·[31mred [bold]not bold[/bold]"
    assert "checkpoint" not in shown
    assert json.loads(shell.tell("runs", "show", ID, "--json"))["error"] == HOSTILE


def test_a_task_is_run_for_a_moment_by_its_own_clock_and_once(shell: Shell) -> None:
    code, printed = outcome(shell, "record_activity", "--for", "2026-03-02T00:05")
    assert (code, printed.split(" in ")[0]) == (0, "record_activity succeeded for 2026-03-01T23:05:00Z")
    assert history(shell) == [(1_772_406_300_000, "succeeded")]
    code, printed = outcome(shell, "record_activity", "--for", "2026-03-01T23:05:00Z")
    assert code == 3
    assert "record_activity skipped" in printed
    assert ": run " in printed


def test_a_dry_run_records_nothing(shell: Shell) -> None:
    code, printed = outcome(shell, "record_activity", "--dry-run", "--json")
    summary = json.loads(printed)
    assert (code, summary["outcome"], summary["dry_run"]) == (0, "succeeded", True)
    assert history(shell) == []


def test_options_are_json_or_else_text(shell: Shell) -> None:
    code, printed = outcome(shell, "monthly_report", "--option", "month=2026-02", "--option", "mail=false", "--dry-run")
    assert (code, printed.split()[:2]) == (0, ["monthly_report", "succeeded"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["record_activity", "--option", "x=1"], "record_activity dead: unknown key 'x' in the payload"),
        (["record_activty"], "there is no task 'record_activty'; did you mean record_activity?"),
        (["dispatch"], "there is no task 'dispatch'"),
    ],
)
def test_a_run_that_fails_exits_with_1_and_a_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    done = shell.run("run", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("nightshift: ")
    assert sentence in done.stderr.splitlines()[-1]
    assert history(shell) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--for", "2026-03-29T02:30"], "2026-03-29T02:30 does not exist in Europe/Berlin: a clock change skips it"),
        (["--for", "yesterday"], "'yesterday' is not a time: use"),
        (["--option", "x"], "--option x is invalid: use KEY=VALUE"),
        (["--option", "dry_run=true"], "--option dry_run=true is invalid: use --for or --dry-run"),
        (["--option", "x=1", "--option", "x=2"], "--option x=2 is invalid: use KEY=VALUE, and each key once"),
    ],
)
def test_what_makes_no_sense_exits_with_2_and_a_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    assert shell.complaint("run", "record_activity", *arguments, code=2).startswith(sentence)
    assert history(shell) == []


def test_a_run_that_is_given_up_exits_with_1_and_its_reason(shell: Shell) -> None:
    done = shell.run("run", "monthly_report", "--option", "mail=maybe")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Expected `bool | null`, got `str` - at `$.mail`" in done.stderr.splitlines()[-1]
    assert [status for _, status in history(shell)] == ["dead"]


def test_a_period_is_made_up_for_by_whole_days_of_the_tasks_clock(shell: Shell) -> None:
    period = ("--from", "2026-03-01", "--to", "2026-03-03")
    told = shell.tell("backfill", "record_activity", *period, "--dry-run").splitlines()
    fires = ["2026-02-28T23:05:00Z", "2026-03-01T23:05:00Z", "2026-03-02T23:05:00Z"]
    assert told == ["Would enqueue 3 runs of record_activity.", *fires]
    assert shell.execute(select(jobs)) == []
    assert shell.tell("backfill", "record_activity", *period).splitlines() == [
        "Enqueued 3 runs of record_activity.",
        *fires,
    ]
    data = [json.loads(row.data) for row in shell.execute(select(jobs))]
    assert sorted(each["scheduled_for"] for each in data) == fires
    answer = json.loads(shell.tell("backfill", "record_activity", *period, "--json"))
    assert answer == {"task": "record_activity", "enqueued": fires}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["record_activity", "--from", "2020-01-01", "--to", "2026-01-01"], "more than 400 fires of record_activity"),
        (
            ["record_activity", "--from", "2026-01-02", "--to", "2026-01-01"],
            "the first moment must be before the last",
        ),
        (["external_sync", "--from", "2026-01-01", "--to", "2026-01-01"], "external_sync runs at an interval"),
        (["record_activty", "--from", "2026-01-01", "--to", "2026-01-01"], "did you mean record_activity?"),
    ],
)
def test_a_period_that_cannot_be_made_up_for_is_a_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    assert sentence in shell.complaint("backfill", *arguments)
    assert shell.execute(select(jobs)) == []


SCHEDULES = json.dumps({"tasks": [{"task": "daily_digest", "zone": "Europe/Berlin"}]}).encode()
SUMMARY = {
    "task": "daily_digest",
    "outcome": "succeeded",
    "scheduled_for": "2026-03-01T07:00:00Z",
    "duration_ms": 1240,
    **dict.fromkeys(("total", "succeeded", "failed", "skipped"), 0),
}


def in_a_stage(answer: Any, **headers: str) -> Lambda:
    """Return a deployment whose digest answers so."""
    return Lambda(json.dumps(answer).encode(), headers, others={"nightshift-prod-look": SCHEDULES})


def test_in_a_stage_the_tasks_own_function_runs_by_the_clock_of_the_deployment() -> None:
    deployed = in_a_stage(SUMMARY)
    with deployed.serve() as shell:
        told = shell.tell("run", "daily_digest", "--for", "2026-03-01T08:00", "--dry-run", "--stage", "prod")
    assert told.startswith("daily_digest succeeded for 2026-03-01T07:00:00Z in 1.2 s")
    _, (path, request) = deployed.asked
    assert path == "/2015-03-31/functions/nightshift-prod-daily_digest/invocations"
    assert request == {"scheduled_for": "2026-03-01T07:00:00+00:00", "dry_run": True}


@pytest.mark.parametrize(
    ("answer", "code", "printed"),
    [
        (SUMMARY | {"outcome": "skipped", "reason": "it was\x1b[2J done"}, 3, "skipped): it was·[2J done"),
        ({"task": "daily_digest", "run_id": ID, "continues": True}, 0, f"continues on the worker. Its run is {ID}."),
    ],
)
def test_the_exit_code_tells_the_outcome(answer: Any, code: int, printed: str) -> None:
    with in_a_stage(answer).serve() as shell:
        done = shell.run("run", "daily_digest", "--stage", "prod")
    assert (done.returncode, done.stderr) == (code, "")
    assert printed in done.stdout


def test_a_run_that_fails_in_a_stage_is_asked_for_once_and_its_sentence_told() -> None:
    failed = {"errorMessage": "daily_digest failed: SES is down", "errorType": "RunFailedError"}
    deployed = in_a_stage(failed, **{"X-Amz-Function-Error": "Unhandled"})
    with deployed.serve() as shell:
        complaint = shell.complaint("run", "daily_digest", "--stage", "prod")
    assert complaint == "daily_digest failed: SES is down"
    assert len(deployed.asked) == 2


def test_a_run_that_lambda_has_trouble_with_is_not_asked_for_again() -> None:
    # It may have begun all the same.
    deployed = Lambda(b"{}", status=500, others={"nightshift-prod-look": SCHEDULES})
    with deployed.serve() as shell:
        complaint = shell.complaint("run", "daily_digest", "--stage", "prod", AWS_MAX_ATTEMPTS="5")
    assert complaint.startswith("nightshift-prod-daily_digest cannot be invoked: ")
    assert len(deployed.asked) == 2


def test_a_task_that_the_stage_does_not_have_is_not_asked_for() -> None:
    deployed = in_a_stage(SUMMARY)
    with deployed.serve() as shell:
        assert "there is no task 'dispatch'" in shell.complaint("run", "dispatch", "--stage", "prod")
    assert len(deployed.asked) == 1


def test_without_settings_a_sentence_says_which_are_missing() -> None:
    nothing = Shell(environment=isolated(BASE))
    for arguments in (
        ["backfill", "daily_digest", "--from", "2026-02-01", "--to", "2026-02-02"],
        ["run", "record_activity"],
    ):
        assert nothing.complaint(*arguments).startswith("no stage and no database: name a stage")
