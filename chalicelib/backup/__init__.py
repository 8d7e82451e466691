"""A part: backups that were read back.

Where to look: `backups` is what tasks and commands ask. One is made by `making`: `snapshot` and `dump` give its text
(`lanes`, `rows` and `definitions` below), `archive` stores it (`parts`, `frames`), and `manifest` closes it. It is
found by `listing`, read by `reader` and `verify`, brought back by `restore` and `drill` (`restoration`, `filling`,
`loading`), and let go by `retention` and `prune`. `rds`, `exports` and `snapshots` are the road by RDS; `files` is for
SQLite.
"""

from chalicelib.backup.settings import BackupSettings
from chalicelib.core.part import Part

PART = Part(name="backup", settings=BackupSettings)
