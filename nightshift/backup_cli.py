"""`nightshift backup …`: make, read back, restore and remove backups, in a deployment or with this shell's settings."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from nightshift.operating import ask
from nightshift.terminal import console, plain, sentences

app = typer.Typer(no_args_is_help=True, help="Make, verify, restore and remove backups of the database.")

StageName = Annotated[str | None, typer.Option("--stage", help="The stage; without it, the settings of this shell.")]
Wanted = Annotated[
    str, typer.Argument(metavar="BACKUP", help="latest, an id, or a moment: the last backup taken before it.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Take one that is not encrypted although BACKUP_KEY is set.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
KEPT = 90


@app.command("list")
def list_backups(as_json: AsJson = False, stage: StageName = None) -> None:
    """List the backups of the bucket, newest first, and why each is kept.

    Example: nightshift backup list --stage prod
    """
    with sentences():
        found = ask(stage, "backup.list")["backups"]
        _tell(found, _table(found) if found else "There are no backups in the bucket.", as_json=as_json)


@app.command()
def create(as_json: AsJson = False, stage: StageName = None) -> None:
    """Make a backup now, and read it back.

    Example: nightshift backup create --stage prod
    """
    with sentences():
        summary = ask(stage, "backup.create")
        line = f"{summary['outcome']}: {summary['succeeded']} tables are backed up and read back."
        _tell(summary, line, as_json=as_json)


@app.command()
def verify(backup: Wanted = "latest", plain_: Plain = False, as_json: AsJson = False, stage: StageName = None) -> None:
    """Read a backup back: every digest, every row; and mark it as verified, or no longer so.

    Example: nightshift backup verify 20261125T010000Z-1a2b3c01 --stage prod
    """
    with sentences():
        answer = ask(stage, "backup.verify", backup=backup, plain=plain_ or None)
        line = f"{answer['backup']} is whole: {answer['parts']} parts, {answer['rows']:,} rows."
        _tell(answer, line, as_json=as_json)


@app.command()
def drill(backup: Wanted = "latest", as_json: AsJson = False, stage: StageName = None) -> None:
    """Restore a backup into a schema made for it, compare every row, and drop the schema again.

    Example: nightshift backup drill --stage prod
    """
    with sentences():
        answer = ask(stage, "backup.drill", backup=backup)
        told = f"{answer['tables']} tables, {answer['rows']:,} rows"
        _tell(answer, f"{answer['backup']} restores to what was backed up: {told}.", as_json=as_json)


@app.command()
def restore(
    backup: Wanted = "latest",
    into: Annotated[str | None, typer.Option("--into", help="The schema; without it, the application's own.")] = None,
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Only tables of this name or pattern; may be repeated.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="What has the backup's names there may go.")] = False,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Views and programs may name other schemas than the one restored into.")
    ] = False,
    own: Annotated[bool, typer.Option("--own", help="Make the database user the definer of everything.")] = False,
    checksum: Annotated[bool, typer.Option("--checksum", help="Read every row again and compare.")] = False,
    plain_: Plain = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Restore a backup: all of it is read and judged before the first statement. Interrupted, the same goes on.

    Example: nightshift backup restore latest --into shop_restored --checksum
    """
    request: dict[str, Any] = {
        "backup": backup,
        "schema": into,
        "tables": table,
        "replace": replace or None,
        "elsewhere": elsewhere or None,
        "own": own or None,
        "by_checksum": checksum or None,
        "plain": plain_ or None,
    }
    with sentences():
        answer = ask(stage, "backup.restore", **request)
        while not answer["is_complete"]:
            console.print(f"{answer['backup']}: a part of it is restored; going on ...", markup=False)
            # The second time it is found there already, as what it is.
            answer = ask(stage, "backup.restore", **request)
        told = f"{answer['tables']} tables, {answer['rows']:,} rows"
        _tell(answer, f"Restored {answer['backup']} into {answer['schema']}: {told}.", as_json=as_json)
        if answer["differences"]:
            raise ValueError("what was restored differs from the backup: " + "; ".join(answer["differences"]))


@app.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it, only tell which.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Tell which backups BACKUP_KEEP does not keep, or remove them.

    Example: nightshift backup prune --stage prod --yes
    """
    with sentences():
        answer = ask(stage, "backup.prune", dry_run=not yes)
        verb = "Removed" if yes else "Would remove"
        names = plain(", ".join(answer["removed"])) or "none"
        lines = [f"{verb} {len(answer['removed'])}, {answer['bytes'] / 1e6:,.1f} MB: {names}"]
        lines += [f"{id} should go and is kept: {plain(reason)}" for id, reason in answer["kept"].items()]
        _tell(answer, "\n".join(lines), as_json=as_json)


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table("backup", "read back", "drilled", box=None, header_style="dim", pad_edge=False)
    table.add_column("MB", justify="right")
    table.add_column("kept")
    for each in found:
        verified = each["verified_at"] or ("no" if each["finished_at"] else "unfinished")
        kept = plain("; ".join(each["reasons"]))[:KEPT]
        told = kept if each["keep"] else f"goes: {kept}"
        table.add_row(each["id"], verified, each["drilled_at"] or "no", f"{each['bytes'] / 1e6:,.1f}", told)
    return table


def _tell(answer: Any, shown: str | Table, *, as_json: bool) -> None:
    if as_json or isinstance(shown, str):
        console.print(json.dumps(answer, indent=2) if as_json else shown, markup=False)
    else:
        console.print(shown)
