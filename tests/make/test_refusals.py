"""What the generator refuses, each time without having changed a byte."""

import resource
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chalicelib.schedule.schedule import Schedule
from nightshift.make import handler, task
from tests.make.conftest import files_of, shell_in
from tests.shell import NIGHTSHIFT

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAILY = ("--cron", "@daily")


def refusal_of_task(project: Path, name: str) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        task.contents_of(project, name, Schedule("@daily"), now=NOW)
    return str(refused.value)


def refusal_of_handler(project: Path, name: str) -> str:
    with pytest.raises(ValueError, match=r".") as refused:
        handler.contents_of(project, name)
    return str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["", "-", "---", "_", "9lives", "Send", "send-it", "send it", "send__it", "send_", "_send", "größe", "a/b", "a\n"],
)
def test_what_is_no_name_in_small_words_is_refused(untouched: Path, name: str) -> None:
    for refusal in (refusal_of_task, refusal_of_handler):
        assert refusal(untouched, name).startswith(f"{name!r} is no name: it needs lower-case words")


@pytest.mark.parametrize("name", ["sendWeeklyNewsletter", "Send-Weekly Newsletter", "SEND_WEEKLY_NEWSLETTER"])
def test_the_nearest_name_is_suggested(untouched: Path, name: str) -> None:
    assert refusal_of_task(untouched, name).endswith("; did you mean send_weekly_newsletter?")


@pytest.mark.parametrize(
    # Without accents it is another word; what is Python's, too long or in use would be refused next.
    "name",
    ["été", "größe", "Any", "Class", "Daily-Digest", "DailyDigest", f"{'A' * 65}"],
)
def test_what_would_be_refused_next_or_nobody_meant_is_not_suggested(untouched: Path, name: str) -> None:
    assert refusal_of_task(untouched, name).endswith("as in send_weekly_newsletter")


def test_a_handler_is_suggested_a_name_that_only_tasks_have(untouched: Path) -> None:
    assert refusal_of_handler(untouched, "Daily-Digest").endswith("; did you mean daily_digest?")
    assert refusal_of_handler(untouched, "Send-Email").endswith("as in send_weekly_newsletter")


@pytest.mark.parametrize("name", ["class", "lambda", "import", "match", "print", "dict", "list", "open"])
def test_a_word_of_pythons_own_is_refused(untouched: Path, name: str) -> None:
    for refusal in (refusal_of_task, refusal_of_handler):
        assert refusal(untouched, name) == f"{name} means something else to Python; add a word that says what it does"


@pytest.mark.parametrize("name", ["daily_digest", "work", "dispatch", "operate", "mail_feedback", "app", "os"])
def test_a_name_that_app_has_is_refused(untouched: Path, name: str) -> None:
    assert refusal_of_task(untouched, name) == f"there is {name} already, in app.py; take another name"


def test_a_name_that_cloudformation_could_not_tell_from_another_is_refused(untouched: Path) -> None:
    assert refusal_of_task(untouched, "dailydigest").startswith("there is daily_digest already, and CloudFormation")
    assert refusal_of_task(untouched, "da_ily_digest").startswith("there is daily_digest already, and CloudFormation")


def test_a_name_whose_alarm_is_anothers_is_refused(untouched: Path) -> None:
    assert "would be called dead-letters" in refusal_of_task(untouched, "letters")


def test_a_name_is_as_long_as_aws_allows_in_the_stage_with_the_longest(untouched: Path) -> None:
    longest = "a" * (64 - len("nightshift-local-" + "-event"))
    assert task.contents_of(untouched, longest, Schedule("@daily"), now=NOW)
    sentence = refusal_of_task(untouched, longest + "a")
    assert f"has {len(longest) + 1} characters, and may have {len(longest)} here" in sentence
    assert handler.contents_of(untouched, "a" * 64)
    assert "the tables keep 64" in refusal_of_handler(untouched, "a" * 65)


@pytest.mark.parametrize(
    ("refusal", "path"),
    [
        (refusal_of_task, "chalicelib/tasks/weekly.py"),
        (refusal_of_task, "tests/tasks/test_weekly.py"),
        (refusal_of_task, ".chalice/policies/weekly.json"),
        (refusal_of_handler, "chalicelib/handlers/weekly.py"),
        (refusal_of_handler, "tests/handlers/test_weekly.py"),
    ],
)
def test_a_file_that_is_there_is_never_written_over(project: Path, refusal: object, path: str) -> None:
    (project / path).write_text("somebody's\n")
    assert callable(refusal)
    assert refusal(project, "weekly") == f"there is {path} already; take another name"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("weekly", "--cron", "61 * * * *"),
            "the schedule '61 * * * *' is not valid: '61' is not a valid minute; use 0-59",
        ),
        (("weekly", "--cron", "0 0 31 2 *"), "day of month 31 never occurs in month 2"),
        (("weekly", "--cron", "0 9 * *"), "it needs five fields"),
        (("weekly", "--cron", ""), "it needs five fields"),
        (("weekly", *DAILY, "--zone", "Europe/Berlni"), "'Europe/Berlni' is not a time zone"),
        (("weekly", "--cron", "0 9 * * 1 Europe/Berlin", "--zone", "Europe/Berlin"), "it needs five fields"),
        (("daily_digest", *DAILY), "there is daily_digest already"),
    ],
)
def test_the_command_says_why_and_changes_no_byte(untouched: Path, arguments: tuple[str, ...], sentence: str) -> None:
    before = files_of(untouched)
    assert sentence in shell_in(untouched).complaint("task", *arguments)
    assert files_of(untouched) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("task", "---", *DAILY),
        ("task", "weekly"),
        ("task", *DAILY),
        ("task", "weekly", *DAILY, "--zone", ""),
        ("task", "weekly", *DAILY, "--zone", "Europe/Berlin UTC"),
        ("handler",),
    ],
)
def test_a_command_that_makes_no_sense_exits_with_2_and_changes_no_byte(
    untouched: Path, arguments: tuple[str, ...]
) -> None:
    before = files_of(untouched)
    assert shell_in(untouched).run(*arguments).returncode == 2
    assert files_of(untouched) == before


def test_outside_of_a_projects_root_nothing_is_written_and_the_sentence_says_where_to_go(tmp_path: Path) -> None:
    for arguments, path in ((("task", "weekly", *DAILY), "app.py"), (("handler", "weekly"), "chalicelib/handlers/__i")):
        complaint = shell_in(tmp_path).complaint(*arguments)
        assert complaint.startswith(f"{tmp_path / path}")
        assert complaint.endswith(
            "cannot be read: No such file or directory; run it in the root of the project, where app.py is"
        )
    assert list(tmp_path.iterdir()) == []


def test_an_app_that_is_no_python_or_has_no_schedules_is_left_alone(project: Path) -> None:
    for source, sentence in (
        ("def app(:\n", "app.py cannot be read"),
        ("import os\n", "has no Any, CloudWatchEvent, _e"),
    ):
        (project / "app.py").write_text(source)
        assert sentence in refusal_of_task(project, "weekly")


def test_a_disk_that_is_full_in_the_middle_changes_no_byte(project: Path) -> None:
    before = files_of(project)
    limit = len(before["app.py"]) - 1

    def let_no_file_grow_longer() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [NIGHTSHIFT, "make", "task", "weekly", *DAILY],
        cwd=project,
        # Or Python would leave a cut module in its cache, and not notice.
        env={**shell_in(project).environment, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=let_no_file_grow_longer,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nightshift: nothing was changed: ")
    assert files_of(project) == before


@pytest.mark.parametrize("words", [("task", "weekly", *DAILY), ("handler", "weekly")])
def test_whoever_does_not_read_what_was_written_has_it_all_the_same(project: Path, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [NIGHTSHIFT, "make", *words],
            cwd=project,
            env=shell_in(project).environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert (project / "chalicelib" / f"{words[0]}s" / "weekly.py").exists()
