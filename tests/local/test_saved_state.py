"""What the emulator holds outlives it, where it is kept."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nightshift.local.aws import LocalAws, SavedState, prepare
from nightshift.local.environment import BUCKET, DEAD_LETTER_QUEUE, QUEUE


def test_what_was_kept_comes_back_whole(aws: LocalAws, tmp_path: Path) -> None:
    sqs, s3 = aws.client("sqs"), aws.client("s3")
    work, dead = (f"{aws.endpoint}/queue/{name}" for name in (QUEUE, DEAD_LETTER_QUEUE))
    reason = {"reason": {"DataType": "String", "StringValue": "it broke"}}
    sqs.send_message(QueueUrl=work, MessageBody="waits")
    sqs.send_message(QueueUrl=work, MessageBody="comes later", DelaySeconds=900)
    sqs.send_message(QueueUrl=dead, MessageBody="given up", MessageAttributes=reason)
    taken = sqs.receive_message(QueueUrl=work)["Messages"][0]
    s3.put_object(Bucket=BUCKET, Key="reports/2026-10/report.json", Body=b"{}")
    SavedState(aws, tmp_path).save()
    forget(aws)

    SavedState(aws, tmp_path).restore()
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
    s3, state = aws.client("s3"), SavedState(aws, tmp_path)
    for key in ("deleted", "replaced"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"old")
    state.save()
    s3.delete_object(Bucket=BUCKET, Key="deleted")
    s3.put_object(Bucket=BUCKET, Key="replaced", Body=b"new")
    state.save()
    assert kept(tmp_path) == {"replaced": b"new"}


def test_what_came_back_and_was_deleted_does_not_come_back_again(aws: LocalAws, tmp_path: Path) -> None:
    s3 = aws.client("s3")
    s3.put_object(Bucket=BUCKET, Key="report", Body=b"")
    SavedState(aws, tmp_path).save()
    forget(aws)
    state = SavedState(aws, tmp_path)
    state.restore()
    s3.delete_object(Bucket=BUCKET, Key="report")
    state.save()
    assert kept(tmp_path) == {}


def test_what_is_as_it_was_is_not_written_again(aws: LocalAws, tmp_path: Path) -> None:
    aws.client("s3").put_object(Bucket=BUCKET, Key="report", Body=b"{}")
    state, files = SavedState(aws, tmp_path), (tmp_path / "bucket" / "report", tmp_path / "queues.json")
    state.save()
    written = [path.stat().st_ino for path in files]
    state.save()
    assert [path.stat().st_ino for path in files] == written
    aws.client("sqs").send_message(QueueUrl=f"{aws.endpoint}/queue/{QUEUE}", MessageBody="new")
    state.save()
    assert [path.stat().st_ino == before for path, before in zip(files, written, strict=True)] == [True, False]


def test_an_object_of_which_only_a_part_could_be_written_is_kept_as_it_was_until_it_is_whole(
    aws: LocalAws, tmp_path: Path
) -> None:
    s3, state = aws.client("s3"), SavedState(aws, tmp_path)
    s3.put_object(Bucket=BUCKET, Key="report", Body=b"old")
    state.save()
    s3.put_object(Bucket=BUCKET, Key="report", Body=b"new" * 10_000)
    with files_of_at_most(9000), pytest.raises(OSError, match="File too large"):
        state.save()
    assert kept(tmp_path) == {"report": b"old"}
    state.save()
    assert kept(tmp_path) == {"report": b"new" * 10_000}


def test_where_nothing_was_kept_nothing_comes_back(aws: LocalAws, tmp_path: Path) -> None:
    SavedState(aws, tmp_path).restore()
    assert aws.messages(QUEUE) == []


def kept(folder: Path) -> dict[str, bytes]:
    """Return the objects that a folder holds."""
    return {path.name: path.read_bytes() for path in (folder / "bucket").iterdir()}


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow longer, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def forget(aws: LocalAws) -> None:
    """Empty the emulator, as its end does."""
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{aws.endpoint}/moto-api/reset", method="POST")).close()
    prepare(aws)
