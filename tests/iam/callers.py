"""Who makes which call of AWS: every operation of the shipped code, by its file, with the functions that reach it."""

from collections.abc import Container

# A file of ours, and an operation that it calls.
Place = tuple[str, str]


class _Everyone:
    def __contains__(self, _function: object) -> bool:
        return True


EVERYONE = _Everyone()
BACKING_UP = {"database_backup", "operate"}
WORKERS = {"work", "work_priority"}
DRILLING = {"backup_drill", *BACKING_UP}
WATCHING = {"watch", *BACKING_UP}
PUTTING_JOBS = {
    "daily_digest",
    "database_cleanup",
    "dispatch",
    "external_sync",
    "monthly_report",
    *BACKING_UP,
    *WORKERS,
}

# What a worker calls when it goes on with a task's run is that task's.
CALLERS: dict[str, dict[str, Container[str]]] = {
    "chalicelib/backup/rds.py": {
        "rds.AddTagsToResource": {"watch"},
        "rds.CreateDBClusterSnapshot": BACKING_UP,
        "rds.CreateDBSnapshot": BACKING_UP,
        "rds.DeleteDBClusterSnapshot": BACKING_UP,
        "rds.DeleteDBSnapshot": BACKING_UP,
        "rds.DescribeDBClusterSnapshots": WATCHING,
        "rds.DescribeDBSnapshots": WATCHING,
        "rds.DescribeExportTasks": {"watch"},
        "rds.StartExportTask": {"watch"},
    },
    "chalicelib/runs/functions.py": {
        "lambda.GetFunctionConfiguration": {"dispatch", "watch"},
        "lambda.Invoke": WORKERS,
    },
    "chalicelib/mail/ses.py": {
        "sesv2.GetAccount": {"operate", *WORKERS},
        "sesv2.SendBulkEmail": WORKERS,
        "sesv2.SendEmail": WORKERS,
    },
    "chalicelib/queue/payloads.py": {"s3.GetObject": {"operate", *WORKERS}, "s3.PutObject": {"operate", *WORKERS}},
    "chalicelib/queue/sqs.py": {
        "sqs.ChangeMessageVisibility": {"operate"},
        "sqs.ChangeMessageVisibilityBatch": WORKERS,
        "sqs.DeleteMessage": {"operate"},
        "sqs.DeleteMessageBatch": WORKERS,
        "sqs.GetQueueAttributes": {"operate"},
        "sqs.ReceiveMessage": {"operate"},
        "sqs.SendMessage": {"dispatch", "operate", *WORKERS},
        "sqs.SendMessageBatch": PUTTING_JOBS,
    },
    "chalicelib/core/secrets.py": {"secretsmanager.GetSecretValue": EVERYONE},
    "chalicelib/core/store.py": {
        "s3.AbortMultipartUpload": BACKING_UP,
        "s3.CompleteMultipartUpload": BACKING_UP,
        "s3.CreateMultipartUpload": BACKING_UP,
        "s3.DeleteObjects": DRILLING,
        "s3.GetObject": {"monthly_report", *DRILLING, *WORKERS},
        "s3.HeadObject": BACKING_UP,
        "s3.ListMultipartUploads": BACKING_UP,
        "s3.ListObjectsV2": {"look", *DRILLING},
        "s3.PutObject": {"database_cleanup", "monthly_report", "watch", *DRILLING, *WORKERS},
        "s3.UploadPart": BACKING_UP,
    },
}
PLACES: dict[Place, Container[str]] = {
    (file, operation): functions for file, called in CALLERS.items() for operation, functions in called.items()
}


def reached_by(function: str) -> set[Place]:
    """Return what a function calls."""
    return {place for place, functions in PLACES.items() if function in functions}
