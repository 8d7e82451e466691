"""`nightshift enqueue` as an operator runs it, on a database file and an emulator."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from chalicelib.schema import jobs
from nightshift.local.aws import LocalAws
from tests import forked
from tests.shell import NIGHTSHIFT, Lambda, Shell, migrated, nightshift

MAIL = '{"to": "ann@example.org", "subject": "Hello", "text": "Hello."}'


@pytest.fixture
def shell(aws: LocalAws, tmp_path: Path) -> Shell:
    return Shell(environment=migrated(tmp_path, endpoint=aws.endpoint), group=("enqueue",))


def waiting(aws: LocalAws, shell: Shell, setting: str = "WORK_QUEUE_URL") -> int:
    url, names = shell.environment[setting], ["ApproximateNumberOfMessages"]
    return int(aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"][names[0]])


def test_a_job_is_enqueued_and_its_id_printed(aws: LocalAws, shell: Shell) -> None:
    printed = shell.tell("send_email", "--data", MAIL)
    (row,) = shell.execute(select(jobs))
    assert printed == f"Enqueued {row.id}.\n"
    assert (row.type, json.loads(row.data), row.status, row.queue) == (
        "send_email",
        json.loads(MAIL),
        "pending",
        "work",
    )
    assert waiting(aws, shell) == 1


def test_data_may_be_in_a_file_or_come_from_standard_input(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "mail.json"
    file.write_text(MAIL.replace("Hello.", "Grüße"), encoding="utf-8")
    shell.tell("send_email", "--data", f"@{file}")
    command, typed = ("enqueue", "send_email", "--data", "-"), file.read_text(encoding="utf-8")
    assert forked.run(nightshift, *command, environment=shell.environment, typed=typed).returncode == 0
    assert [json.loads(row.data)["text"] for row in shell.execute(select(jobs))] == ["Grüße", "Grüße"]


def test_a_job_has_the_moment_the_key_and_the_queue_that_it_is_given(aws: LocalAws, shell: Shell) -> None:
    more = ("--run-at", "2999-12-01T09:00", "--key", "welcome 7", "--priority")
    answer = json.loads(shell.tell("send_email", "--data", MAIL, *more, "--json"))
    (row,) = shell.execute(select(jobs))
    assert (answer, row.queue) == ({"id": row.id, "is_new": True}, "priority")
    assert (row.due_at, row.idempotency_key) == (32_501_034_000_000, "welcome 7")
    assert waiting(aws, shell, "PRIORITY_QUEUE_URL") == 0
    again = shell.tell("send_email", "--data", MAIL, *more)
    assert again == f"Not enqueued: job {row.id} has this key.\n"
    assert len(shell.execute(select(jobs))) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["send_emial", "--data", MAIL], "there is no handler for jobs of type 'send_emial'; there are "),
        (
            ["send_email\x1b[2J", "--data", MAIL],
            "there is no handler for jobs of type 'send_email\\x1b[2J'; there are ",
        ),
        (["send_email"], "the job's data is not valid: Object missing required field `to`"),
        (["send_email", "--data", "{'to': 1}"], "the job's data is not valid: "),
        (["send_email", "--data", ""], "the job's data is not valid: "),
        (["send_email", "--data", "[]"], "the job's data is not valid: Expected `object`, got `array`"),
        (["send_email", "--data", "@/no/such/file"], "cannot read /no/such/file: No such file or directory"),
        (["send_email", "--data", "@/"], "cannot read /: Is a directory"),
        (["send_email", "--data", f"@{NIGHTSHIFT.with_name('python')}"], "python is not UTF-8 text"),
        (
            ["send_email", "--data", MAIL, "--key", ""],
            "the request jobs enqueue is not valid: Expected `str` of length",
        ),
    ],
    ids=["type", "hostile", "none", "quotes", "empty", "list", "file", "folder", "binary", "key"],
)
def test_what_cannot_be_enqueued_is_said_in_a_sentence(
    aws: LocalAws, shell: Shell, arguments: list[str], sentence: str
) -> None:
    assert sentence in shell.complaint(*arguments)
    assert (shell.execute(select(jobs)), waiting(aws, shell)) == ([], 0)


def test_what_is_no_moment_makes_no_sense(aws: LocalAws, shell: Shell) -> None:
    sentence = shell.complaint("send_email", "--data", MAIL, "--run-at", "soon", code=2)
    assert sentence.startswith("'soon' is not a time: use 2026-02-01T09:00")
    assert (shell.execute(select(jobs)), waiting(aws, shell)) == ([], 0)


def test_with_a_stage_its_function_is_asked() -> None:
    lambda_ = Lambda(b'{"id": "an-id", "is_new": true}')
    with lambda_.serve("enqueue") as shell:
        moment = ("--run-at", "2026-12-01T10:00:00+01:00")
        assert shell.tell("send_email", "--data", MAIL, *moment, "--stage", "prod") == "Enqueued an-id.\n"
    asked = {"type": "send_email", "data": json.loads(MAIL), "run_at": "2026-12-01T09:00:00+00:00", "queue": "work"}
    path = "/2015-03-31/functions/nightshift-prod-operate/invocations"
    assert lambda_.asked == [(path, {"command": "jobs.enqueue", **asked})]
