"""`nightshift backup …`: make, read back, restore and remove backups, in a deployment or with this shell's settings."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from nightshift.options import AsJson, StageName
from nightshift.terminal import complain, plain, print_json, print_lines, sentences, table, tell
from nightshift.waiting import ask

app = typer.Typer(no_args_is_help=True, help="Make, verify, restore and remove backups of the database.")

Wanted = Annotated[
    str, typer.Argument(metavar="BACKUP", help="latest, an id, or a moment: the last backup taken before it.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Take one that is not encrypted although BACKUP_KEY is set.")]


@app.command("list")
def list_backups(as_json: AsJson = False, stage: StageName = None) -> None:
    """List the backups of the bucket, newest first, and why each is kept.

    Example: nightshift backup list --stage prod
    """
    with sentences():
        found = ask(stage, "backup.list")["backups"]
        if as_json:
            print_json(found)
            return
        heads = ("backup", "verified", "drilled", "MB", "kept")
        print_lines(table(heads, map(_row, found)) if found else ["There are no backups in the bucket."])


@app.command()
def create(as_json: AsJson = False, stage: StageName = None) -> None:
    """Make a backup now, and read it back.

    Example: nightshift backup create --stage prod
    """
    with sentences():
        summary = ask(stage, "backup.create")
        is_made = summary.get("outcome") != "skipped"
        if as_json:
            print_json(summary)
        elif is_made:
            print_lines([_made(summary), *_broken(summary)])
        if not is_made:
            raise ValueError(f"no backup was made: {summary['reason']}")


@app.command()
def verify(backup: Wanted = "latest", plain_: Plain = False, as_json: AsJson = False, stage: StageName = None) -> None:
    """Read a backup back: every digest, every row; and mark it as verified, or no longer so.

    Example: nightshift backup verify 20261125T010000Z-1a2b3c01 --stage prod
    """
    with sentences():
        answer = ask(stage, "backup.verify", backup=backup, plain=plain_ or None)
        told = f"{_count(answer, 'part')}, {_count(answer, 'row')}"
        tell(answer, [f"{answer['backup']} is whole: {told}."], as_json=as_json)


@app.command()
def drill(backup: Wanted = "latest", plain_: Plain = False, as_json: AsJson = False, stage: StageName = None) -> None:
    """Restore a backup into a schema made for it, compare every row, and drop the schema again.

    Example: nightshift backup drill --stage prod
    """
    with sentences():
        answer = ask(stage, "backup.drill", backup=backup, plain=plain_ or None)
        told = f"{_count(answer, 'table')}, {_count(answer, 'row')}"
        lines = [f"{answer['backup']} restores to what was backed up: {told}."]
        lines += [f"Not restored, and broken before: {plain(reason)}" for reason in answer["broken"]]
        tell(answer, lines, as_json=as_json)


@app.command()
def restore(
    backup: Wanted = "latest",
    into: Annotated[
        str | None, typer.Option("--into", help="The schema, of SQLite the file; without it, the application's own.")
    ] = None,
    table_: Annotated[
        list[str] | None, typer.Option("--table", help="Only tables of this name or pattern; may be repeated.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="What has the backup's names there may go.")] = False,
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Views and programs may name other schemas than the one restored into.")
    ] = False,
    programs: Annotated[
        bool | None,
        typer.Option(
            "--programs/--no-programs",
            help="Restore routines, triggers and events of a backup without a key and trust it, or only tables.",
        ),
    ] = None,
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
        "tables": table_,
        "replace": replace or None,
        "elsewhere": elsewhere or None,
        "programs": programs,
        "own": own or None,
        "by_checksum": checksum or None,
        "plain": plain_ or None,
    }
    with sentences():
        answer = ask(stage, "backup.restore", **request)
        while not answer["is_complete"]:
            if not as_json:
                print_lines([f"{answer['backup']}: a part of it is restored; going on ..."])
            # `latest` may be another one by now.
            answer = ask(stage, "backup.restore", **request | {"backup": answer["backup"]})
        told = f"{_count(answer, 'table')}, {_count(answer, 'row')}"
        tell(answer, [f"Restored {answer['backup']} into {plain(answer['schema'])}: {told}."], as_json=as_json)
        for each in answer["broken"]:
            complain(f"not restored: {each['reason']}" + "; it was broken before" * each["was_broken"])
        if lost := [each for each in answer["broken"] if not each["was_broken"]]:
            raise ValueError(f"restored without {_count({'programs': lost}, 'program')} that the server refused")
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
        lines = [f"{verb} {_count(answer, 'backup', 'removed')}, {_megabytes(answer)} MB: {names}"]
        lines += [f"{id} should go and is kept: {plain(reason)}" for id, reason in answer["kept"].items()]
        tell(answer, lines, as_json=as_json)


def _made(summary: Mapping[str, Any]) -> str:
    if summary.get("handed_on"):
        return f"A backup is made, and the worker goes on reading it back; its run is {summary['run_id']}."
    if "snapshot" in summary:
        return f"RDS makes the snapshot {summary['snapshot']}; the runs to come have it exported."
    made = f"{summary['backup']} is made and read back: {_count(summary, 'table', 'succeeded')}."
    if versioned := summary.get("without_history"):
        made += f" It holds the present rows of {plain(', '.join(versioned))}, and not their history."
    if libraries := summary.get("without_libraries"):
        made += f" It holds none of the libraries {plain(', '.join(libraries))}."
    return made


def _broken(summary: Mapping[str, Any]) -> list[str]:
    names = [plain(name) for name in summary.get("broken_views", ())]
    if not names:
        return []
    return [f"Broken in the database, so that a restore may not make them: the views {', '.join(names)}."]


def _row(each: Mapping[str, Any]) -> tuple[list[object], list[str]]:
    verified = each["verified_at"] or ("no" if each["finished_at"] else "unfinished")
    reasons = each["reasons"] if each["keep"] else [f"goes: {'; '.join(each['reasons'])}"]
    return [each["id"], verified, each["drilled_at"] or "no", _megabytes(each)], reasons


def _count(answer: Mapping[str, Any], noun: str, key: str | None = None) -> str:
    found = answer[key or f"{noun}s"]
    number = found if isinstance(found, int) else len(found)
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _megabytes(answer: Mapping[str, Any]) -> str:
    return f"{answer['bytes'] / 1e6:,.1f}"
