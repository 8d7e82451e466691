"""Backups.

Where to look: `backups` is what tasks and commands ask. One is made by `making`: `snapshot` and `dump` give its text
(`lanes`, `rows` and `definitions` below), `archive` stores it (`parts`, `frames`), and `manifest` closes it. `listing`
finds it again, `reader` and `verify` read it, `restore` and `drill` bring it back (`restoration`, `filling`, `loading`),
`retention` and `prune` let it go. `rds`, `exports` and `snapshots` are the road by RDS; `files` is for SQLite.
"""
