"""Backups that RDS makes: snapshots and their exports."""
