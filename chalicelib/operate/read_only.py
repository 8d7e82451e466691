"""The commands that only read. The function `look` runs these, so read access needs no right to change anything."""

READ_ONLY_COMMANDS = frozenset(
    {
        "backup.list",
        "jobs.list",
        "jobs.show",
        "runs.list",
        "runs.show",
        "schedule.list",
        "status",
        "suppressions.list",
    }
)
