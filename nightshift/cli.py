"""The command-line tool."""

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
# Made before anything redirects standard output, so that it stays with the terminal.
console = Console(file=sys.stdout, highlight=False, soft_wrap=True)


@app.callback()
def main() -> None:
    """Background jobs for MySQL web applications on AWS Lambda."""


@app.command()
def demo(
    posts: Annotated[Path | None, typer.Option(help="A CSV of real posts: id, title, url, num_points, …")] = None,
    users: Annotated[int, typer.Option(min=1, help="How many users the made-up blog has.")] = 300,
    folder: Annotated[Path, typer.Option(help="Where mails and log go.")] = Path(".nightshift/demo"),
) -> None:
    """Send a digest on this machine, twice, and show that the second fire sends nothing.

    Uses an SQLite file, or the empty database of DATABASE_URL; REDIS_URL is used where it is set.
    """
    from nightshift.demo.run import run_demo

    try:
        run_demo(console, folder.absolute(), user_count=users, posts_csv=posts)
    except ValueError as error:
        _fail(str(error))


@app.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL to the newest schema; the application's own tables are left as they are."""
    from chalicelib import migrations
    from chalicelib.database import engine_for

    url = os.environ.get("DATABASE_URL")
    if not url:
        _fail("DATABASE_URL is not set: DATABASE_URL=mysql+pymysql://user:password@host/database nightshift migrate")
    migrations.upgrade(engine_for(url))
    console.print("The database has the newest schema.")


def _fail(sentence: str) -> NoReturn:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"nightshift: {sentence}", markup=False)
    raise typer.Exit(1)
