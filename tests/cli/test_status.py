"""`nightshift status` as an operator runs it: in a process of its own, on a file and an emulator."""

import json
import re
import urllib.error
import urllib.request
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert
from sqlalchemy.pool import NullPool

from chalicelib.schema import jobs, pauses
from nightshift.demo.history import fill_history
from nightshift.local.aws import LocalAws
from nightshift.local.environment import isolated, local_environment
from tests.shell import BASE, Lambda, Shell, migrated

HOSTILE = "TransientError: \x1b]0;owned\x07\x1b[2J\x1b[31mred\r\n[bold]not bold[/bold] :bug: \u202egnp.exe\x9b1m\nlast"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


@pytest.fixture
def shell(aws: LocalAws, tmp_path: Path) -> Shell:
    return Shell(environment=migrated(tmp_path, endpoint=aws.endpoint))


def fill(shell: Shell, *, is_well: bool) -> None:
    """Give the shell's database a month of history up to now."""
    engine = create_engine(shell.environment["DATABASE_URL"], poolclass=NullPool)
    planned = import_module("app").app.schedules
    with engine.begin() as connection:
        fill_history(connection, planned, now=datetime.now(UTC), seed=1, is_well=is_well)


def give_up(shell: Shell, **changed: Any) -> None:
    row = {"id": "dead", "type": "send_email", "data": "{}", "status": "dead", "created_at": 1, "ended_at": 1}
    shell.execute(insert(jobs).values(**row | changed))


def unwell(shell: Shell, *arguments: str) -> str:
    """Run `nightshift status` where something is not well, and return what it prints."""
    done = shell.run("status", *arguments)
    assert (done.returncode, done.stderr) == (4, "")
    return done.stdout


def test_when_all_is_well_it_says_so_and_succeeds(shell: Shell) -> None:
    fill(shell, is_well=True)
    told = shell.tell("status").splitlines()
    assert told[0] == "✓ All is well."
    assert re.fullmatch(r"  nightshift, \d+ \w{3} \d\d:\d\d UTC", told[1])
    (strip,) = [line.split()[1] for line in told if line.startswith("database_cleanup ")]
    assert len(strip) == 30
    assert set(strip) <= set("■▶·")


def test_what_is_not_well_comes_first_and_makes_it_exit_with_four(shell: Shell) -> None:
    fill(shell, is_well=False)
    lines = unwell(shell).splitlines()
    # How many, the hour says: what is due today has perhaps not come yet.
    assert re.match(r"✗ (Not well: |\d things are not well\. First: )\S", lines[0])
    assert any(re.fullmatch(r"work +\d+ +\d+ +\d+ +41 +3 +\d (min|s)", line.rstrip()) for line in lines)
    dead = [line for line in lines if line.startswith("dead ")]
    assert len(dead) == 3
    assert "send_email, 10 attempts: ThrottledError: SES asks for a slower pace" in dead[1]
    assert any(line.startswith("paused    database_cleanup since ") for line in lines)
    assert any(re.match(r"backup    newest verified: \d+ \w+ 01:00, \d+ (h|min) ago", line) for line in lines)


def test_a_deployment_without_history_is_told_too(shell: Shell) -> None:
    told = shell.tell("status")
    assert told.startswith("✓ Nothing has run yet, and nothing is wrong.\n")
    assert "not run yet" in told
    assert "backup    none verified" in told


def test_nothing_that_a_terminal_obeys_is_printed(shell: Shell) -> None:
    give_up(shell, id="\x1b[31m" + "i" * 30, type="[red]\x07", last_error=HOSTILE, queue="\x1b[2J")
    shell.execute(insert(pauses).values(kind="job", name="\x1b]0;x\x07", reason=HOSTILE, paused_at=1))
    told = unwell(shell)
    assert not CONTROL.search(told)
    assert "TransientError: ·]0;owned··[2J·[31mred [bold]not bold[/bold] :bug: ·gnp.exe·1m last" in told


@pytest.mark.parametrize(("width", "days"), [(40, 30), (60, 30), (80, 30), (90, 10), (120, 30)])
def test_a_terminal_of_any_width_shows_every_task_and_as_many_days_as_fit(shell: Shell, width: int, days: int) -> None:
    fill(shell, is_well=True)
    seen = re.sub(r"\x1b\[[0-9;]*m", "", shell.see("status", width=width))
    lines = [line.rstrip() for line in seen.splitlines()]
    for task in import_module("app").app.schedules:
        assert any(line.split()[:1] == [task] for line in lines)
    assert max(map(len, lines)) <= width
    strips = [found for line in lines for found in re.findall(r"[■□▪▶FD·]{10,}", line)]
    assert {len(strip) for strip in strips} == {days}
    assert len(strips) == len(import_module("app").app.schedules)


def test_as_json_it_is_the_whole_answer(shell: Shell) -> None:
    give_up(shell)
    answer = json.loads(unwell(shell, "--json"))
    assert (answer["is_well"], answer["queue"]["dead"][0]["id"]) == (False, "dead")


def test_the_link_alone_is_printed_and_opens_the_page(shell: Shell) -> None:
    (link,) = shell.tell("status", "--open").splitlines()
    with urllib.request.urlopen(link) as response:
        assert "Nothing has run yet" in response.read().decode()


def test_with_a_stage_its_function_is_asked(shell: Shell) -> None:
    answer = shell.tell("status", "--json")
    lambda_ = Lambda(answer.encode())
    with lambda_.serve() as there:
        assert there.tell("status", "--stage", "prod").startswith("✓ Nothing has run yet, and nothing is wrong.\n")
    assert lambda_.asked == [("/2015-03-31/functions/nightshift-prod-look/invocations", {"command": "status"})]


def test_an_answer_of_another_version_is_a_sentence() -> None:
    with Lambda(b'{"is_well": true, "tasks": []}').serve() as there:
        complaint = there.complaint("status", "--stage", "prod")
    assert complaint.startswith("CLI and deployment versions differ: redeploy (")


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    nothing = Shell(environment=isolated(BASE))
    assert nothing.complaint("status", "--open").startswith("no stage and no database: name a stage")
    unmigrated = Shell(environment=local_environment(BASE, endpoint="http://127.0.0.1:1", folder=tmp_path))
    sentence = "the database says: no such table: pauses; bring it to the newest schema with nightshift migrate"
    assert unmigrated.complaint("status") == sentence
