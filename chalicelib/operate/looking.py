"""The commands that only read: the function `look` does them, so that who may look need not be let change anything."""

LOOKING = frozenset(
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
