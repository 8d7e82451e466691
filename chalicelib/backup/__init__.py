"""Backups: dump, archive, verification, retention, and restoring."""
