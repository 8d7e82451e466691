"""Every call of AWS in the sources, held against botocore's models and against the table of who makes it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.iam import authorization
from tests.iam.callers import PLACES
from tests.iam.calls import Call, actions_of, calls_in, mistakes_in, services_of

ROOT = Path(__file__).parent.parent.parent
SHIPPED = [ROOT / "app.py", *sorted((ROOT / "chalicelib").rglob("*.py"))]
# What the developer's side asks of AWS itself; the rest of it is for emulators.
OF_EMULATORS = ("demo", "dev", "local", "make", "testkit")
DEPLOYING = [
    path for path in sorted((ROOT / "nightshift").rglob("*.py")) if path.relative_to(ROOT).parts[1] not in OF_EMULATORS
]
CALLS = [call for paths in (SHIPPED, DEPLOYING) for call in calls_in(ROOT, paths, services_of(paths))]


def test_every_call_of_the_shipped_code_has_its_place_in_the_table_of_callers() -> None:
    assert {(call.file, call.name) for call in CALLS if not call.file.startswith("nightshift/")} == set(PLACES)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.file}:{call.line}")
def test_botocore_takes_every_call_as_far_as_it_is_written_out(call: Call) -> None:
    assert mistakes_in(call) == []


@pytest.mark.parametrize("name", sorted({call.name for call in CALLS}))
def test_iam_knows_every_action_that_is_asked_for(name: str) -> None:
    service, operation = name.split(".")
    assert [action for action in actions_of(service, operation) if not authorization.exists(action)] == []


def written(folder: Path, source: str) -> list[Call]:
    path = folder / "source.py"
    path.write_text(source)
    return calls_in(folder, [path], services_of([path]))


@pytest.mark.parametrize(
    ("source", "operation"),
    [
        ("client('sqs').send_message(QueueUrl=url, MessageBody=text)", "sqs.SendMessage"),
        ("sqs = context.client('sqs')\nsend = sqs.send_message", "sqs.SendMessage"),
        ("client('s3').get_paginator('list_objects_v2').paginate(Bucket=name)", "s3.ListObjectsV2"),
        ("client('s3').generate_presigned_url('get_object', Params={})", "s3.GetObject"),
        ("client('lambda').get_waiter('function_exists').wait(FunctionName=name)", "lambda.GetFunction"),
        ("client('rds')\nclient('ec2').describe_export_tasks()", "ec2.DescribeExportTasks"),
        ("client('ec2')\ndef f():\n    it = client('rds')\n    it.describe_export_tasks()", "rds.DescribeExportTasks"),
        ("client('rds')\nclient('ec2')\nself._rds.describe_export_tasks()", "rds.DescribeExportTasks"),
    ],
)
def test_a_call_is_found_however_it_is_written(tmp_path: Path, source: str, operation: str) -> None:
    assert {call.name for call in written(tmp_path, source)} == {operation}


@pytest.mark.parametrize(
    ("call", "mistake"),
    [
        ("send_message(QueueUrl=url)", "MessageBody is missing"),
        ("send_message(QueueURL=url, **more)", "there is no QueueURL"),
        ("send_message(DelaySeconds='5', **more)", "Invalid type for parameter"),
    ],
)
def test_what_botocore_would_refuse_is_found(tmp_path: Path, call: str, mistake: str) -> None:
    (found,) = written(tmp_path, f"client('sqs').{call}")
    assert mistake in " ".join(mistakes_in(found))


def test_a_text_that_is_none_of_the_allowed_is_found(tmp_path: Path) -> None:
    (found,) = written(tmp_path, "client('lambda').invoke(FunctionName=name, InvocationType='Later')")
    assert mistakes_in(found) == ["InvocationType is none of Event, RequestResponse, DryRun"]


@given(st.text("a/", max_size=6), st.text("a/*", max_size=6))
def test_patterns_overlap_where_one_is_a_text_that_fits_the_other(text: str, pattern: str) -> None:
    pieces = pattern.split("*")
    fits = authorization.overlap(text, pattern)
    assert fits == authorization.overlap(pattern, text)
    if len(pieces) == 1:
        assert fits == (text == pattern)
    else:
        assert fits == _fits(text, pieces)


def _fits(text: str, pieces: list[str]) -> bool:
    first, *middle, last = pieces
    if not text.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return text[at:].endswith(last)


def test_a_bucket_is_no_object() -> None:
    bucket, an_object = (authorization.resources_of(f"s3:{action}") for action in ("ListBucket", "GetObject"))
    assert authorization.may_be_one(bucket["bucket"], "arn:aws:s3:::nightshift-dev")
    assert not authorization.may_be_one(bucket["bucket"], "arn:aws:s3:::nightshift-dev/payloads/*")
    assert authorization.may_be_one(an_object["object"], "arn:aws:s3:::nightshift-dev/payloads/*")
