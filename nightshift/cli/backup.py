"""`nightshift backup …`: create, verify, restore and remove backups."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from nightshift.cli.options import AsJson, StageName
from nightshift.cli.output import (
    friendly_errors,
    plain,
    plural,
    print_answer,
    print_error,
    print_json,
    print_lines,
    table,
)
from nightshift.cli.progress import ask

app = typer.Typer(no_args_is_help=True, help="Create, verify, restore and remove backups of the database.")

BackupName = Annotated[
    str, typer.Argument(metavar="BACKUP", help="latest, an id, or a time: the last backup before it.")
]
Plain = Annotated[bool, typer.Option("--plain", help="Accept an unencrypted backup although BACKUP_KEY is set.")]
COLUMNS = ("backup", "verified", "drilled", "MB", "retention")


@app.command("list")
def list_backups(as_json: AsJson = False, stage: StageName = None) -> None:
    """List backups, newest first, and why each is kept.

    Example: nightshift backup list --stage prod
    """
    with friendly_errors():
        found = ask(stage, "backup.list")["backups"]
        lines = table(COLUMNS, map(_row, found)) if found else ["The bucket has no backups."]
        print_answer(found, lines, as_json=as_json)


@app.command()
def create(as_json: AsJson = False, stage: StageName = None) -> None:
    """Create a backup now, and verify it.

    Example: nightshift backup create --stage prod
    """
    with friendly_errors():
        summary = ask(stage, "backup.create")
        is_created = summary.get("outcome") != "skipped"
        if as_json:
            print_json(summary)
        elif is_created:
            print_lines([_created(summary), *_broken_views(summary)])
        if not is_created:
            raise ValueError(f"no backup was created: {summary['reason']}")


@app.command()
def verify(
    backup: BackupName = "latest", plain_: Plain = False, as_json: AsJson = False, stage: StageName = None
) -> None:
    """Verify a backup: read back every part and every row.

    Example: nightshift backup verify 20261125T010000Z-1a2b3c01 --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "backup.verify", backup=backup, plain=plain_ or None)
        counts = f"{_count(answer, 'part')}, {_count(answer, 'row')}"
        print_answer(answer, [f"{answer['backup']} is complete: {counts}."], as_json=as_json)


@app.command()
def drill(
    backup: BackupName = "latest", plain_: Plain = False, as_json: AsJson = False, stage: StageName = None
) -> None:
    """Restore a backup into a temporary schema, and compare every row.

    Example: nightshift backup drill --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "backup.drill", backup=backup, plain=plain_ or None)
        counts = f"{_count(answer, 'table')}, {_count(answer, 'row')}"
        lines = [f"{answer['backup']} restores without differences: {counts}."]
        lines += [f"Not restored, was already broken: {plain(reason)}" for reason in answer["broken"]]
        print_answer(answer, lines, as_json=as_json)


@app.command()
def restore(
    backup: BackupName = "latest",
    into: Annotated[
        str | None,
        typer.Option("--into", help="The target schema, or SQLite file. Default: the application's own."),
    ] = None,
    table_: Annotated[
        list[str] | None, typer.Option("--table", help="Only tables with this name or pattern. Repeatable.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite existing objects.")] = False,
    allow_cross_schema: Annotated[
        bool,
        typer.Option("--allow-cross-schema", help="Allow views and programs that use other schemas than the target."),
    ] = False,
    programs: Annotated[
        bool | None,
        typer.Option(
            "--programs/--no-programs",
            help="Restore routines, triggers and events of an unencrypted backup, or only tables.",
        ),
    ] = None,
    set_definer: Annotated[
        bool, typer.Option("--set-definer", help="Make the database user the definer of every object.")
    ] = False,
    checksum: Annotated[bool, typer.Option("--checksum", help="Read every row again and compare it.")] = False,
    plain_: Plain = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Restore a backup.

    The whole backup is checked before the first statement. After an interruption, the same command continues.

    Example: nightshift backup restore latest --into shop_restored --checksum
    """
    request: dict[str, Any] = {
        "backup": backup,
        "schema": into,
        "tables": table_,
        "replace": replace or None,
        "allow_cross_schema": allow_cross_schema or None,
        "programs": programs,
        "set_definer": set_definer or None,
        "by_checksum": checksum or None,
        "plain": plain_ or None,
    }
    with friendly_errors():
        answer = ask(stage, "backup.restore", **request)
        while not answer["is_complete"]:
            if not as_json:
                print_lines([f"{answer['backup']}: partly restored; continuing ..."])
            # By its id: `latest` may be another backup by now.
            answer = ask(stage, "backup.restore", **request | {"backup": answer["backup"]})
        counts = f"{_count(answer, 'table')}, {_count(answer, 'row')}"
        done = f"Restored {answer['backup']} into {plain(answer['schema'])}: {counts}."
        print_answer(answer, [done], as_json=as_json)
        for each in answer["broken"]:
            print_error(f"not restored: {each['reason']}" + "; it was already broken" * each["was_broken"])
        if refused := [each for each in answer["broken"] if not each["was_broken"]]:
            raise ValueError(f"restored without {plural(len(refused), 'program')} that the server rejected")
        if answer["differences"]:
            raise ValueError("the restored data differs from the backup: " + "; ".join(answer["differences"]))


@app.command()
def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Remove them. Without it, only list them.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """List or remove the backups that BACKUP_KEEP does not keep.

    Example: nightshift backup prune --stage prod --yes
    """
    with friendly_errors():
        answer = ask(stage, "backup.prune", dry_run=not yes)
        verb = "Removed" if yes else "Would remove"
        names = plain(", ".join(answer["removed"])) or "none"
        lines = [f"{verb} {_count(answer, 'backup', 'removed')}, {_megabytes(answer)} MB: {names}"]
        lines += [f"{id} is expired but kept: {plain(reason)}" for id, reason in answer["kept"].items()]
        print_answer(answer, lines, as_json=as_json)


def _created(summary: Mapping[str, Any]) -> str:
    if summary.get("continues"):
        return f"The backup is written; the worker continues to verify it. Its run is {summary['run_id']}."
    if "snapshot" in summary:
        return f"RDS is creating the snapshot {summary['snapshot']}. Later runs export it."
    line = f"Created and verified {summary['backup']}: {_count(summary, 'table', 'succeeded')}."
    if versioned := summary.get("without_history"):
        line += f" It has the current rows of {plain(', '.join(versioned))}, without their history."
    if libraries := summary.get("without_libraries"):
        line += f" It does not include the libraries {plain(', '.join(libraries))}."
    return line


def _broken_views(summary: Mapping[str, Any]) -> list[str]:
    names = [plain(name) for name in summary.get("broken_views", ())]
    return [f"Views that are broken in the database, which a restore may skip: {', '.join(names)}."] if names else []


def _row(each: Mapping[str, Any]) -> tuple[list[object], list[str]]:
    verified = each["verified_at"] or ("no" if each["finished_at"] else "unfinished")
    reasons = each["reasons"] if each["keep"] else [f"expired: {'; '.join(each['reasons'])}"]
    return [each["id"], verified, each["drilled_at"] or "no", _megabytes(each)], reasons


def _count(answer: Mapping[str, Any], noun: str, key: str | None = None) -> str:
    found = answer[key or f"{noun}s"]
    return plural(found if isinstance(found, int) else len(found), noun)


def _megabytes(answer: Mapping[str, Any]) -> str:
    return f"{answer['bytes'] / 1e6:,.1f}"
