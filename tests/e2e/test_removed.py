"""A stage that is removed: it is asked about, and what holds data stays. The last of the stories."""

from typing import Any

from tests.e2e.cloud import FUNCTIONS, STAGE, Cloud


def test_destroying_asks_and_keeps_what_holds_data(cloud: Cloud) -> None:
    refused = cloud.run("nightshift", "destroy", "--stage", STAGE, given="no\n")
    assert refused.returncode == 1
    assert "nothing was deleted" in refused.stderr
    assert len(cloud.client("lambda").list_functions()["Functions"]) == len(FUNCTIONS)

    done = cloud.run("nightshift", "destroy", "--stage", STAGE, "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.client("lambda").list_functions()["Functions"] == []
    assert cloud.client("events").list_rules()["Rules"] == []
    assert cloud.client("sqs").list_queues().get("QueueUrls", []) == []
    (bucket,) = cloud.client("s3").list_buckets()["Buckets"]
    assert bucket["Name"].startswith("nightshift-e2e-")
    secrets: list[Any] = cloud.client("secretsmanager").list_secrets()["SecretList"]
    assert [secret["Name"] for secret in secrets] == ["nightshift-e2e-unsubscribe"]
