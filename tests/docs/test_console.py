"""Every command that a page shows is understood: by us, make, Chalice, AWS or Python."""

import pkgutil
import re
import shlex

import pytest

from tests.docs.aws import UnknownError
from tests.docs.commands import NIGHTSHIFT, TARGETS, check, commands_in
from tests.docs.pages import PAGES, ROOT, Block, Page, blocks

CONSOLE = blocks("console")
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
FOLDERS = "chalicelib|nightshift|infra|examples|docs|bench|tests|scale|soak"
FILE = re.compile(rf"(?<![\w./-])(?:{FOLDERS})/[\w./-]*[\w/]")
DOTTED = re.compile(r"(?<![\w./-])(?:chalicelib|nightshift)(?!\.(?:mjs|php|py|rb)\b)(?:\.\w+)+")
# The first line of an example, which names the file that the reader writes.
WRITTEN = re.compile(r"^# \S+\.py$", re.MULTILINE)


@pytest.mark.parametrize("block", CONSOLE, ids=lambda block: block.name)
def test_each_command_behind_a_prompt_is_understood(block: Block) -> None:
    for command in commands_in(block.text):
        check(command)


def test_the_pages_show_many_commands() -> None:
    assert sum(len(list(commands_in(block.text))) for block in CONSOLE) > 80


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("nightshift stat", "nightshift has no command stat"),
        ("nightshift jobs", "nightshift has no command jobs"),
        ("nightshift status --stag prod", "No such option: --stag"),
        ("nightshift run --stage prod", "Missing argument 'TASK'"),
        ("DAILY_DIGEST_SCHEDULE='0 9 * * *' nightshift dev --speed fast", "Invalid value for '--speed'"),
        ("make tests", "the Makefile has no target tests"),
        ("make demo POST=some.csv", "the Makefile has no variable POST"),
        ("chalice call -n daily_digest", "chalice has no command call"),
        (".venv/bin/chalice invoke -n weekly_digest", "app.py has no function weekly_digest"),
        ("echo '[]' | chalice invoke -n daily_digest", "[] is no JSON object"),
        ("aws sqs send-mesage", "AWS's sqs has no operation send-mesage"),
        ("aws sqs send-message --queue url", "aws sqs send-message has no option --queue"),
        ("python -m bench.speed", "there is no module bench.speed"),
        ("frobnicate", "no test knows frobnicate"),
    ],
)
def test_a_command_that_is_not_understood_is_noticed(command: str, reason: str) -> None:
    with pytest.raises(UnknownError) as caught:
        check(command)
    assert reason in str(caught.value)


def why_not(code: str) -> str | None:
    """Return what a command named in a sentence has not: it or an option; None where it has all."""
    try:
        program, *words = shlex.split(code)
    except ValueError:
        return None
    if program == "make":
        names = [word for word in words if "=" not in word]
        known = TARGETS | set(NIGHTSHIFT.commands["make"].commands)
        return next((f"make {name}" for name in names[:1] if name not in known), None)
    command, path = NIGHTSHIFT, [program]
    for word in words:
        if not hasattr(command, "commands"):
            options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            if word.startswith("--") and word not in options:
                return " ".join([*path, word])
        elif not re.fullmatch(r"[a-z]+", word):
            # Any command, or an option of none.
            return None
        else:
            path.append(word)
            if word not in command.commands:
                return " ".join(path)
            command = command.commands[word]
    return None


NAMED = re.compile(r"(?:\.venv/bin/)?(?:nightshift|make) \S+.*")


@every_page
def test_each_command_in_a_sentence_exists(page: Page) -> None:
    named = [code.removeprefix(".venv/bin/") for code in page.code if NAMED.fullmatch(code)]
    assert [why for why in map(why_not, named) if why] == []


@pytest.mark.parametrize(
    ("code", "lacking"),
    [
        ("nightshift jobs … --stage dev", None),
        ("nightshift COMMAND --help", None),
        ("nightshift pause TASK --reason …", None),
        ("nightshift pause TASK --because …", "nightshift pause --because"),
        ("nightshift jobs retries", "nightshift jobs retries"),
        ("nightshift resume TASK", None),
        ("nightshift revive TASK", "nightshift revive"),
        ("make PYTHON=python3.13 test", None),
        ("make tests", "make tests"),
        ("make task", None),
    ],
)
def test_a_command_in_a_sentence_that_is_not_there_is_noticed(code: str, lacking: str | None) -> None:
    assert why_not(code) == lacking


@every_page
def test_each_file_that_a_page_names_exists(page: Page) -> None:
    named = FILE.findall(WRITTEN.sub("", page.text))
    assert [name for name in named if not (ROOT / name).exists()] == []


@every_page
def test_each_module_and_function_that_a_page_names_exists(page: Page) -> None:
    for name in DOTTED.findall(page.text):
        pkgutil.resolve_name(name)
