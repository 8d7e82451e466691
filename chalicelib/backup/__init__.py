"""A part: backups of the database.

`backups` is the entry point for tasks and commands. `dump/` turns a snapshot of the schema into SQL text, and
`archive/` compresses, encrypts and stores it. `restore/` reads, verifies, restores and drills a backup. `retention`
decides which backups to keep, and removes the others. `rds` has RDS take snapshots where a dump would take too long.
`sqlite` backs up and restores SQLite files.
"""

from chalicelib.backup.settings import BackupSettings
from chalicelib.core.part import Part

PART = Part(name="backup", settings=BackupSettings, operations="chalicelib.backup.operations")
