"""The house rules: imports point down the paths only, Lambda gets what it imports, nothing is undocumented."""

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from chalicelib.config import Settings
from nightshift import cli

ROOT = Path(__file__).parent.parent

# From what Lambda calls down to what imports nothing: a module imports only from levels below its own.
LEVELS = [
    ["app"],
    ["chalicelib.queue.worker", "chalicelib.operations"],
    ["chalicelib.operations.mending", "chalicelib.operations.new_jobs"],
    ["chalicelib.operations.backups", "chalicelib.operations.jobs", "chalicelib.operations.status"],
    ["chalicelib.operations.dead_letters", "chalicelib.operations.answers"],
    ["chalicelib.operations.checks", "chalicelib.operations.flow", "chalicelib.operations.suppressions"],
    ["chalicelib.operations.access"],
    ["chalicelib.operations.runs"],
    ["chalicelib.operations.schedules"],
    ["chalicelib.queue.batch"],
    ["chalicelib.queue.claimer"],
    ["chalicelib.queue.results", "chalicelib.queue.execution"],
    ["chalicelib.handlers.*"],
    ["chalicelib.handlers"],
    ["chalicelib.runs", "chalicelib.watch"],
    ["chalicelib.renewal"],
    ["chalicelib.catch_up", "chalicelib.lapses"],
    ["chalicelib.status.stored"],
    ["chalicelib.status.page"],
    ["chalicelib.status.status"],
    ["chalicelib.status.findings"],
    ["chalicelib.status.tasks"],
    ["chalicelib.status.strip", "chalicelib.status.spark"],
    ["chalicelib.status.*"],
    ["chalicelib.tasks.*"],
    ["chalicelib.tasks"],
    ["chalicelib.schedule_history"],
    ["chalicelib.claims", "chalicelib.functions"],
    ["chalicelib.cleanup.sweep"],
    ["chalicelib.cleanup.chunk"],
    ["chalicelib.cleanup.pace", "chalicelib.cleanup.parcel", "chalicelib.cleanup.progress", "chalicelib.cleanup.rules"],
    ["chalicelib.cleanup.survey"],
    ["chalicelib.cleanup.*"],
    ["chalicelib.sync.reading"],
    ["chalicelib.sync.intake"],
    ["chalicelib.sync.merging", "chalicelib.sync.quarantine", "chalicelib.sync.replies"],
    ["chalicelib.sync.answers", "chalicelib.sync.items", "chalicelib.sync.listing"],
    ["chalicelib.sync.addresses", "chalicelib.sync.sources", "chalicelib.sync.states", "chalicelib.sync.wire"],
    ["chalicelib.sync.pages"],
    ["chalicelib.sync.*"],
    ["chalicelib.warming"],
    ["chalicelib.backup.backups", "chalicelib.backup.snapshots"],
    ["chalicelib.backup.files", "chalicelib.backup.left_out", "chalicelib.backup.making"],
    ["chalicelib.backup.dump"],
    ["chalicelib.backup.drill", "chalicelib.backup.lanes"],
    ["chalicelib.backup.restore"],
    ["chalicelib.backup.restoration"],
    ["chalicelib.backup.filling"],
    ["chalicelib.backup.comparing", "chalicelib.backup.contents", "chalicelib.backup.journal"],
    ["chalicelib.backup.rows"],
    ["chalicelib.backup.checksums", "chalicelib.backup.definitions", "chalicelib.backup.views"],
    ["chalicelib.backup.programs", "chalicelib.backup.selection", "chalicelib.backup.tables"],
    ["chalicelib.backup.grants"],
    ["chalicelib.backup.columns", "chalicelib.backup.snapshot", "chalicelib.backup.unqualified"],
    ["chalicelib.backup.identity", "chalicelib.backup.screening", "chalicelib.backup.target"],
    ["chalicelib.backup.explained", "chalicelib.backup.loading", "chalicelib.backup.verify"],
    ["chalicelib.backup.statement"],
    [
        "chalicelib.backup.script",
        "chalicelib.backup.sharing",
        "chalicelib.backup.tokens",
        "chalicelib.backup.vocabulary",
    ],
    ["chalicelib.backup.exports"],
    ["chalicelib.backup.prune", "chalicelib.backup.catalogue", "chalicelib.backup.ages"],
    ["chalicelib.backup.archive", "chalicelib.backup.reader", "chalicelib.backup.marks", "chalicelib.backup.retention"],
    ["chalicelib.backup.parts", "chalicelib.backup.listing", "chalicelib.backup.rds"],
    ["chalicelib.backup.manifest"],
    ["chalicelib.backup.frames", "chalicelib.backup.zstandard"],
    ["chalicelib.backup.keys", "chalicelib.backup.folder", "chalicelib.backup.lines"],
    ["chalicelib.backup.plan", "chalicelib.backup.quoting", "chalicelib.backup.section", "chalicelib.backup.session"],
    ["chalicelib.backup.telling"],
    ["chalicelib.backup.wire"],
    ["chalicelib.queue.outbox", "chalicelib.queue.endings"],
    ["chalicelib.queue.dispatch"],
    ["chalicelib.queue.backlogs"],
    ["chalicelib.queue.claims", "chalicelib.queue.delivery"],
    ["chalicelib.pauses", "chalicelib.pings"],
    ["chalicelib.queue.verdict"],
    ["chalicelib.reports.collection"],
    ["chalicelib.reports.activity"],
    ["chalicelib.mail.sending"],
    ["chalicelib.mail.digests", "chalicelib.mail.emails", "chalicelib.mail.feedback", "chalicelib.mail.unsubscribing"],
    ["chalicelib.mail.trial"],
    ["chalicelib.mail.deliveries"],
    ["chalicelib.fire"],
    ["chalicelib.context"],
    ["chalicelib.queue.queues", "chalicelib.store"],
    ["chalicelib.queue.dead_letters", "chalicelib.upload"],
    ["chalicelib.mail.bulk"],
    ["chalicelib.mail.template"],
    ["chalicelib.mail.mailer", "chalicelib.queue.work_queue", "chalicelib.queue.job", "chalicelib.queue.rows"],
    ["chalicelib.mail.pace", "chalicelib.mail.letter", "chalicelib.queue.message", "chalicelib.queue.payloads"],
    ["chalicelib.mail.composition"],
    ["chalicelib.mail.unsubscribe"],
    ["chalicelib.mail.notices", "chalicelib.mail.subscriptions"],
    ["chalicelib.mail.suppressions"],
    ["chalicelib.telemetry"],
    ["chalicelib.redaction"],
    ["chalicelib.attempts"],
    ["chalicelib.sentence"],
    ["chalicelib.migrations.env", "chalicelib.migrations.versions.*", "chalicelib.migrations"],
    ["chalicelib.migrations.online"],
    ["chalicelib.schema"],
    ["chalicelib.schema.guide", "chalicelib.schema.runs", "chalicelib.schema.mail"],
    ["chalicelib.schema.backups", "chalicelib.schema.reports", "chalicelib.schema.sync"],
    ["chalicelib.schema.types"],
    ["chalicelib.application"],
    ["chalicelib.database"],
    ["chalicelib.engine", "chalicelib.rights"],
    ["chalicelib.cache"],
    ["chalicelib.secrets", "chalicelib.connection"],
    ["chalicelib.config"],
    ["chalicelib.reports.page"],
    ["chalicelib.reports.charts", "chalicelib.reports.mail"],
    ["chalicelib.reports.cards"],
    ["chalicelib.reports.figures"],
    ["chalicelib.reports.month", "chalicelib.reports.template", "chalicelib.backup.policy"],
    ["chalicelib.window"],
    ["chalicelib.mail.text"],
    ["chalicelib.eventbridge"],
    ["chalicelib.stage"],
    ["chalicelib.deadline", "chalicelib.schedule"],
    [
        "chalicelib.errors",
        "chalicelib.clock",
        "chalicelib.grants",
        "chalicelib.looking",
        "chalicelib.nearest",
        "chalicelib.trace",
        "chalicelib.zones",
    ],
    ["chalicelib.malformed"],
    ["chalicelib.cron"],
    ["chalicelib.outcome"],
    [
        "chalicelib",
        "chalicelib.backup",
        "chalicelib.mail",
        "chalicelib.queue",
        "chalicelib.reports",
        "chalicelib.cleanup",
        "chalicelib.status",
        "chalicelib.sync",
    ],
]


def shipped_modules() -> dict[str, Path]:
    files = [ROOT / "app.py", *sorted((ROOT / "chalicelib").rglob("*.py"))]
    names = {str(path.relative_to(ROOT).with_suffix("")).replace("/", "."): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in names.items()}


def level_of(module: str) -> int:
    exact = [n for n, names in enumerate(LEVELS) if module in names]
    by_folder = [n for n, names in enumerate(LEVELS) if f"{module.rpartition('.')[0]}.*" in names]
    assert exact or by_folder, f"{module} has no level; put it into LEVELS where it belongs"
    return (exact or by_folder)[0]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", shipped_modules())
def test_imports_point_down_only(module: str) -> None:
    known = shipped_modules()
    for imported in imports_of(known[module]):
        if imported in known and imported != module and not module.startswith(f"{imported}."):
            assert level_of(imported) > level_of(module), f"{module} imports {imported}, which is not below it"


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
    from dataclasses import fields

    for setting in fields(Settings):
        assert f"`{setting.metadata['variable']}`" in documented


def test_no_shipped_file_is_long() -> None:
    long = {name: len(path.read_text().splitlines()) for name, path in shipped_modules().items()}
    # Triggers and nothing else: each task adds its own.
    del long["app"]
    assert {name: lines for name, lines in long.items() if lines > 250} == {}
