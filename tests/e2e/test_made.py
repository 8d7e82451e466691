"""What the generator writes, in a copy of the whole project: it passes, deploys, and leaves the rest alone."""

import difflib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightshift.local.environment import isolated
from nightshift.project import policies, triggers
from nightshift.project.template import repetitions
from tests.make.conftest import copy_project, files_of, shell_in
from tests.shell import BASE, Shell

CRON = ("task", "send_weekly_newsletter", "--cron", "0 9 * * 1", "--zone", "Europe/Berlin")
INTERVAL = ("task", "poll_prices", "--cron", "every 7 minutes")
HANDLER = ("handler", "resize_image")
TASKS = ("send_weekly_newsletter", "poll_prices")


@dataclass(frozen=True)
class Made:
    """A project, its files as they were, and what the generator printed of each."""

    project: Path
    before: dict[str, bytes]
    printed: list[str]

    def python(self, *arguments: str) -> str:
        """Run Python in the project, whose code comes before any other, and return what it prints."""
        environment = {**isolated(BASE), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    project = copy_project(tmp_path_factory.mktemp("made"))
    before = files_of(project)
    return Made(project, before, [shell_in(project).tell(*words) for words in (CRON, INTERVAL, HANDLER)])


def test_it_tells_what_it_wrote_and_when_the_task_is_due(made: Made) -> None:
    lines = made.printed[0].splitlines()
    assert lines[:7] == [
        "created  chalicelib/tasks/send_weekly_newsletter.py",
        "created  tests/tasks/test_send_weekly_newsletter.py",
        "created  .chalice/policies/send_weekly_newsletter.json",
        "changed  app.py",
        "changed  .chalice/config.json",
        "changed  docs/deploy.md",
        "changed  docs/schedules.md",
    ]
    assert lines[8] == "At 09:00 on Monday, Europe/Berlin"
    assert all(line.startswith("Mon ") and " 09:00 (+0" in line for line in lines[9:12])
    assert lines[12:] == ["EventBridge expression: cron(0 7,8 ? * MON *); drops at most 1 fires a day"]
    assert made.printed[1].endswith(
        "\nEvery 7 minutes, starting at its deployment\nEventBridge expression: rate(7 minutes)\n"
    )
    assert made.printed[2].splitlines() == [
        "created  chalicelib/handlers/resize_image.py",
        "created  tests/handlers/test_resize_image.py",
    ]


def test_it_adds_files_and_lines_and_takes_none_away(made: Made) -> None:
    after = files_of(made.project)
    assert {name for name in after if after[name] != made.before.get(name)} == {
        *(f"chalicelib/tasks/{task}.py" for task in TASKS),
        *(f"tests/tasks/test_{task}.py" for task in TASKS),
        *(f".chalice/policies/{task}.json" for task in TASKS),
        "chalicelib/handlers/resize_image.py",
        "tests/handlers/test_resize_image.py",
        "app.py",
        ".chalice/config.json",
        "docs/deploy.md",
        "docs/schedules.md",
    }
    for name in made.before:
        old, new = (files[name].decode("utf-8", "replace").splitlines() for files in (made.before, after))
        assert [line for line in difflib.ndiff(old, new) if line.startswith("- ")] == [] if old != new else True, name


def test_the_triggers_stand_behind_the_others_and_before_the_workers_comment(made: Made) -> None:
    source = (made.project / "app.py").read_text()
    old = made.before["app.py"].decode()
    end = triggers.read(made.project)
    order = triggers.functions_of(end, "task")
    assert tuple(order[-2:]) == TASKS
    start = old.index("\n\n\n# At most as many at once")
    added = source[start : start + len(source) - len(old)]
    assert source.replace(added, "", 1) == old
    assert added == "".join(
        f'\n\n\n@app.schedule("{text}")\ndef {name}(event: CloudWatchEvent) -> Any:\n'
        f'    return _execute("{name}", event)'
        for name, text in (("send_weekly_newsletter", "0 9 * * 1 Europe/Berlin"), ("poll_prices", "every 7 minutes"))
    )


def test_the_generated_tests_pass_at_once_and_so_do_those_that_hold_every_function_to_its_places(made: Made) -> None:
    own = [f"tests/tasks/test_{task}.py" for task in TASKS] + ["tests/handlers/test_resize_image.py"]
    of_each = (
        "tests/iam/test_policies.py::test_a_policy_allows_what_its_function_calls_and_nothing_more[sqlite-{}]",
        "tests/iam/test_policies.py::test_a_resource_is_named_wherever_iam_can_name_one[{}]",
        "tests/iam/test_authorization.py::test_iam_knows_every_action_of_a_policy[{}]",
        "tests/test_house.py::test_imports_point_down_only",
    )
    of_all = (
        "tests/iam/test_policies.py::test_every_function_has_a_policy",
        "tests/iam/test_calls.py::test_every_call_of_the_shipped_code_has_its_place_in_the_table_of_callers",
        "tests/project/test_stage.py::test_every_function_is_configured_in_every_stage",
        "tests/test_app.py::test_every_function_answers_an_invocation_with_nothing[sqlite]",
        "tests/project/test_triggers.py",
        "tests/schedule/test_schedules_page.py",
        "tests/test_house.py::test_no_shipped_file_is_long",
    )
    others = [test.format(task) for test in of_each for task in TASKS]
    told = made.python("-m", "pytest", "-q", "-p", "no:cacheprovider", *own, *others, *of_all)
    assert " passed" in told


def test_what_it_writes_is_in_the_style_of_the_rest(made: Made) -> None:
    written = [name for name in files_of(made.project) if name.endswith(".py") and name not in made.before]
    assert len(written) == 6
    made.python("-m", "ruff", "check", "--no-cache", *written, "app.py")
    made.python("-m", "ruff", "format", "--no-cache", "--check", *written, "app.py")


def test_chalice_deploys_the_new_tasks(made: Made) -> None:
    told = made.python("-c", "import app, json; print(json.dumps([app.__file__, list(app.app.handler_map)]))")
    path, functions_ = json.loads(told)
    assert Path(path) == made.project / "app.py"
    assert set(TASKS) < set(functions_)


def test_the_schedules_pass_the_check(made: Made) -> None:
    told = Shell(environment=isolated(BASE), folder=made.project).tell("schedule", "check")
    (line,) = (line for line in told.splitlines() if line.startswith("send_weekly_newsletter"))
    assert re.split(r"  +", line)[1:] == ["app.py", "0 9 * * 1 Europe/Berlin", "1", "cron(0 7,8 ? * MON *)"]


def test_a_deployment_gives_them_alarms_repetitions_settings_and_policies(made: Made) -> None:
    known = triggers.read(made.project)
    assert set(TASKS) < set(triggers.reporting(known))
    repeated = repetitions(known, {"FailedFiresQueueArn": "arn:q"})
    assert repeated["poll_prices"] == repeated["daily_digest"]
    stages = json.loads((made.project / ".chalice" / "config.json").read_text())["stages"]
    for stage in stages.values():
        names = list(stage["lambda_functions"])
        assert names.index("poll_prices") == names.index("work") - 1
        assert stage["lambda_functions"]["poll_prices"] == {
            "lambda_memory_size": 512,
            "lambda_timeout": 300,
            "reserved_concurrency": 1,
        }
    texts = {"Partition": "aws", "Region": "eu-west-1", "Account": "1", "FailedFiresQueueArn": "arn:q"}
    name = {"FunctionName": "nightshift-dev-poll_prices"}
    lists = {"DatabaseSecretArns": ["arn:s"], "PingSecretArns": [], "SecretsKeyArns": ["arn:k"], "TraceArns": ["*"]}
    template = made.project / ".chalice" / "policies" / "poll_prices.json"
    values = {**texts, **name, **lists, "NetworkArns": []}
    rendered = policies.render(template, values, parts=triggers.parts(made.project))
    logs = rendered["Statement"][0]["Resource"]
    assert logs == "arn:aws:logs:eu-west-1:1:log-group:/aws/lambda/nightshift-dev-poll_prices:*"


def test_a_tasks_policy_permits_what_every_other_tasks_does(made: Made) -> None:
    folder = made.project / ".chalice" / "policies"
    sids = {
        name: {each["Sid"] for each in policies.statements_of(folder / f"{name}.json")}
        for name in triggers.functions_of(triggers.read(made.project), "task")
    }
    assert sids["poll_prices"] >= set.intersection(*(sids[name] for name in sids if name not in TASKS))


def test_the_page_about_deploying_has_their_rows_behind_the_other_tasks(made: Made) -> None:
    lines = (made.project / "docs" / "deploy.md").read_text().splitlines()
    row = lines.index("| `send_weekly_newsletter` | at 09:00 on Monday, Europe/Berlin | send weekly newsletter |")
    assert lines[row - 1].startswith("| `external_sync` |")
    assert lines[row + 1] == "| `poll_prices` | every 7 minutes | poll prices |"


def test_the_page_about_schedules_has_them_with_a_reason(made: Made) -> None:
    lines = (made.project / "docs" / "schedules.md").read_text().splitlines()
    row = next(n for n, line in enumerate(lines) if line.startswith("| `send_weekly_newsletter` |"))
    assert lines[row - 1].startswith("| `external_sync` |")
    assert [line.split("|")[2:5] for line in lines[row : row + 2]] == [
        [" `0 9 * * 1 Europe/Berlin` ", " skip ", " latest "],
        [" `every 7 minutes` ", " skip ", " skip "],
    ]
    assert all(line.split("|")[5].strip() for line in lines[row : row + 2])


@pytest.mark.parametrize("words", [CRON, HANDLER])
def test_the_same_once_more_is_refused_and_changes_no_byte(made: Made, words: tuple[str, ...]) -> None:
    before = files_of(made.project)
    assert "already" in shell_in(made.project).complaint(*words)
    assert files_of(made.project) == before
