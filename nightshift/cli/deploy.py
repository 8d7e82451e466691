"""`nightshift doctor`, `deploy`, `package`, `destroy` and `migrate`."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift.cli.options import AsJson, check_stage, complete_stage
from nightshift.cli.output import console, friendly_errors, print_error, print_json, print_lines
from nightshift.cli.progress import progress

if TYPE_CHECKING:
    from nightshift.deploy.deployment import Deployment
    from nightshift.deploy.doctor import Finding

# The exit code of a shell command that Ctrl-C ended.
INTERRUPTED = 130
MARKS = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}

StageName = Annotated[
    str,
    typer.Option(
        "--stage",
        callback=check_stage,
        help="A stage of .chalice/config.json and infra/stages.json.",
        autocompletion=complete_stage,
    ),
]


def migrate() -> None:
    """Migrate the database of DATABASE_URL to the newest schema.

    Your application's tables are not changed.

    Example: nightshift migrate
    """
    from chalicelib import migrations
    from nightshift.local.environment import engine_of

    with friendly_errors():
        if not os.environ.get("DATABASE_URL"):
            raise ValueError(
                "DATABASE_URL is not set: DATABASE_URL=mysql+pymysql://user:password@host/database nightshift migrate"
            )
        engine = engine_of(os.environ)
        migrations.upgrade(engine)
        print_lines(["The database has the newest schema.", *migrations.advice(engine)])


def doctor(stage: StageName, as_json: AsJson = False) -> None:
    """Check a stage's configuration and health.

    Exits with 1 if there is a problem.

    Example: nightshift doctor --stage prod
    """
    from nightshift.deploy import doctor as checks
    from nightshift.deploy.session import client, region

    with friendly_errors():
        with progress("doctor", stage):
            findings = checks.examine(client, Path.cwd(), stage, region())
        if as_json:
            print_json([vars(finding) for finding in findings])
        else:
            _print_findings(findings)
            print_lines([step] if (step := checks.next_step(findings, stage)) else [])
        if not checks.is_well(findings):
            raise typer.Exit(1)


def deploy(
    stage: StageName,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would change, and change nothing.")] = False,
) -> None:
    """Deploy a stage: stacks, configuration, functions and migrations.

    It is safe to repeat.

    Example: nightshift deploy --stage prod --plan
    """
    from nightshift.deploy import doctor as checks
    from nightshift.deploy.session import client

    with friendly_errors(), _interruptible("deploy", stage) as done:
        if not _is_ready(stage) and not plan:
            raise ValueError("Nothing was deployed: fix the items above and deploy again.")
        deployment = _deployment(stage)
        _print_steps("deploy", stage, deployment.plan() if plan else deployment.deploy(), done)
        if plan:
            return
        with progress("doctor", stage):
            findings = checks.examine_after(client, Path.cwd(), stage)
        _print_findings(findings)
        if not checks.is_well(findings):
            raise ValueError("Deployed with problems: fix the items above and deploy again.")


def package(
    stage: StageName,
    folder: Annotated[Path, typer.Argument(help="Where to write sam.json and deployment.zip.", show_default=False)],
) -> None:
    """Prepare a deployment by your own pipeline: the stacks, and a template and package of the functions.

    Your pipeline then deploys the template with CloudFormation.

    Example: nightshift package out --stage prod
    """
    with friendly_errors(), _interruptible(f"package {folder}", stage) as done:
        if not _is_ready(stage):
            raise ValueError("Nothing was packaged: fix the items above and try again.")
        _print_steps("package", stage, _deployment(stage).package(folder), done)


def destroy(
    stage: StageName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    only_functions: Annotated[
        bool, typer.Option("--functions", help="Only the functions and their triggers, to change how you deploy.")
    ] = False,
) -> None:
    """Delete a stage's functions, queues and alarms.

    The bucket with its backups, the secrets and the database are kept.

    Example: nightshift destroy --stage dev
    """
    with friendly_errors(), _interruptible("destroy", stage) as done:
        deployment = _deployment(stage)
        what = "functions" if only_functions else "functions, queues and alarms"
        if not yes and typer.prompt(f"Type {stage} to delete its {what}") != stage:
            raise ValueError("nothing was deleted")
        _print_steps("destroy", stage, deployment.destroy(is_all=not only_functions), done)


def _deployment(stage: str) -> "Deployment":
    from nightshift.deploy.deployment import Deployment
    from nightshift.deploy.session import client, invoker, place
    from nightshift.project.stage import read_stage

    project = Path.cwd()
    return Deployment(
        project=project, stage=read_stage(project, stage), place=place(stage), client=client, invoker=invoker
    )


def _is_ready(stage: str) -> bool:
    from nightshift.deploy import doctor as checks
    from nightshift.deploy.session import client, region

    with progress("doctor", stage):
        findings = checks.examine_before(client, Path.cwd(), stage, region())
    _print_findings(findings)
    return checks.is_well(findings)


def _print_steps(command: str, stage: str, steps: Iterator[str], done: list[str]) -> None:
    while True:
        # A step may take long: creating a database takes a quarter of an hour.
        with progress(command, stage):
            step = next(steps, None)
        if step is None:
            return
        print_lines([f"  {step}"])
        done.append(step)


@contextmanager
def _interruptible(command: str, stage: str) -> Iterator[list[str]]:
    """Yield a list for the completed steps. After Ctrl-C, print the last one and how to continue."""
    done: list[str] = []
    try:
        yield done
    except KeyboardInterrupt:
        where = f"after {done[-1]!r}; AWS completes what it has started" if done else "before the first step"
        print_error(f"interrupted {where}. To continue: nightshift {command} --stage {stage}")
        raise typer.Exit(INTERRUPTED) from None


def _print_findings(findings: "Iterable[Finding]") -> None:
    for finding in findings:
        console.print(f"{MARKS[finding.level]} {finding.subject:24} ", end="")
        console.print(finding.text, markup=False)
