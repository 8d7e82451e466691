"""Backups as they are stored in the bucket."""
