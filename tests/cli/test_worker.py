"""`nightshift worker …` as an operator runs it, on workers of an emulator."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from chalicelib.schema import jobs, pauses
from nightshift.deploy import workers
from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, PRIORITY_QUEUE, isolated
from tests.cli.deployed import answering, deploy_workers
from tests.shell import BASE, Shell, migrated

STAGE = ("--stage", "prod")
DEPTHS: list[dict[str, Any]] = [
    {"queue": "work", "waiting": 3, "held_back": 0, "in_work": 1, "oldest_due_at": "2026-03-02T08:00:00Z"},
    {"queue": "priority", "waiting": 0, "held_back": 2, "in_work": 0, "oldest_due_at": None},
]
PAUSES = [
    {"kind": "task", "name": "daily_digest", "reason": "not of jobs", "paused_at": "2026-03-02T07:00:00Z"},
    {"kind": "job", "name": "*", "reason": "moving\x1b[2J", "paused_at": "2026-03-02T08:00:00Z"},
    {"kind": "job", "name": "send_email", "reason": "SES is down", "paused_at": "2026-03-02T08:01:00Z"},
]
STATUS = {"status": {"queue": {"depths": DEPTHS}, "pauses": PAUSES}}


@pytest.fixture
def deployed(aws: LocalAws) -> LocalAws:
    deploy_workers(aws)
    return aws


@pytest.fixture
def shell(aws: LocalAws, tmp_path: Path) -> Shell:
    return Shell(environment=migrated(tmp_path, endpoint=aws.endpoint))


def limits(aws: LocalAws, queue: str = "work") -> tuple[int | None, int | None]:
    worker = workers.read(aws.client("lambda"), queue, "prod")
    return worker.limit, worker.reserved


def test_the_status_tells_of_each_queue_who_takes_from_it_and_what_waits(deployed: LocalAws) -> None:
    url = f"{deployed.endpoint}/{ACCOUNT}/{PRIORITY_QUEUE}"
    off = workers.read(deployed.client("lambda"), "priority", "prod")
    deployed.client("lambda").update_event_source_mapping(UUID=off.trigger_id, Enabled=False)
    deployed.client("sqs").send_message(QueueUrl=url, MessageBody="{}")
    deployed.client("sqs").send_message(QueueUrl=url, MessageBody="{}", DelaySeconds=900)
    with answering(deployed, STATUS) as (shell, asked):
        printed = shell.tell("worker", "status", *STAGE)
        whole = json.loads(shell.tell("worker", "status", "--json", *STAGE))
    head, work, priority, every, one = (line.split() for line in printed.splitlines())
    assert head[:4] == ["queue", "trigger", "at", "once"]
    assert work == ["work", "enabled", "5", "5", "0", "0", "0", "3", "0", "2026-03-02T08:00:00Z"]
    assert priority == ["priority", "disabled", "2", "2", "1", "1", "0", "0", "2", "–"]
    assert " ".join(every) == "Paused: every job since 2026-03-02T08:00:00Z: moving·[2J"
    assert " ".join(one) == "Paused: jobs of send_email since 2026-03-02T08:01:00Z: SES is down"
    assert asked == [{"command": "status"}] * 2
    assert whole["workers"]["priority"]["worker"]["state"] == "Disabled"
    assert whole["workers"]["priority"]["messages"] == {"waiting": 1, "delayed": 1, "in_work": 0}
    assert whole["pauses"] == PAUSES[1:]


def test_on_this_machine_the_status_tells_what_waits_and_is_paused(shell: Shell) -> None:
    row = {"id": "a", "type": "send_email", "data": "{}", "status": "pending", "created_at": 1_772_452_800_000}
    shell.execute(insert(jobs).values(**row))
    shell.execute(insert(pauses).values(kind="job", name="resize_image", reason="slow", paused_at=1_772_452_800_000))
    _, work, _, paused = (line.split() for line in shell.tell("worker", "status").splitlines())
    assert work == ["work", "local", *5 * ["–"], "1", "0", "2026-03-02T12:00:00Z"]
    assert " ".join(paused) == "Paused: jobs of resize_image since 2026-03-02T12:00:00Z: slow"


def test_in_a_narrow_terminal_each_queue_is_a_block_and_pauses_fold_at_words(shell: Shell) -> None:
    row = {"id": "a", "type": "send_email", "data": "{}", "status": "pending", "created_at": 1_772_452_800_000}
    shell.execute(insert(jobs).values(**row))
    shell.execute(insert(pauses).values(kind="job", name="resize_image", reason="slow", paused_at=1_772_452_800_000))
    lines = [line.rstrip() for line in shell.see("worker", "status", width=40).splitlines()]
    assert lines[:2] == ["work", "  trigger   local"]
    assert lines[9] == "  oldest    2026-03-02T12:00:00Z"
    assert lines[10] == "priority"
    assert lines[-2:] == ["Paused: jobs of resize_image since", "2026-03-02T12:00:00Z: slow"]


@pytest.mark.parametrize("limit", [2, 3, 20, 1000])
def test_scaling_sets_what_is_taken_and_what_is_reserved_alike_and_says_what_keeps_it(
    deployed: LocalAws, limit: int
) -> None:
    with answering(deployed, {}) as (shell, _):
        printed = shell.tell("worker", "scale", str(limit), *STAGE)
    assert limits(deployed) == (limit, limit)
    assert limits(deployed, "priority") == (2, 2)
    assert printed.splitlines() == [
        f"nightshift-prod-work: {limit} batches at once, reserved {limit} (was 5).",
        "The next deployment resets this. To keep it, set "
        f'maximum_concurrency={limit} at work in app.py and "reserved_concurrency": {limit} for it in '
        ".chalice/config.json.",
    ]


def test_the_priority_queue_is_scaled_by_its_name(deployed: LocalAws) -> None:
    with answering(deployed, {}) as (shell, _):
        answer = json.loads(shell.tell("worker", "scale", "7", "--queue", "priority", "--json", *STAGE))
    assert (limits(deployed), limits(deployed, "priority")) == ((5, 5), (7, 7))
    assert [answer[key]["limit"] for key in ("before", "after")] == [2, 7]


def test_where_nothing_is_reserved_nothing_becomes_so(deployed: LocalAws) -> None:
    deployed.client("lambda").delete_function_concurrency(FunctionName="nightshift-prod-work")
    with answering(deployed, {}) as (shell, _):
        printed = shell.tell("worker", "scale", "9", *STAGE)
    assert limits(deployed) == (9, None)
    assert "reserved none" in printed
    assert "reserved_concurrency" not in printed


class Refusing:
    """Lambda, of which one call fails, and each is noted."""

    def __init__(self, awslambda: Any, refused: str) -> None:
        self._lambda, self._refused = awslambda, refused
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.called.append(name)
        if name == self._refused:
            raise ValueError("refused")
        found: Callable[..., Any] = getattr(self._lambda, name)
        return found


@pytest.mark.parametrize("refused", ["put_function_concurrency", "update_event_source_mapping"])
@pytest.mark.parametrize("limit", [3, 9])
def test_a_scaling_that_breaks_off_never_takes_more_than_is_reserved(
    deployed: LocalAws, refused: str, limit: int
) -> None:
    worker = workers.read(deployed.client("lambda"), "work", "prod")
    with pytest.raises(ValueError, match="refused"):
        workers.scale(Refusing(deployed.client("lambda"), refused), worker, limit)
    taken, reserved = limits(deployed)
    assert taken is not None
    assert reserved is not None
    assert taken <= reserved
    workers.scale(deployed.client("lambda"), worker, limit)
    assert limits(deployed) == (limit, limit)


def test_every_job_is_paused_and_resumed_here(shell: Shell) -> None:
    assert shell.tell("worker", "pause", "--reason", "the database moves") == "Paused every job.\n"
    assert [(row.kind, row.name, row.reason) for row in shell.execute(select(pauses))] == [
        ("job", "*", "the database moves")
    ]
    shell.tell("jobs", "pause", "send_email", "--reason", "SES is\x1b[2J down")
    still = "Still paused: send_email: SES is·[2J down\n"
    assert shell.tell("worker", "resume") == f"Resumed every job.\n{still}"
    assert shell.tell("worker", "resume") == f"Not paused: every job.\n{still}"
    assert "paused    jobs of send_email since" in shell.run("status").stdout


def test_the_pause_of_every_job_is_told_by_the_status(shell: Shell) -> None:
    shell.tell("worker", "pause", "--reason", "the database moves")
    told = [line for line in shell.run("status").stdout.splitlines() if line.startswith("paused ")]
    assert [line.split(" since ")[0] for line in told] == ["paused    every job"]


def test_a_stages_function_is_asked_to_pause_and_to_resume(aws: LocalAws) -> None:
    answers = {"jobs.pause": {"paused": "*"}, "jobs.resume": {"resumed": "*", "paused": {}}}
    with answering(aws, answers) as (shell, asked):
        assert shell.tell("worker", "pause", "--reason", "moving", *STAGE) == "Paused every job.\n"
        assert shell.tell("worker", "resume", *STAGE) == "Resumed every job.\n"
    assert asked == [
        {"command": "jobs.pause", "type": "*", "reason": "moving"},
        {"command": "jobs.resume", "type": "*"},
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["scale", "5", *STAGE], "nightshift-prod-work is not deployed in us-east-1: nightshift deploy --stage prod"),
        (["status", *STAGE], "nightshift-prod-work is not deployed in us-east-1: nightshift deploy --stage prod"),
        (["pause", "--reason", "x"], "no stage and no database: name a stage"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(aws: LocalAws, arguments: list[str], sentence: str) -> None:
    shell = Shell(environment=isolated(BASE) | {"AWS_ENDPOINT_URL": aws.endpoint})
    assert shell.complaint("worker", *arguments).startswith(sentence)


def test_only_a_deployment_has_workers_to_scale() -> None:
    sentence = "name a stage with --stage: this machine has no workers to scale"
    assert Shell(environment=isolated(BASE)).complaint("worker", "scale", "5", code=2) == sentence


def test_a_worker_whose_trigger_is_gone_is_a_sentence(deployed: LocalAws) -> None:
    awslambda = deployed.client("lambda")
    awslambda.delete_event_source_mapping(UUID=workers.read(awslambda, "work", "prod").trigger_id)
    with pytest.raises(ValueError, match="nightshift-prod-work has no trigger that takes messages for it"):
        workers.read(awslambda, "work", "prod")


@pytest.mark.parametrize("limit", ["1", "1001", "many"])
def test_a_number_that_lambda_would_refuse_is_refused_before(limit: str) -> None:
    done = Shell(environment=isolated(BASE)).run("worker", "scale", limit, *STAGE)
    assert (done.returncode, done.stdout) == (2, "")
