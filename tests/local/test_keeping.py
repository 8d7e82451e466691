"""What the emulator holds outlives it, where it is kept."""

from pathlib import Path

from nightshift.local.aws import LocalAws, prepare
from nightshift.local.environment import BUCKET, DEAD_LETTER_QUEUE, QUEUE
from nightshift.local.keeping import bring_back, keep


def test_what_was_kept_comes_back_whole(aws: LocalAws, tmp_path: Path) -> None:
    sqs, s3 = aws.client("sqs"), aws.client("s3")
    work, dead = (f"{aws.endpoint}/queue/{name}" for name in (QUEUE, DEAD_LETTER_QUEUE))
    reason = {"reason": {"DataType": "String", "StringValue": "it broke"}}
    sqs.send_message(QueueUrl=work, MessageBody="waits")
    sqs.send_message(QueueUrl=work, MessageBody="comes later", DelaySeconds=900)
    sqs.send_message(QueueUrl=dead, MessageBody="given up", MessageAttributes=reason)
    taken = sqs.receive_message(QueueUrl=work)["Messages"][0]
    s3.put_object(Bucket=BUCKET, Key="reports/2026-10/report.json", Body=b"{}")
    keep(aws, tmp_path)
    forget(aws)

    bring_back(aws, tmp_path)
    first, second = aws.messages(QUEUE)
    assert (first.id, first.body, first.visible, first.approximate_receive_count) == (
        taken["MessageId"],
        "waits",
        False,
        1,
    )
    assert (second.body, second.delayed) == ("comes later", True)
    (found,) = sqs.receive_message(QueueUrl=dead, MessageAttributeNames=["All"])["Messages"]
    assert (found["Body"], found["MessageAttributes"]) == ("given up", reason)
    assert s3.get_object(Bucket=BUCKET, Key="reports/2026-10/report.json")["Body"].read() == b"{}"


def test_the_newest_is_what_is_kept(aws: LocalAws, tmp_path: Path) -> None:
    s3 = aws.client("s3")
    s3.put_object(Bucket=BUCKET, Key="old", Body=b"")
    keep(aws, tmp_path)
    s3.delete_object(Bucket=BUCKET, Key="old")
    s3.put_object(Bucket=BUCKET, Key="new", Body=b"")
    keep(aws, tmp_path)
    forget(aws)
    bring_back(aws, tmp_path)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == ["new"]


def test_where_nothing_was_kept_nothing_comes_back(aws: LocalAws, tmp_path: Path) -> None:
    bring_back(aws, tmp_path)
    assert aws.messages(QUEUE) == []


def forget(aws: LocalAws) -> None:
    """Empty the emulator, as its end does."""
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{aws.endpoint}/moto-api/reset", method="POST")).close()
    prepare(aws)
