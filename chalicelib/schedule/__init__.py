"""Schedules: cron text and zones, and what EventBridge is given for them. Nothing here does I/O."""
