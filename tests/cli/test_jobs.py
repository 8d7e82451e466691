"""`nightshift jobs …` as an operator runs it: in a process of its own, on a database file and an emulator."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from chalicelib.queue.job import Status
from chalicelib.schema import jobs, pauses
from nightshift.local.aws import LocalAws
from nightshift.local.environment import isolated, local_environment
from nightshift.local.servers import free_port
from tests import forked
from tests.shell import BASE, Lambda, Shell, migrated, nightshift

GROUP = ("jobs",)
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
MAIL = '{"to": "jane.doe@mail.example.org", "subject": "Hello", "text": "Hello.", "token": "hunter2"}'
HOSTILE = "TransientError: \x1b]0;owned\x07\x1b[2J\x1b[31mred\r\n[bold]not bold[/bold] :bug: \u202egnp.exe\x9b1m\nlast"


@dataclass(frozen=True, kw_only=True)
class JobsShell(Shell):
    """A shell whose settings lead to an emulator."""

    aws: LocalAws

    def give_up(self, job_id: str = ID, **row: Any) -> str:
        """Write a job that was given up, and its dead letter."""
        values = {"type": "send_email", "data": MAIL, "status": "dead", "created_at": 1_772_452_800_000, "attempts": 3}
        self.execute(
            insert(jobs).values(**values | {"id": job_id, "dispatch_at": None, "last_error": "it broke"} | row)
        )
        self.aws.client("sqs").send_message(
            QueueUrl=self.environment["DEAD_LETTER_QUEUE_URL"],
            MessageBody=json.dumps({"type": "send_email", "data": json.loads(MAIL), "id": job_id}),
            MessageAttributes={"job_id": {"DataType": "String", "StringValue": job_id}},
        )
        return job_id

    def statuses(self) -> dict[str, str]:
        """Return the status of each job."""
        return {row.id: row.status for row in self.execute(select(jobs))}

    def letters(self) -> int:
        """Return the number of dead letters that can be seen."""
        url, names = self.environment["DEAD_LETTER_QUEUE_URL"], ["ApproximateNumberOfMessages"]
        found = self.aws.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return int(found["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture
def shell(aws: LocalAws, tmp_path: Path) -> JobsShell:
    return JobsShell(environment=migrated(tmp_path, endpoint=aws.endpoint), group=GROUP, aws=aws)


def test_a_piped_list_has_one_line_a_job_with_its_whole_id_and_nothing_that_a_terminal_obeys(shell: JobsShell) -> None:
    other = "an:x:id/of=36+printable,characters!!"
    shell.give_up(last_error=HOSTILE)
    shell.give_up(other, created_at=1_772_452_799_000, last_error="jane.doe@mail.example.org is unknown " + "x" * 300)
    header, first, second = (line.rstrip() for line in shell.tell("list").splitlines())
    assert header.split() == ["id", "type", "status", "attempts", "created_at", "last_error"]
    assert first.split()[:5] == [ID, "send_email", "dead", "3", "2026-03-02T12:00:00Z"]
    error = "TransientError: ·]0;owned··[2J·[31mred [bold]not bold[/bold] :bug: ·gnp.exe·1m last"
    assert first.endswith(error)
    assert second.startswith(other)
    assert "j***@mail.example.org is unknown xxx" in second


def test_a_list_as_json_is_whole(shell: JobsShell) -> None:
    shell.give_up(last_error=HOSTILE + "x" * 500)
    shell.give_up("another", type="send_digest", created_at=1)
    printed = shell.tell("list", "--json", "--type", "send_email", "--error", "[bold]not")
    assert "\x1b" not in printed
    (job,) = json.loads(printed)
    assert (job["id"], job["last_error"]) == (ID, HOSTILE + "x" * 500)


def test_an_empty_list_says_what_there_is_none_of(shell: JobsShell) -> None:
    shell.give_up()
    assert shell.tell("list", "--status", "failed") == "No jobs with status failed match.\n"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_in_a_terminal_of_any_width_ids_are_whole_the_error_folds_and_nothing_runs_over(
    shell: JobsShell, width: int
) -> None:
    words = [f"word{n:02}" for n in range(20)]
    shell.give_up(last_error=f"no job has the id {ID} {' '.join(words)}")
    lines = [line.rstrip() for line in shell.see("list", width=width).splitlines()]
    (row,) = (line.split() for line in lines if line.startswith(ID))
    assert row == ([ID, "send_email", "dead", "3", "2026-03-02T12:00:00Z"] if width == 120 else [ID])
    assert ("  created_at  2026-03-02T12:00:00Z" in lines) == (width < 120)
    told = " ".join(lines).split()
    assert told.count(ID) == 2
    assert [word for word in told if word.startswith("word")] == words
    assert max(map(len, lines)) <= width


def test_narrow_terminal_wraps_a_message_at_words(shell: JobsShell) -> None:
    lines = shell.see("list", width=30).splitlines()
    assert lines == ["No jobs with status dead", "match."]


def test_a_job_is_shown_in_full_for_people_and_as_json(shell: JobsShell) -> None:
    shell.give_up()
    told = dict(line.split(maxsplit=1) for line in shell.tell("show", ID).splitlines())
    shown = json.loads(shell.tell("show", ID, "--json"))
    assert list(told) == [key for key, value in shown.items() if value is not None]
    assert (told["id"], told["status"], json.loads(told["data"])) == (ID, "dead", shown["data"])


def test_each_command_prints_its_whole_answer_as_json(shell: JobsShell) -> None:
    def answer(*arguments: str) -> Any:
        return json.loads(shell.tell(*arguments, "--json"))

    shell.give_up()
    assert answer("edit", ID, '{"to": "a@example.com", "subject": "Hello", "text": "Hello."}') == {"edited": [ID]}
    assert answer("cancel", ID) == {"cancelled": [ID]}
    shell.execute(update(jobs).values(status="dead"))
    assert answer("retry", ID) == {"retried": [ID]}
    shell.execute(update(jobs).values(status="dead"))
    assert answer("forget", ID) == {"forgotten": [ID]}
    assert answer("redrive") == {"retried": 0, "sent": 0, "settled": 0, "kept": 0}
    assert answer("pause", "send_email", "--reason", "x") == {"paused": "send_email"}
    assert answer("resume", "send_email") == {"resumed": "send_email", "paused": {}}


def test_a_job_is_shown_without_secrets_or_addresses(shell: JobsShell) -> None:
    shell.give_up(last_error=HOSTILE)
    printed = shell.tell("show", ID, "--json")
    assert "\x1b" not in printed
    shown = json.loads(printed)
    assert shown["data"] == {
        "to": "j***@mail.example.org",
        "subject": "Hello",
        "text": "Hello.",
        "token": "[redacted]",
    }
    assert (shown["status"], shown["last_error"]) == ("dead", HOSTILE)


def test_jobs_are_retried_by_id_and_by_what_they_have_in_common(shell: JobsShell) -> None:
    for job_id in (ID, "b", "c"):
        shell.give_up(job_id)
    assert shell.tell("retry", ID) == f"Retried 1 job: {ID}\n"
    assert (shell.statuses(), shell.letters()) == ({ID: "pending", "b": "dead", "c": "dead"}, 2)
    assert shell.tell("retry", "--type", "send_email", "--error", "broke") == "Retried 2 jobs: b, c\n"
    assert (set(shell.statuses().values()), shell.letters()) == ({"pending"}, 0)


def test_more_than_one_round_takes_are_retried_or_forgotten_all_the_same(shell: JobsShell) -> None:
    ids = [f"{n:04}" for n in range(1100)]
    dead = {"type": "send_email", "data": "{}", "status": "dead", "created_at": 0, "last_error": "broke"}
    shell.execute(insert(jobs).values([{"id": id_, **dead} for id_ in ids]))
    assert json.loads(shell.tell("retry", "--type", "send_email", "--json")) == {"retried": ids}
    shell.execute(update(jobs).values(status="dead"))
    done = answered(shell, "y\n", "forget", "--error", "broke", "--json")
    assert "Delete permanently: 1100 send_email?" in done.stderr
    assert sorted(json.loads(done.stdout)["forgotten"]) == ids
    assert shell.statuses() == {}


def test_a_round_that_fails_tells_what_those_before_did(shell: JobsShell) -> None:
    ids = [f"{n:04}" for n in range(1001)]
    dead = {"type": "send_email", "data": "{}", "status": "dead", "created_at": 0}
    shell.execute(insert(jobs).values([{"id": id_, **dead} for id_ in ids]))
    done = shell.run("forget", *ids, "nobody", COLUMNS="200")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "nightshift: jobs forget failed after 1000 jobs",
        "nightshift: no matching dead job has the id nobody",
    ]
    assert shell.statuses() == {"1000": "dead"}


def test_an_edited_job_waits_to_be_performed_with_its_new_data(shell: JobsShell) -> None:
    shell.give_up()
    data = {"to": "ann@example.org", "subject": "Hi", "text": "Hi."}
    assert shell.tell("edit", ID, json.dumps(data)) == f"Edited 1 job: {ID}\n"
    (row,) = shell.execute(select(jobs))
    assert (row.status, json.loads(row.data), shell.letters()) == ("pending", data, 0)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("{'to': 1}", "the job's data is not valid: "),
        ('{"to": 7, "subject": "Hi"}', "the job's data is not valid: Expected `str`, got `int` - at `$.to`"),
    ],
)
def test_data_that_cannot_be_taken_is_refused_with_a_sentence(shell: JobsShell, data: str, sentence: str) -> None:
    shell.give_up()
    assert shell.complaint("edit", ID, data).startswith(sentence)
    assert (shell.statuses(), shell.letters()) == ({ID: "dead"}, 1)


def test_jobs_are_forgotten_and_cancelled(shell: JobsShell) -> None:
    shell.give_up()
    shell.give_up("waits", status="pending")
    assert shell.tell("forget", ID) == f"Deleted 1 job: {ID}\n"
    assert shell.letters() == 1
    assert shell.tell("cancel", "waits") == "Cancelled 1 job: waits\n"
    assert shell.statuses() == {"waits": "cancelled"}


def answered(shell: JobsShell, answer: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run it with this typed when it asks."""
    command = (*shell.group, *arguments)
    return forked.run(nightshift, *command, environment=shell.environment, folder=shell.folder, typed=answer)


def test_forgetting_by_what_jobs_have_in_common_asks_before_and_tells_which(shell: JobsShell) -> None:
    shell.give_up()
    shell.give_up("b")
    shell.give_up("report", type="generate_report\x1b[2J")
    done = answered(shell, "y\n", "forget", "--error", "broke")
    assert (done.returncode, done.stdout.strip()) == (0, f"Deleted 3 jobs: {ID}, b, report")
    assert "Delete permanently: " in done.stderr
    assert "2 send_email" in done.stderr
    assert "1 generate_report·[2J" in done.stderr
    assert (shell.statuses(), shell.letters()) == ({}, 0)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_forgotten(shell: JobsShell, answer: str) -> None:
    shell.give_up()
    done = answered(shell, answer, "forget", "--type", "send_email")
    assert (done.returncode, done.stdout.strip()) == (1, "")
    assert done.stderr.endswith("nightshift: nothing was deleted; use --yes to skip the confirmation\n")
    assert (shell.statuses(), shell.letters()) == ({ID: "dead"}, 1)


def test_whoever_says_yes_beforehand_is_not_asked(shell: JobsShell) -> None:
    shell.give_up()
    shell.give_up("other", type="generate_report")
    assert shell.tell("forget", "--type", "send_email", "--yes") == f"Deleted 1 job: {ID}\n"
    assert shell.statuses() == {"other": "dead"}
    assert shell.complaint("forget", "--type", "send_email") == ("no dead job matches; nothing was deleted")


def test_dead_letters_are_redriven_and_counted(shell: JobsShell) -> None:
    shell.give_up()
    shell.give_up("done", status="completed")
    assert shell.tell("redrive") == "1 retried, 0 sent, 1 settled, 0 kept\n"
    assert (shell.statuses(), shell.letters()) == ({ID: "pending", "done": "completed"}, 0)


def test_a_type_is_paused_and_resumed(shell: JobsShell) -> None:
    assert shell.tell("pause", "send_email", "--reason", "SES is down") == "Paused send_email.\n"
    assert [(row.name, row.reason) for row in shell.execute(select(pauses))] == [("send_email", "SES is down")]
    assert shell.tell("resume", "send_email") == "Resumed send_email.\n"
    assert shell.tell("resume", "send_email") == "send_email was not paused.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "nobody\x1b[31m\n"], "there is no job with the id nobody·[31m"),
        (["forget", "--type", ""], "the request jobs forget is not valid: Expected `str` of length >= 1 - at `$.type`"),
        (
            ["list", "--status", "lost"],
            f"the request jobs list is not valid: status must be one of {Status.PENDING}",
        ),
        (["pause", "send_mail", "--reason", "x"], "there is no handler for jobs of type 'send_mail'; there are "),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(shell: JobsShell, arguments: list[str], sentence: str) -> None:
    shell.give_up()
    assert shell.complaint(*arguments).startswith(sentence)
    assert (shell.statuses(), shell.letters()) == ({ID: "dead"}, 1)


def test_missing_setting_is_named_by_the_command_that_needs_it(shell: JobsShell) -> None:
    nothing = Shell(environment=isolated(BASE), group=GROUP)
    assert nothing.complaint("pause", "send_email", "--reason", "x").startswith(
        "no stage and no database: name a stage"
    )
    url = shell.environment["DATABASE_URL"]
    assert nothing.tell("list", DATABASE_URL=url) == "No jobs with status dead match.\n"
    assert "WORK_QUEUE_URL is not set" in nothing.complaint("redrive", DATABASE_URL=url)


def test_a_database_that_cannot_be_used_is_a_sentence_without_its_statements(tmp_path: Path) -> None:
    shell = Shell(environment=local_environment(BASE, endpoint="http://127.0.0.1:1", folder=tmp_path), group=GROUP)
    missing = "the database says: no such table: jobs; bring it to the newest schema with nightshift migrate"
    assert shell.complaint("list") == missing
    gone = f"mysql+pymysql://root:hunter2@127.0.0.1:{free_port()}/gone"
    complaint = shell.complaint("list", DATABASE_URL=gone)
    assert complaint.startswith("the database cannot be used: Can't connect to MySQL server on '127.0.0.1'")
    assert complaint.endswith("(2003)")
    assert "hunter2" not in complaint


def test_a_queue_that_cannot_be_reached_is_a_sentence(shell: JobsShell) -> None:
    shell.give_up()
    gone = f"{shell.environment['DEAD_LETTER_QUEUE_URL']}-gone"
    complaint = shell.complaint("redrive", DEAD_LETTER_QUEUE_URL=gone, AWS_MAX_ATTEMPTS="1")
    assert "The specified queue does not exist" in complaint


def test_with_a_stage_its_function_is_asked_and_nothing_of_this_machine() -> None:
    lambda_ = Lambda(json.dumps({"retried": [ID]}).encode())
    with lambda_.serve(*GROUP) as shell:
        assert shell.tell("retry", ID, "--error", "100%", "--stage", "prod") == f"Retried 1 job: {ID}\n"
    path = "/2015-03-31/functions/nightshift-prod-operate/invocations"
    request = {"command": "jobs.retry", "ids": [ID], "error": "100%", "limit": 1000}
    assert lambda_.asked == [(path, request)]


def test_what_the_function_refuses_is_its_own_sentence_in_one_line() -> None:
    refusal = {"errorMessage": "there is no job\nwith the id \x1b[31mnobody", "errorType": "InvalidRequestError"}
    with Lambda(json.dumps(refusal).encode(), {"X-Amz-Function-Error": "Unhandled"}).serve(*GROUP) as shell:
        complaint = shell.complaint("show", "nobody", "--stage", "prod")
    assert complaint == "there is no job with the id ·[31mnobody"


def test_what_answers_in_place_of_lambda_is_told(shell: JobsShell) -> None:
    with Lambda(b"<html>Please sign in.</html>").serve(*GROUP) as there:
        complaint = there.complaint("list", "--stage", "prod")
    assert complaint == ("what answers for nightshift-prod-look is not Lambda: look at AWS_ENDPOINT_URL and at proxies")


def test_a_stage_that_is_not_deployed_is_a_sentence() -> None:
    missing = Lambda(b'{"Message": "Function not found"}', {"X-Amzn-ErrorType": "ResourceNotFoundException"}, 404)
    with missing.serve(*GROUP) as shell:
        complaint = shell.complaint("list", "--stage", "prdo")
    assert complaint == "nightshift-prdo-look is not deployed in us-east-1; did you mean --stage prod?"


@pytest.mark.parametrize(
    ("lacking", "sentence"),
    [
        (["AWS_REGION", "AWS_DEFAULT_REGION"], "there is no AWS region: set AWS_DEFAULT_REGION, or a region"),
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "there are no AWS credentials: set AWS_PROFILE, or run"),
    ],
)
def test_a_stage_without_a_way_into_aws_is_a_sentence(lacking: list[str], sentence: str) -> None:
    environment = {name: value for name, value in isolated(BASE).items() if name not in lacking}
    assert sentence in Shell(environment=environment, group=GROUP).complaint("list", "--stage", "prod")


def test_an_answer_that_was_cut_says_so_beside_it() -> None:
    note = "the answer is longer than Lambda allows and was cut: of data the first 5 of 9 characters"
    with Lambda(json.dumps({"id": "large", "data": "abcde", "truncated": note}).encode()).serve("jobs") as shell:
        done = shell.run("show", "large", "--json", "--stage", "prod", COLUMNS="200")
    assert done.stderr == f"nightshift: {note}\n"
    assert json.loads(done.stdout)["data"] == "abcde"


def test_a_list_that_does_not_fit_into_one_answer_says_how_to_see_the_rest() -> None:
    job = dict.fromkeys(("id", "type", "status", "attempts", "created_at", "last_error"), "x")
    with Lambda(json.dumps({"jobs": [job], "next": [1, "x"]}).encode()).serve("jobs") as shell:
        done = shell.run("list", "--stage", "prod", COLUMNS="200")
    assert done.returncode == 0
    assert "only 1 jobs fit into an answer of Lambda: narrow it with --type or --error" in done.stderr
