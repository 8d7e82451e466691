"""The demo's backup: made and read back, refused where one bit of it is another, and restored."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from chalicelib.backup.archive.folder import MANIFEST
from chalicelib.core.errors import DamagedError, RunFailedError
from nightshift.cli.output import plain
from nightshift.demo.part import Part, fire
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET, changed
from nightshift.local.invocation import invoke

DAMAGED_BUCKET = f"{BUCKET}-damaged"
# What a backup itself goes on writing: of its run, and of itself.
WRITTEN_SINCE = {"runs", "backups"}


def back_up_and_restore(aws: LocalAws, engine: Engine, folder: Path, moment: datetime) -> Part:
    """Back up the demo's database at a moment of the night, and restore it.

    Raises ValueError where a damaged copy is restored, or the restored one is another.
    """
    made = fire("database_backup", moment)
    verified = invoke("operate", {"command": "backup.verify", "backup": made["backup"]})
    told = [
        f"Backup    {made['backup']} has the {verified['rows']:,} rows of {made['succeeded']} tables, "
        f"{verified['stored_bytes'] / 1e6:.1f} MB compressed, and was read back",
        "          with one bit of a copy changed, that copy is refused before anything is restored:",
        f"          {plain(_refusal(aws, made['backup'], place=str(folder / 'damaged.db')))}",
    ]
    if engine.dialect.name == "sqlite":
        told.append(_restore(made["backup"], Path(engine.url.database or ""), to=folder / "restored.db"))
    summaries = [made]
    try:
        summaries.append(fire("backup_drill", _sunday(moment)))
        told.append(f"          the drill has restored it on trial, with all {summaries[-1]['succeeded']} tables")
    except RunFailedError as error:
        # A user of a server may do less there than a drill needs.
        told.append(f"          it was not restored on trial: {plain(error)}")
    return Part(summaries=summaries, told=told)


def _sunday(moment: datetime) -> datetime:
    return moment.replace(hour=4) - timedelta(days=moment.isoweekday() % 7)


def _refusal(aws: LocalAws, id: str, *, place: str) -> str:
    """Return what is said to a restore from a copy of the bucket in which one bit is another."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=DAMAGED_BUCKET)
    contents: dict[str, bytes] = {}
    for found in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"backups/{id}/")["Contents"]:
        contents[found["Key"]] = s3.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read()
    largest = max((key for key in contents if not key.endswith(MANIFEST)), key=lambda key: len(contents[key]))
    flipped = bytearray(contents[largest])
    flipped[len(flipped) // 2] ^= 1
    for key, content in (contents | {largest: bytes(flipped)}).items():
        s3.put_object(Bucket=DAMAGED_BUCKET, Key=key, Body=content)
    with changed(BUCKET=DAMAGED_BUCKET):
        try:
            invoke("operate", {"command": "backup.restore", "backup": id, "schema": place})
        except DamagedError as error:
            return str(error)
    raise ValueError("a damaged backup was restored")


def _restore(id: str, database: Path, *, to: Path) -> str:
    to.unlink(missing_ok=True)
    invoke("operate", {"command": "backup.restore", "backup": id, "schema": str(to)})
    before, after = _rows(database), _rows(to)
    others = {table for table, rows in before.items() if after.get(table) != rows} | after.keys() - before.keys()
    if others - WRITTEN_SINCE:
        raise ValueError(f"the restored database has other rows in {', '.join(sorted(others))}")
    return (
        f"          {to} has the very rows of {len(before) - len(WRITTEN_SINCE)} tables; "
        f"{' and '.join(sorted(WRITTEN_SINCE))} have gone on"
    )


def _rows(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}  # noqa: S608
