"""The house rules: imports point down the paths only, Lambda gets what it imports, nothing is undocumented."""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import typer

from chalicelib.core.config import declared_in
from nightshift import cli
from nightshift.project.configuration import settings_of

ROOT = Path(__file__).parent.parent

# What each folder of chalicelib/ may import, apart from itself. The engine is `core` to `operate`; `mail` and `backup`
# are parts that can be left out; `tasks` and `handlers` belong to the application.
BASE = {"columns", "application", "schema", "core"}
ENGINE = BASE | {"schedule", "migrations", "queue", "runs", "operate"}
MAY_IMPORT = {
    "columns": set[str](),
    "application": {"columns"},
    "schema": {"columns", "application"},
    "core": {"columns", "application", "schema"},
    "schedule": {"core"},
    "migrations": BASE | {"schedule"},
    "queue": BASE,
    "runs": BASE | {"schedule", "queue"},
    "operate": ENGINE - {"operate"},
    "api": {"core", "queue", "runs"},
    "triggers": {"schedule", "runs"},
    "mail": ENGINE,
    "backup": ENGINE,
    "tasks": ENGINE | {"api", "mail", "backup"},
    "handlers": ENGINE | {"api", "mail", "backup", "tasks"},
}


def shipped_modules() -> dict[str, Path]:
    files = [ROOT / "app.py", *sorted((ROOT / "chalicelib").rglob("*.py"))]
    names = {str(path.relative_to(ROOT).with_suffix("")).replace("/", "."): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(module: str) -> str:
    return module.removeprefix("chalicelib.").split(".")[0]


def test_imports_point_down_only() -> None:
    known = {name: path for name, path in shipped_modules().items() if name not in {"app", "chalicelib"}}
    found = {
        (name.removeprefix("chalicelib."), imported.removeprefix("chalicelib."))
        for name, path in known.items()
        for imported in imports_of(path)
        if imported in known and folder_of(imported) not in {folder_of(name), *MAY_IMPORT[folder_of(name)]}
    }
    assert found == set()


def test_the_folders_import_each_other_in_one_direction() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()


def test_nothing_shipped_imports_the_developers_side() -> None:
    # Where Chalice's command line imports app.py, and nowhere else.
    allowed = {"app": {"nightshift.deploy", "nightshift.deploy.plain"}}
    for name, path in shipped_modules().items():
        imported = set(imports_of(path)) - allowed.get(name, set())
        assert not [each for each in imported if each.split(".")[0] in {"nightshift", "moto", "rich", "typer"}]
    guard = 'if os.environ.get("AWS_CHALICE_CLI_MODE"):\n    from nightshift.deploy import plain\n'
    assert guard in (ROOT / "app.py").read_text()


def test_lambda_gets_exactly_what_shipped_code_imports() -> None:
    packages = {
        "sqlalchemy": "SQLAlchemy",
        "pymysql": "PyMySQL",
        "aws_lambda_powertools": "aws-lambda-powertools",
        "jinja2": "Jinja2",
        "markupsafe": "Jinja2",
        "redis": "redis",
        "msgspec": "msgspec",
        "alembic": "alembic",
        "backports": "backports-zstd",
        "cryptography": "cryptography",
        "cronsim": "cronsim",
    }
    imported = {name.split(".")[0] for path in shipped_modules().values() for name in imports_of(path)}
    # SQLAlchemy imports the driver that DATABASE_URL names, and zoneinfo the package of time zones.
    needed = {packages[name] for name in imported if name in packages} | {"PyMySQL", "tzdata"}
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split(" ;")[0].split("==") for line in lines if line and not line.startswith("#"))
    assert set(pinned) == needed


PINNED = re.compile(r"^([a-z0-9-]+)==(\S+).*\\\n\s+--hash=sha256:", re.MULTILINE)


def test_what_lambda_gets_is_pinned_with_hashes_and_is_what_the_tests_ran_with() -> None:
    shipped = dict(PINNED.findall((ROOT / "requirements.txt").read_text(encoding="utf-8")))
    tested = dict(PINNED.findall((ROOT / "requirements-dev.lock").read_text(encoding="utf-8")))
    wanted = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    named = {line.split(" ;")[0].lower() for line in wanted if line and line[0] != "#"}
    assert named <= {f"{name}=={version}" for name, version in shipped.items()}
    assert shipped.items() <= tested.items()


def test_every_shipped_package_is_listed_with_its_licence_and_reason() -> None:
    listed = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for name, _ in PINNED.findall((ROOT / "requirements.txt").read_text(encoding="utf-8")):
        assert re.search(rf"^\| {name} \| [\w.-]+ \| .+ \|$", listed, re.MULTILINE), name


def commands_of(group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        below = commands_of(command) if hasattr(command, "commands") else ()
        yield from ((f"{name} {each}", found) for each, found in below) if below else [(name, command)]


COMMANDS = dict(commands_of(typer.main.get_command(cli.app)))


def test_every_command_is_documented() -> None:
    documents = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    documented = "".join(path.read_text(encoding="utf-8") for path in documents)
    assert "jobs retry" in COMMANDS
    for command in COMMANDS:
        assert re.search(rf"(nightshift|make) {command}\b", documented), command


def test_the_page_of_commands_has_each_with_the_example_of_its_help_and_no_other() -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\$ (.+)$", page, re.MULTILINE)
    helps = {name: " ".join(inspect.cleandoc(command.help).split()) for name, command in COMMANDS.items()}
    examples = {name: text.partition("Example: ")[2] for name, text in helps.items()}
    assert sorted(shown) == sorted(examples.values())
    for name, example in examples.items():
        program, *words = shlex.split(example)
        assert (program, words[: len(name.split())]) == ("nightshift", name.split())
        # Raises where it would not be understood.
        COMMANDS[name].make_context(name, words[len(name.split()) :])


def test_every_setting_is_documented() -> None:
    documented = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for kind in settings_of(ROOT):
        for variable in declared_in(kind):
            assert f"`{variable}`" in documented


def test_no_shipped_file_is_long() -> None:
    long = {name: len(path.read_text().splitlines()) for name, path in shipped_modules().items()}
    # Triggers and nothing else: each task adds its own.
    del long["app"]
    assert {name: lines for name, lines in long.items() if lines > 400} == {}
