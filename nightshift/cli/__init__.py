"""The command line. A module is a group of commands; heavy imports wait until a command needs them."""

from typing import Annotated

import typer

from nightshift.cli import adopt, backup, deploy, dev, jobs, logs, make, runs, schedule, status, worker
from nightshift.cli.output import console

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
for group in (jobs, backup, schedule, runs, worker, make):
    app.add_typer(group.app, name=group.__name__.rpartition(".")[2])
for command in (
    dev.demo,
    adopt.adopt,
    deploy.migrate,
    deploy.doctor,
    deploy.deploy,
    deploy.package,
    deploy.destroy,
    runs.run,
    runs.backfill,
    schedule.pause,
    schedule.resume,
    status.status,
    dev.dev,
    logs.logs,
    jobs.enqueue,
):
    app.command()(command)


def _print_version(is_given: bool) -> None:  # noqa: FBT001 (Typer passes it by position)
    if is_given:
        from importlib.metadata import version

        console.print(f"nightshift {version('nightshift')}", markup=False)
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Background jobs for MySQL web applications on AWS Lambda."""
