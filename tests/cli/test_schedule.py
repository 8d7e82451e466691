"""`nightshift schedule …`, `pause` and `resume`, as an operator runs them."""

import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from chalicelib.schema import pauses, runs
from nightshift.local.environment import isolated
from tests.shell import BASE, ROOT, Lambda, Shell, migrated

HOSTILE = "down \x1b[31mred\n[bold]not bold[/bold]"
ZONED = {"DAILY_DIGEST_SCHEDULE": "0 8 * * * Europe/Berlin"}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(environment=migrated(tmp_path, endpoint="http://127.0.0.1:1") | ZONED)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `schedule check` reads, to be written over."""
    shutil.copy(ROOT / "app.py", tmp_path)
    (tmp_path / ".chalice").mkdir()
    shutil.copy(ROOT / ".chalice" / "config.json", tmp_path / ".chalice")
    return tmp_path


def set_variable(project: Path, stage: str, **variables: str) -> None:
    path = project / ".chalice" / "config.json"
    document = json.loads(path.read_text())
    document["stages"][stage]["environment_variables"] |= variables
    path.write_text(json.dumps(document))


def ran(shell: Shell, **values: Any) -> None:
    fixed = {"id": "r", "task": "daily_digest", "trigger": "schedule", "attempt": 1, "failures": 0, "lease_until": 0}
    times = {"scheduled_for": 1_772_438_400_000, "started_at": 0, "request_id": "r"}
    shell.execute(insert(runs).values(**fixed | times | values))


def test_a_piped_list_has_a_line_for_each_task(shell: Shell) -> None:
    ran(shell, status="dead", error=HOSTILE)
    shell.tell("pause", "daily_digest", "--reason", HOSTILE)
    header, *lines = shell.tell("schedule", "list").splitlines()
    assert header.split()[:3] == ["task", "cron", "zone"]
    by_task = {line.split()[0]: line for line in lines}
    digest = by_task["daily_digest"]
    assert "0 8 * * *" in digest
    assert "Europe/Berlin  2026-03-02T08:00:00Z  dead" in digest
    assert ": down ·[31mred [bold]not bold[/bold]; down ·[31mred [bold]not bold[/bold]; At 08:00 every day; " in digest
    assert digest.count("08:00 (+0") == 3
    assert by_task["external_sync"].rstrip().endswith("Every 15 minutes")


def test_in_a_narrow_terminal_each_fire_has_its_line(shell: Shell) -> None:
    lines = [line.rstrip() for line in shell.see("schedule", "list", width=70).splitlines()]
    digest = lines.index(next(line for line in lines if line.startswith("daily_digest")))
    assert lines[digest + 1] == "    At 08:00 every day"
    assert [line[:4] for line in lines[digest + 2 : digest + 5]] == ["    "] * 3
    assert all(" 08:00 (+0" in line and "Z)" in line for line in lines[digest + 2 : digest + 5])


def test_in_a_terminal_in_which_no_row_fits_each_cell_has_its_line(shell: Shell) -> None:
    ran(shell, status="dead", error="SES is down")
    lines = [line.rstrip() for line in shell.see("schedule", "list", width=40).splitlines()]
    assert lines[:8] == [
        "daily_digest",
        "  cron      0 8 * * *",
        "  zone      Europe/Berlin",
        "  last run  2026-03-02T08:00:00Z",
        "  outcome   dead",
        "  schedule and next fires",
        "    SES is down",
        "    At 08:00 every day",
    ]
    assert max(map(len, lines)) <= 40


@pytest.mark.parametrize(("width", "is_block"), [(40, True), (60, False)])
def test_the_check_fits_in_a_terminal_of_any_width(width: int, is_block: bool) -> None:
    lines = [line.rstrip() for line in Shell(environment=BASE).see("schedule", "check", width=width).splitlines()]
    assert ("  EventBridge    cron(0 8 * * ? *)" in lines) == is_block
    assert ("    cron(0 8 * * ? *)" in lines) != is_block
    assert max(map(len, lines)) <= width


def test_the_list_as_json_is_whole(shell: Shell) -> None:
    told = {each["task"]: each for each in json.loads(shell.tell("schedule", "list", "--json"))}
    assert told["daily_digest"]["zone"] == "Europe/Berlin"
    assert len(told["daily_digest"]["next"]) == 3


def test_the_next_fires_are_told_without_any_settings() -> None:
    shell = Shell(environment=isolated(BASE) | ZONED)
    words, *fires = shell.tell("schedule", "next", "daily_digest", "-n", "20").splitlines()
    assert words == "At 08:00 every day, Europe/Berlin"
    assert len(fires) == 20
    told = json.loads(shell.tell("schedule", "next", "daily_digest", "-n", "2", "--json"))
    moments = [datetime.fromisoformat(fire["local"]) for fire in told["next"]]
    assert [(moment.hour, moment.minute) for moment in moments] == [(8, 0)] * 2
    assert [datetime.fromisoformat(fire["at"]) for fire in told["next"]] == moments
    assert shell.tell("schedule", "next", "external_sync") == "Every 15 minutes, starting at its deployment\n"


def test_a_task_is_paused_and_resumed_by_itself_or_with_all(shell: Shell) -> None:
    assert shell.tell("pause", "daily_digest", "--reason", "SES is down") == "Paused daily_digest.\n"
    assert json.loads(shell.tell("pause", "--all", "--reason", HOSTILE, "--json")) == {"paused": "*"}
    assert {row.name: row.reason for row in shell.execute(select(pauses))} == {
        "daily_digest": "SES is down",
        "*": HOSTILE,
    }
    resumed = shell.tell("resume", "daily_digest").splitlines()
    assert resumed == ["Resumed daily_digest.", "Still paused: every task: down ·[31mred [bold]not bold[/bold]"]
    assert json.loads(shell.tell("resume", "--all", "--json")) == {"resumed": "*", "paused": {}}
    assert shell.tell("resume", "daily_digest") == "Not paused: daily_digest.\n"
    assert shell.tell("resume", "--all") == "Not paused: every task.\n"


def test_resuming_all_tells_which_are_paused_by_themselves(shell: Shell) -> None:
    shell.tell("pause", "daily_digest", "--reason", "SES is down")
    shell.tell("pause", "--all", "--reason", "x")
    assert shell.tell("resume", "--all").splitlines() == [
        "Resumed every task.",
        "Still paused: daily_digest: SES is down",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["pause", "daily_digets\x1b[31m", "--reason", "x"],
            "there is no task 'daily_digets\\x1b[31m'; did you mean daily_digest?",
        ),
        (["resume", "daily_digets"], "there is no task 'daily_digets'; did you mean daily_digest?"),
        (["schedule", "next", "daily_digets"], "there is no task 'daily_digets'; did you mean daily_digest?"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    assert shell.complaint(*arguments).startswith(sentence)
    assert shell.execute(select(pauses)) == []


@pytest.mark.parametrize(
    "arguments", [["pause", "--reason", "x"], ["pause", "daily_digest", "--all", "--reason", "x"], ["resume"]]
)
def test_one_task_must_be_named_or_all(shell: Shell, arguments: list[str]) -> None:
    assert shell.complaint(*arguments, code=2) == "name one task, or use --all for every task"


@pytest.mark.parametrize(
    ("reason", "complaint"),
    [
        ("", "it is empty; say why you pause it"),
        ("  ", "it is empty; say why you pause it"),
        (501 * "x", "it has 501 characters; at most 500 are allowed"),
    ],
)
def test_a_pause_without_a_reason_or_with_too_long_a_one_is_refused(shell: Shell, reason: str, complaint: str) -> None:
    done = shell.run("pause", "daily_digest", "--reason", reason, COLUMNS="200")
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert shell.execute(select(pauses)) == []


@pytest.mark.parametrize("command", [["schedule", "list"], ["deploy"]])
def test_a_stage_without_a_name_is_refused(shell: Shell, command: list[str]) -> None:
    done = shell.run(*command, "--stage", "", COLUMNS="200")
    assert (done.returncode, done.stdout) == (2, "")
    assert "it is empty; name a stage of .chalice/config.json" in done.stderr


def test_schedules_and_runs_need_no_more_than_their_database(shell: Shell) -> None:
    alone = Shell(environment=isolated(BASE) | {"DATABASE_URL": shell.environment["DATABASE_URL"]})
    alone.tell("pause", "daily_digest", "--reason", "a move")
    assert "a move" in alone.tell("schedule", "list")
    assert alone.tell("resume", "daily_digest")
    assert alone.tell("runs", "list") == "No runs match.\n"


def test_without_settings_a_sentence_says_which_are_missing() -> None:
    complaint = Shell(environment=isolated(BASE)).complaint("pause", "--all", "--reason", "x")
    assert complaint.startswith("no stage and no database: name a stage")


def test_a_schedule_of_this_shell_that_is_wrong_is_a_sentence(shell: Shell) -> None:
    complaint = shell.complaint("schedule", "next", "daily_digest", DAILY_DIGEST_SCHEDULE="61 * * * *")
    assert "DAILY_DIGEST_SCHEDULE" in complaint
    assert "'61' is not a valid minute" in complaint


def test_the_check_tells_each_schedule_and_succeeds(project: Path) -> None:
    set_variable(project, "dev", **ZONED)
    shell = Shell(environment=isolated(BASE), folder=project)
    lines = [line.split() for line in shell.tell("schedule", "check").splitlines()]
    assert ["daily_digest", "app.py", "0", "8", "*", "*", "*", "0", "cron(0", "8", "*", "*", "?", "*)"] in lines
    assert [line for line in lines if line[:2] == ["daily_digest", "dev"]]
    only_prod = shell.tell("schedule", "check", "--stage", "prod")
    assert " dev " not in only_prod


def test_a_bad_schedule_makes_the_check_fail_with_all_of_the_others_told(project: Path) -> None:
    set_variable(project, "prod", MONTHLY_REPORT_SCHEDULE="0 0 31 2 *")
    shell = Shell(environment=isolated(BASE), folder=project)
    done = shell.run("schedule", "check", COLUMNS="200")
    assert (done.returncode, done.stderr) == (1, "")
    (bad,) = (line for line in done.stdout.splitlines() if "✗" in line)
    assert bad.split()[:2] == ["monthly_report", "prod"]
    assert bad.endswith("day of month 31 never occurs in month 2")
    assert "external_sync" in done.stdout
    as_json = shell.run("schedule", "check", "--json")
    assert as_json.returncode == 1
    assert [each["stage"] for each in json.loads(as_json.stdout) if each["error"]] == ["prod"]
    assert shell.run("schedule", "check", "--stage", "dev").returncode == 0


@pytest.mark.parametrize("missing", ["app.py", ".chalice/config.json"])
def test_a_check_outside_of_a_project_is_a_sentence(project: Path, missing: str) -> None:
    (project / missing).unlink()
    complaint = Shell(environment=isolated(BASE), folder=project).complaint("schedule", "check")
    assert "cannot be read" in complaint


def test_with_a_stage_its_function_is_asked() -> None:
    fire = {"at": "2026-03-30T06:00:00Z", "local": "2026-03-30T08:00:00+02:00"}
    told = {"task": "daily_digest", "schedule": "x", "cron": "0 8 * * *", "zone": "Europe/Berlin", "words": "At 08:00"}
    task = {**told, "paused": None, "latest": None, "next": [fire]}
    lambda_ = Lambda(json.dumps({"tasks": [task]}).encode())
    with lambda_.serve() as shell:
        assert shell.tell("schedule", "next", "daily_digest", "--stage", "prod").splitlines() == [
            "At 08:00, Europe/Berlin",
            "Mon 2026-03-30 08:00 (+0200 = 2026-03-30T06:00:00Z)",
        ]
        assert "did you mean daily_digest?" in shell.complaint("schedule", "next", "daily_digets", "--stage", "prod")
    path = "/2015-03-31/functions/nightshift-prod-look/invocations"
    assert lambda_.asked == [(path, {"command": "schedule.list", "count": 5})] * 2


def test_a_pause_in_a_stage_is_asked_of_its_function() -> None:
    lambda_ = Lambda(json.dumps({"paused": "*"}).encode())
    with lambda_.serve() as shell:
        assert shell.tell("pause", "--all", "--reason", "moving", "--stage", "prod") == "Paused every task.\n"
    assert [request for _, request in lambda_.asked] == [{"command": "schedule.pause", "task": "*", "reason": "moving"}]
