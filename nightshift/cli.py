"""The command-line tool. Heavy imports wait until a command needs them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightshift import (
    backup_cli,
    dev_cli,
    enqueue_cli,
    jobs_cli,
    logs_cli,
    make_cli,
    runs_cli,
    schedule_cli,
    status_cli,
    worker_cli,
)
from nightshift.completion import complete_stage
from nightshift.options import AsJson, check_stage
from nightshift.terminal import complain, console, print_json, print_lines, sentences
from nightshift.waiting import waiting

if TYPE_CHECKING:
    from nightshift.deploy.deployment import Deployment
    from nightshift.deploy.doctor import Finding

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(jobs_cli.app, name="jobs")
app.add_typer(backup_cli.app, name="backup")
app.add_typer(schedule_cli.app, name="schedule")
app.add_typer(runs_cli.app, name="runs")
app.add_typer(worker_cli.app, name="worker")
app.add_typer(make_cli.app, name="make")

# As a shell has it for what Ctrl-C has ended.
INTERRUPTED = 130

StageName = Annotated[
    str,
    typer.Option(
        "--stage",
        callback=check_stage,
        help="A stage of .chalice/config.json and infra/stages.json.",
        autocompletion=complete_stage,
    ),
]


def _tell_version(is_asked: bool) -> None:  # noqa: FBT001 (Typer calls it so)
    if is_asked:
        from importlib.metadata import version

        console.print(f"nightshift {version('nightshift')}", markup=False)
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version.")
    ] = False,
) -> None:
    """Background jobs for MySQL web applications on AWS Lambda."""


@app.command()
def demo(
    posts: Annotated[Path | None, typer.Option(help="A CSV of real posts: id, title, url, num_points, …")] = None,
    users: Annotated[int, typer.Option(min=1, help="How many users the made-up blog has.")] = 300,
    folder: Annotated[Path, typer.Option(help="Where mails, report and log go.")] = Path(".nightshift/demo"),
) -> None:
    """Run every scheduled task and the queue on this machine, for a made-up blog, and show what each did.

    Uses an SQLite file, or the empty database of DATABASE_URL; where REDIS_URL is set, mails are paced through it.

    Example: nightshift demo --users 1000
    """
    from nightshift.demo.run import run_demo

    with sentences():
        run_demo(console, folder.absolute(), user_count=users, posts_csv=posts)


@app.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL to the newest schema; the application's own tables are left as they are.

    Example: nightshift migrate
    """
    from chalicelib import migrations
    from nightshift.local.database import engine_of

    with sentences():
        if not os.environ.get("DATABASE_URL"):
            raise ValueError(
                "DATABASE_URL is not set: DATABASE_URL=mysql+pymysql://user:password@host/database nightshift migrate"
            )
        engine = engine_of(os.environ)
        migrations.upgrade(engine)
        print_lines(["The database has the newest schema.", *migrations.advice(engine)])


@app.command()
def doctor(stage: StageName, as_json: AsJson = False) -> None:
    """Say what stands in the way of deploying a stage, or of one that is deployed, and what to do about it.

    Exits with 1 when there is a problem.

    Example: nightshift doctor --stage prod
    """
    from nightshift.deploy import doctor as examination
    from nightshift.deploy.session import client, region

    with sentences():
        with waiting("doctor", stage):
            findings = examination.examine(client, Path.cwd(), stage, region())
        if as_json:
            print_json([vars(finding) for finding in findings])
        else:
            _tell(findings)
        if not examination.is_well(findings):
            raise typer.Exit(1)


@app.command()
def deploy(
    stage: StageName,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and do nothing.")] = False,
) -> None:
    """Deploy a stage: check, stacks, configuration, functions, migrations. Repeating it changes nothing more.

    Example: nightshift deploy --stage prod --plan
    """
    from nightshift.deploy import doctor as examination
    from nightshift.deploy.session import client

    with sentences(), _interruptible("deploy", stage) as done:
        if not _is_well_before(stage) and not plan:
            raise ValueError("nothing was deployed; mend what is marked above and try again")
        deployment = _deployment(stage)
        _tell_steps("deploy", stage, deployment.plan() if plan else deployment.deploy(), done)
        if plan:
            return
        with waiting("doctor", stage):
            after = examination.examine_after(client, Path.cwd(), stage)
        _tell(after)
        if not examination.is_well(after):
            raise ValueError("deployed, but not well; mend what is marked above and deploy again")


@app.command()
def package(
    stage: StageName,
    folder: Annotated[Path, typer.Argument(help="Where sam.json and deployment.zip go.", show_default=False)],
) -> None:
    """Do all that `deploy` does but for the functions, and write what CloudFormation makes those of.

    For a pipeline of your own: it makes or updates a stack of the template and the package in the folder.

    Example: nightshift package out --stage prod
    """
    with sentences(), _interruptible(f"package {folder}", stage) as done:
        if not _is_well_before(stage):
            raise ValueError("nothing was packaged; mend what is marked above and try again")
        _tell_steps("package", stage, _deployment(stage).package(folder), done)


@app.command()
def destroy(
    stage: StageName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    only_functions: Annotated[
        bool, typer.Option("--functions", help="Only the functions and their triggers, to change over.")
    ] = False,
) -> None:
    """Delete a stage's functions and queues. The bucket with its backups, the secrets and the database are kept.

    Example: nightshift destroy --stage dev
    """
    with sentences(), _interruptible("destroy", stage) as done:
        deployment = _deployment(stage)
        what = "functions" if only_functions else "functions, queues and alarms"
        if not yes and typer.prompt(f"Type {stage} to delete its {what}") != stage:
            raise ValueError("nothing was deleted")
        _tell_steps("destroy", stage, deployment.destroy(is_all=not only_functions), done)


for command in (
    runs_cli.run,
    runs_cli.backfill,
    schedule_cli.pause,
    schedule_cli.resume,
    status_cli.status,
    dev_cli.dev,
    logs_cli.logs,
    enqueue_cli.enqueue,
):
    app.command()(command)


def _deployment(stage: str) -> "Deployment":
    from nightshift.deploy.deployment import Deployment
    from nightshift.deploy.session import client, invoker, place
    from nightshift.deploy.stage import read_stage

    project = Path.cwd()
    return Deployment(
        project=project, stage=read_stage(project, stage), place=place(stage), client=client, invoker=invoker
    )


def _is_well_before(stage: str) -> bool:
    from nightshift.deploy import doctor as examination
    from nightshift.deploy.session import client, region

    with waiting("doctor", stage):
        findings = examination.examine_before(client, Path.cwd(), stage, region())
    _tell(findings)
    return examination.is_well(findings)


def _tell_steps(command: str, stage: str, steps: Iterator[str], done: list[str]) -> None:
    while True:
        # A database that is made takes a quarter of an hour.
        with waiting(command, stage):
            step = next(steps, None)
        if step is None:
            return
        print_lines([f"  {step}"])
        done.append(step)


@contextmanager
def _interruptible(command: str, stage: str) -> Iterator[list[str]]:
    """Give the list for the steps that are done, and after Ctrl-C say which is the last, and what to run."""
    done: list[str] = []
    try:
        yield done
    except KeyboardInterrupt:
        where = f"after the step {done[-1]!r}; what AWS has begun goes on" if done else "before any step was done"
        complain(f"interrupted {where}. To continue: nightshift {command} --stage {stage}")
        raise typer.Exit(INTERRUPTED) from None


def _tell(findings: "Iterable[Finding]") -> None:
    marks = {"ok": "[green]✓[/]", "warning": "[yellow]![/]", "problem": "[red]✗[/]"}
    for finding in findings:
        console.print(f"{marks[finding.level]} {finding.subject:24} ", end="")
        console.print(finding.text, markup=False)
