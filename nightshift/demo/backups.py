"""The demo's backup: created, verified, rejected when damaged, and restored."""

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from chalicelib.backup.archive.folder import MANIFEST
from chalicelib.core.errors import DamagedError, RunFailedError
from nightshift.cli.output import plain
from nightshift.demo.section import Section, fire
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET, changed
from nightshift.local.invocation import invoke

DAMAGED_BUCKET = f"{BUCKET}-damaged"
# A backup updates its own rows here after it was taken.
CHANGED = {"runs", "backups"}


def back_up_and_restore(aws: LocalAws, engine: Engine, folder: Path, moment: datetime) -> Section:
    """Back up and restore the demo's database. Raises ValueError if a damaged copy is restored, or rows differ."""
    made = fire("database_backup", moment)
    verified = invoke("operate", {"command": "backup.verify", "backup": made["backup"]})
    lines = [
        f"Backup    {made['backup']} has the {verified['rows']:,} rows of {made['succeeded']} tables, "
        f"{verified['stored_bytes'] / 1e6:.1f} MB compressed, and is verified",
        "          a copy with one changed bit is rejected before anything is restored:",
        f"          {plain(_rejection(aws, made['backup'], schema=str(folder / 'damaged.db')))}",
    ]
    if engine.dialect.name == "sqlite":
        lines.append(_restore(made["backup"], Path(engine.url.database or ""), to=folder / "restored.db"))
    summaries = [made]
    try:
        summaries.append(fire("backup_drill", _sunday(moment)))
        lines.append(f"          the drill restored all {summaries[-1]['succeeded']} tables into a temporary schema")
    except RunFailedError as error:
        # A database user may lack the rights that a drill needs.
        lines.append(f"          the drill could not run: {plain(error)}")
    return Section(summaries=summaries, lines=lines)


def _sunday(moment: datetime) -> datetime:
    return moment.replace(hour=4) - timedelta(days=moment.isoweekday() % 7)


def _rejection(aws: LocalAws, id: str, *, schema: str) -> str:
    """Return the error of a restore from a copy of the bucket with one changed bit."""
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
            invoke("operate", {"command": "backup.restore", "backup": id, "schema": schema})
        except DamagedError as error:
            return str(error)
    raise ValueError("a damaged backup was restored")


def _restore(id: str, database: Path, *, to: Path) -> str:
    to.unlink(missing_ok=True)
    invoke("operate", {"command": "backup.restore", "backup": id, "schema": str(to)})
    before, after = _rows(database), _rows(to)
    others = {table for table, rows in before.items() if after.get(table) != rows} | after.keys() - before.keys()
    if others - CHANGED:
        raise ValueError(f"the restored database has different rows in {', '.join(sorted(others))}")
    return (
        f"          {to} has the same rows in {len(before) - len(CHANGED)} tables; "
        f"{' and '.join(sorted(CHANGED))} have changed since"
    )


def _rows(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}  # noqa: S608
