"""What a soak's functions are told: how often each comes, so that a year passes in minutes, and in which zones."""

from datetime import UTC, datetime

from chalicelib.schedule.schedule import Schedule

START = datetime(2026, 12, 28, tzinfo=UTC)
USERS, POSTS_A_DAY = 12, 3
# The tasks' own policies, and all that they do, stay as they are.
SETTINGS = {
    "DAILY_DIGEST_SCHEDULE": "30 2 * * * Europe/Berlin",
    "DIGEST_ZONE": "Europe/Berlin",
    "DATABASE_CLEANUP_SCHEDULE": "0 2 * * * America/New_York",
    "DATABASE_BACKUP_SCHEDULE": "0 1 * * 6",
    "BACKUP_DRILL_SCHEDULE": "0 4 1,15 * * Australia/Lord_Howe",
    "CACHE_WARMING_SCHEDULE": "every 12 hours",
    "EXTERNAL_SYNC_SCHEDULE": "0 12 * * *",
    "EXTERNAL_SYNC_HOSTS_ALLOWED": "127.0.0.1",
    # So that each job can be judged at the end.
    "JOBS_RETENTION_DAYS": "400",
}
# In place of every minute, and of every five.
RATES = {"dispatch": Schedule("every 3 hours"), "watch": Schedule("every day")}
APPLICATION = Schedule("every 18 hours")
