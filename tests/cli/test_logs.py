"""`nightshift logs` as an operator runs it, on logs that an emulator keeps."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import IOBase
from pathlib import Path
from typing import Any

import pytest

from nightshift.cli.logs import until_interrupted
from nightshift.local.aws import LocalAws
from nightshift.local.environment import isolated
from tests.cli.deployed import deploy_workers
from tests.logs.cloudwatch import CloudWatch
from tests.shell import BASE, NIGHTSHIFT, Lambda, Shell

RUN, OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
JOB, REQUEST = "16fd2706-8baf-433b-82eb-8c7fada847da", "1d3c4a5e-0000-4000-8000-000000000001"
WORKER = "1d3c4a5e-0000-4000-8000-000000000002"
SUMMARY = {"level": "INFO", "message": "run succeeded", "task": "daily_digest", "run_id": RUN, "request_id": REQUEST}
HOSTILE = {"level": "ERROR", "message": "run failed", "error": "\x1b]0;owned\x07\x1b[2J [bold]not bold[/bold] :bug:"}
STAGE = ("--stage", "prod")


@dataclass(frozen=True, kw_only=True)
class LogsShell(Shell):
    """A shell in which AWS is an emulator."""

    cloudwatch: CloudWatch


@pytest.fixture
def shell(aws: LocalAws) -> LogsShell:
    environment = isolated(BASE) | {"AWS_ENDPOINT_URL": aws.endpoint, "AWS_MAX_ATTEMPTS": "1"}
    return LogsShell(environment=environment, group=("logs",), cloudwatch=CloudWatch(aws))


@pytest.fixture
def deployed(aws: LocalAws) -> None:
    deploy_workers(aws)


def told(printed: str) -> list[str]:
    """Return the lines without their moments."""
    return [line.partition("Z ")[2] or line for line in printed.splitlines()]


def test_a_functions_log_is_a_line_an_event_without_noise(shell: LogsShell) -> None:
    start, report = f"START RequestId: {REQUEST} Version: 1\n", f"REPORT RequestId: {REQUEST}\tDuration: 1234.00 ms\t"
    metrics: dict[str, Any] = {"_aws": {}, "run_succeeded": [1.0]}
    shell.cloudwatch.write("daily_digest", start, SUMMARY, metrics, report, ago=60)
    shell.cloudwatch.write("daily_digest", {**SUMMARY, "message": "run started"}, ago=2 * 3600)
    succeeded = f"INFO    run succeeded task=daily_digest run_id={RUN}"
    assert told(shell.tell("daily_digest", *STAGE)) == [
        succeeded,
        f"REPORT  ended after 1.2 s request_id={REQUEST}",
    ]
    started = succeeded.replace("succeeded", "started")
    assert told(shell.tell("daily_digest", "--since", "3h", *STAGE))[:2] == [started, succeeded]
    moment = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")
    assert told(shell.tell("daily_digest", "--since", moment, *STAGE))[:1] == [started]


def test_what_would_command_a_terminal_is_harmless_there_and_in_json(shell: LogsShell) -> None:
    shell.cloudwatch.write("work", HOSTILE)
    assert told(shell.tell("work", *STAGE)) == ["ERROR   run failed: error: ·]0;owned··[2J [bold]not bold[/bold] :bug:"]
    assert "\x1b" not in shell.see("work", *STAGE, width=200)
    printed = shell.tell("work", "--json", *STAGE)
    assert "\x1b" not in printed
    (line,) = map(json.loads, printed.splitlines())
    assert (line["function"], line["log"]) == ("work", HOSTILE)
    assert datetime.fromisoformat(line["at"]).utcoffset() == timedelta(0)


def test_where_nothing_was_logged_that_is_said_beside(shell: LogsShell) -> None:
    shell.cloudwatch.group("work")
    done = shell.run("work", *STAGE)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "nightshift: no log events in this period: look further back, for example with --since 3d\n"


def test_the_story_of_a_run_goes_through_every_function_and_leaves_out_what_others_did(shell: LogsShell) -> None:
    write = shell.cloudwatch.write
    handed_on = {"message": "run continues", "run_id": RUN, "request_id": REQUEST}
    write(
        "daily_digest", f"START RequestId: {REQUEST}\n", {"message": "begins", "request_id": REQUEST}, handed_on, ago=90
    )
    write("daily_digest", {"message": "run started", "run_id": OTHER, "request_id": "r"}, "printed", ago=80)
    write("watch", {"message": "run rescued", "run_id": RUN}, {"message": "run rescued", "run_id": OTHER}, ago=70)
    goes_on = {"message": "run started", "run_id": RUN, "job_id": JOB, "request_id": WORKER}
    beside = {"message": "job succeeded", "job_id": "another", "request_id": WORKER}
    ended = {"message": "job succeeded", "type": "continue_run", "job_id": JOB, "request_id": WORKER}
    killed = f"2026-03-02T08:00:01.234Z {WORKER} Task timed out after 300.00 seconds\n\n"
    write("work", goes_on, beside, ended, killed, ago=60)
    found = told(shell.tell("daily_digest", "--run", RUN, "--since", "1h", *STAGE))
    assert [line.split(" task=")[0].split(" run_id=")[0].strip() for line in found] == [
        "daily_digest: begins",
        "daily_digest: run continues",
        "watch: run rescued",
        "work: run started",
        f"work: job succeeded type=continue_run job_id={JOB}",
        f"ERROR   work: Task timed out after 300.00 seconds request_id={WORKER}",
    ]


def test_the_story_of_a_run_that_a_person_asked_for_is_in_what_made_it_with_what_ended_that(shell: LogsShell) -> None:
    write = shell.cloudwatch.write
    started = {**SUMMARY, "message": "run started"}
    killed = f"2026-03-02T08:00:01.234Z {REQUEST} Task timed out after 900.00 seconds\n\n"
    write("operate", started, {"level": "INFO", "message": "goes on", "request_id": REQUEST}, killed, ago=60)
    write("operate", {**started, "run_id": OTHER, "request_id": WORKER}, ago=50)
    assert told(shell.tell("daily_digest", "--run", RUN, "--since", "1h", *STAGE)) == [
        f"INFO    operate: run started task=daily_digest run_id={RUN}",
        "INFO    operate: goes on",
        f"ERROR   operate: Task timed out after 900.00 seconds request_id={REQUEST}",
    ]


def test_without_a_moment_a_runs_story_begins_when_the_deployment_says_that_it_did() -> None:
    run = {"task": "database_backup", "started_at": "2026-03-02T08:00:00Z"}
    with Lambda(json.dumps(run).encode()).serve("logs") as shell:
        complaint = shell.complaint("daily_digest", "--run", RUN, *STAGE)
    assert complaint == f"run {RUN} is a run of database_backup: nightshift logs database_backup --run {RUN}"


@contextmanager
def following(shell: LogsShell, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [str(NIGHTSHIFT), "logs", *arguments, "--follow", *STAGE]
    pipes: Mapping[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell has what it begins in the background ignore Ctrl-C, and all that this begins.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, cwd=shell.folder, env=shell.environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_following_goes_on_until_it_is_ended_and_ends_well(shell: LogsShell, ending: signal.Signals) -> None:
    shell.cloudwatch.write("daily_digest", "first", ago=5)
    with following(shell, "daily_digest") as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(" first\n")
        shell.cloudwatch.write("daily_digest", "late", ago=20)
        assert process.stdout.readline().endswith(" late\n")
        process.send_signal(ending)
        rest = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, ("", ""))


def test_following_a_run_tells_each_event_once(shell: LogsShell) -> None:
    shell.cloudwatch.write("daily_digest", {**SUMMARY, "message": "run started"}, ago=5)
    with following(shell, "daily_digest", "--run", RUN, "--since", "1h") as process:
        assert process.stdout is not None
        assert "run started" in process.stdout.readline()
        shell.cloudwatch.write("daily_digest", SUMMARY)
        assert "run succeeded" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=30) == ("", "")


class Response(IOBase):
    """What is told to end while Python finalizes it."""

    def close(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


# From 3.13 on, Python tells that it has dropped it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_end_that_python_drops_with_a_response_is_not_forgotten() -> None:
    before, reached = signal.getsignal(signal.SIGTERM), []
    with until_interrupted() as sleep:
        response = Response()
        del response
        reached.append("Python has dropped it")
        sleep(0)
        reached.append("it was forgotten")
    assert reached == ["Python has dropped it"]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["daily_digets", *STAGE], "unknown function 'daily_digets'; did you mean daily_digest?"),
        (["xyz\x1b[2J", *STAGE], "unknown function 'xyz\\x1b[2J'; there are daily_digest, "),
        (["work", "--run", 'a" b', "--since", "1h", *STAGE], "'a\" b' is not a run id"),
        (["work", *STAGE], "nightshift-prod-work is not deployed in us-east-1: nightshift deploy --stage prod"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(shell: LogsShell, arguments: list[str], sentence: str) -> None:
    assert shell.complaint(*arguments).startswith(sentence)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a stage with --stage"),
        (["--since", "1w", *STAGE], "--since '1w' is invalid: use 30s, 15m, 2h, 3d or a time such as 2026-02-01T09:00"),
        (["--since", "", *STAGE], "--since '' is invalid: use 30s, 15m, 2h, 3d or a time such as 2026-02-01T09:00"),
        (["--since", "2999-01-01", *STAGE], "--since 2999-01-01 is in the future"),
    ],
)
def test_what_makes_no_sense_exits_with_2_and_a_sentence(shell: LogsShell, arguments: list[str], sentence: str) -> None:
    assert shell.complaint("work", *arguments, code=2).startswith(sentence)


def test_a_function_that_is_deployed_and_has_no_log_has_not_run_yet(shell: LogsShell, deployed: None) -> None:
    sentence = "work has not run yet: the log group /aws/lambda/nightshift-prod-work does not exist"
    assert shell.complaint("work", *STAGE) == sentence
    assert shell.complaint("work", "--run", RUN, "--since", "1h", *STAGE) == sentence


def test_credentials_that_have_expired_are_a_sentence() -> None:
    refusal = b'{"__type": "ExpiredTokenException", "message": "The security token is expired"}'
    with Lambda(refusal, status=400).serve("logs") as shell:
        assert shell.complaint("work", *STAGE).startswith("the AWS credentials have expired: log in again")
        assert shell.complaint("work", "--follow", *STAGE).startswith("the AWS credentials have expired: log in again")


def test_outside_of_a_project_a_sentence_says_what_cannot_be_read(shell: LogsShell, tmp_path: Path) -> None:
    elsewhere = Shell(environment=shell.environment, folder=tmp_path, group=("logs",))
    assert "app.py cannot be read" in elsewhere.complaint("work", *STAGE)
