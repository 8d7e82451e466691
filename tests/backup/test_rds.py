"""The other road: RDS makes snapshots and exports them, one run begins it and a later one notices its end."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import boto3
import pytest
from botocore.stub import Stubber

from chalicelib.backup.rds import (
    EXPORT_TAG,
    ExportDestination,
    ExportProgress,
    Snapshot,
    SnapshotClient,
    export_snapshots,
    id_of,
    name_of,
    remove_snapshots,
)
from chalicelib.backup.retention import RetentionDecision, decide
from chalicelib.backup.settings import Policy
from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, BUCKET, REGION
from tests.backup.archives import ID, OTHER_ID

NOW = datetime(2026, 11, 27, tzinfo=UTC)
DATABASE = "shop"
TO = ExportDestination(bucket=BUCKET, role_arn=f"arn:aws:iam::{ACCOUNT}:role/export", key_arn="arn:aws:kms:key")

Kind = Literal["instance", "cluster"]


@pytest.fixture(params=["instance", "cluster"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def rds(aws: LocalAws, kind: Kind) -> SnapshotClient:
    """Return those of a database of each kind, beside another one."""
    client = aws.client("rds")
    secret = {"MasterUsername": "admin", "MasterUserPassword": "not-a-secret"}
    for name in (DATABASE, "other"):
        if kind == "cluster":
            client.create_db_cluster(DBClusterIdentifier=name, Engine="aurora-mysql", **secret)
        else:
            size: Any = {"DBInstanceClass": "db.t4g.micro", "AllocatedStorage": 20}
            client.create_db_instance(DBInstanceIdentifier=name, Engine="mysql", **size, **secret)
    return SnapshotClient(client, kind=kind, database=DATABASE)


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


@pytest.fixture
def stub() -> Iterator[Stubber]:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION)
    with Stubber(session.client("rds")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def step(rds: SnapshotClient) -> ExportProgress:
    return export_snapshots(rds, rds.list(), to=TO, now=NOW)


def test_a_snapshot_is_begun_exported_and_noticed_run_by_run(aws: LocalAws, rds: SnapshotClient) -> None:
    rds.create(ID)
    (snapshot,) = rds.list()
    assert (snapshot.id, snapshot.taken_at) == (ID, datetime(2026, 11, 25, 1, tzinfo=UTC))
    assert (snapshot.finished_at, snapshot.verified_at) == (snapshot.touched_at, None)
    assert step(rds) == ExportProgress(steps={ID: "exporting"}, failed={})
    (task,) = aws.client("rds").describe_export_tasks()["ExportTasks"]
    assert (task["ExportTaskIdentifier"], task["S3Bucket"], task["S3Prefix"]) == (name_of(ID), BUCKET, "exports")
    assert (task["SourceArn"], task["IamRoleArn"], task["KmsKeyId"]) == (snapshot.arn, TO.role_arn, TO.key_arn)
    assert step(rds) == ExportProgress(steps={ID: "complete"}, failed={})
    assert rds.list()[0].verified_at is not None
    assert step(rds) == ExportProgress(steps={ID: "ended"}, failed={})


def test_beginning_the_same_again_changes_nothing(rds: SnapshotClient) -> None:
    rds.create(ID)
    rds.create(ID)
    before = rds.list()
    assert len(before) == 1
    export_snapshots(rds, before, to=TO, now=NOW)
    # As if it had been killed between the export and the note of it.
    export_snapshots(rds, before, to=TO, now=NOW)
    assert rds.list()[0].export == "started"


def test_snapshots_of_others_and_other_databases_are_not_touched(
    aws: LocalAws, rds: SnapshotClient, kind: Kind
) -> None:
    client = aws.client("rds")
    for name, database in (("before-the-upgrade", DATABASE), (name_of(ID), "other")):
        if kind == "cluster":
            client.create_db_cluster_snapshot(DBClusterSnapshotIdentifier=name, DBClusterIdentifier=database)
        else:
            client.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=database)
    assert rds.list() == ()


def test_a_database_that_is_not_there_needs_a_person(aws: LocalAws, kind: Kind) -> None:
    with pytest.raises(PermanentError, match=r"\Acreating a snapshot of shop failed: .*not found"):
        SnapshotClient(aws.client("rds"), kind=kind, database=DATABASE).create(ID)


def test_an_rds_that_cannot_be_reached_may_be_reached_later(kind: Kind) -> None:
    nowhere = SnapshotClient(LocalAws("http://127.0.0.1:9").client("rds"), kind=kind, database=DATABASE)
    with pytest.raises(TransientError, match="creating a snapshot of shop failed"):
        nowhere.create(ID)
    with pytest.raises(TransientError, match="listing the snapshots of shop failed"):
        nowhere.list()


def test_what_retention_removes_goes_with_its_export(rds: SnapshotClient, store: Store) -> None:
    for id in (ID, OTHER_ID):
        rds.create(id)
        for name in ("export_info.json", "shop/shop.users/1/part-00000.gz.parquet"):
            store.put(f"exports/{name_of(id)}/{name}", b"x", content_type="text/plain")
    for _ in range(2):
        step(rds)
    decisions = decide(rds.list(), now=NOW, policy=Policy(all=1, daily=0, weekly=0, monthly=0, yearly=0))
    rehearsed = remove_snapshots(rds, store, decisions, dry_run=True)
    assert len(rds.list()) == 2
    assert remove_snapshots(rds, store, decisions, dry_run=False) == rehearsed
    assert (rehearsed.removed, rehearsed.kept) == ((ID,), {})
    assert [snapshot.id for snapshot in rds.list()] == [OTHER_ID]
    assert {found.key.split("/")[1] for found in store.list("exports/")} == {name_of(OTHER_ID)}
    assert remove_snapshots(rds, store, decisions, dry_run=False) == rehearsed


def test_nothing_goes_before_an_export_came_to_its_end(rds: SnapshotClient) -> None:
    for id in (ID, OTHER_ID):
        rds.create(id)
    step(rds)
    decisions = decide(rds.list(), now=NOW, policy=Policy(all=1, daily=0, weekly=0, monthly=0, yearly=0))
    assert [decision.reasons[-1] for decision in decisions if not decision.keep] == []


ARN = f"arn:aws:rds:{REGION}:{ACCOUNT}:snapshot:{name_of(ID)}"


def snapshot(id: str = ID, *, status: str = "available", export: str | None = "started") -> Snapshot:
    return Snapshot.of(id, arn=ARN, status=status, created_at=NOW, bytes=1, export=export)


SNAPSHOT = snapshot()


def stubbed(stub: Stubber) -> SnapshotClient:
    client: Any = stub.client
    return SnapshotClient(client, kind="instance", database=DATABASE)


def expect_task(stub: Stubber, **task: Any) -> None:
    stub.add_response("describe_export_tasks", {"ExportTasks": [task] if task else []})


def expect_tag(stub: Stubber, value: str) -> None:
    stub.add_response("add_tags_to_resource", {}, {"ResourceName": ARN, "Tags": [{"Key": EXPORT_TAG, "Value": value}]})


@pytest.mark.parametrize("status", ["STARTING", "IN_PROGRESS"])
def test_an_export_that_goes_on_is_left_to(stub: Stubber, status: str) -> None:
    expect_task(stub, Status=status)
    assert export_snapshots(stubbed(stub), [SNAPSHOT], to=TO, now=NOW).steps == {ID: "exporting"}


@pytest.mark.parametrize("end", [NOW - timedelta(hours=1), None])
def test_an_export_is_complete_since_aws_says_so(stub: Stubber, end: datetime | None) -> None:
    expect_task(stub, Status="COMPLETE", **({} if end is None else {"TaskEndTime": end}))
    value = f"complete {(end or NOW).replace(tzinfo=None).isoformat()}Z"
    expect_tag(stub, value)
    assert export_snapshots(stubbed(stub), [SNAPSHOT], to=TO, now=NOW).steps == {ID: "complete"}
    assert snapshot(export=value).verified_at == (end or NOW)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"Status": "FAILED", "FailureCause": "the role may not write"}, "the role may not write"),
        ({"Status": "CANCELED"}, "CANCELED"),
        ({}, "FORGOTTEN BY AWS"),
    ],
)
def test_an_export_that_failed_is_told_once(stub: Stubber, task: dict[str, str], reason: str) -> None:
    expect_task(stub, **task)
    expect_tag(stub, "failed")
    failed = export_snapshots(stubbed(stub), [SNAPSHOT], to=TO, now=NOW).failed
    assert failed == {ID: f"the export of {name_of(ID)} failed: {reason}; the snapshot itself exists"}
    told = snapshot(export="failed")
    assert told.verified_at is None
    assert export_snapshots(stubbed(stub), [told], to=TO, now=NOW).failed == {}


def test_a_snapshot_that_is_being_made_is_waited_for(stub: Stubber) -> None:
    creating = snapshot(status="creating", export=None)
    assert creating.finished_at is None
    assert export_snapshots(stubbed(stub), [creating], to=TO, now=NOW).steps == {ID: "waiting"}


def test_a_snapshot_that_failed_is_told_once_and_is_no_backup(stub: Stubber) -> None:
    failed = snapshot(status="failed", export=None)
    expect_tag(stub, "failed")
    progress = export_snapshots(stubbed(stub), [failed], to=TO, now=NOW)
    assert progress.failed == {ID: f"RDS failed to create the snapshot {name_of(ID)}; see its events"}
    assert failed.finished_at is None


@pytest.mark.parametrize("code", ["IamRoleNotFound", "KMSKeyNotAccessibleFault", "InvalidS3BucketFault", "Throttling"])
def test_an_export_that_cannot_begin_stops_no_other_and_is_tried_again(stub: Stubber, code: str) -> None:
    stub.add_client_error("start_export_task", code)
    expect_task(stub, Status="IN_PROGRESS")
    begun = [snapshot(export=None), snapshot(OTHER_ID)]
    progress = export_snapshots(stubbed(stub), begun, to=TO, now=NOW)
    assert progress.steps == {OTHER_ID: "exporting"}
    assert f"the export of {name_of(ID)} failed: " in progress.failed[ID]
    assert code in progress.failed[ID]


def test_a_snapshot_that_is_being_made_has_no_time_of_its_own_yet(stub: Stubber) -> None:
    entry = {"DBSnapshotIdentifier": name_of(ID), "DBSnapshotArn": ARN, "Status": "creating"}
    expected = {"DBInstanceIdentifier": DATABASE, "SnapshotType": "manual"}
    stub.add_response("describe_db_snapshots", {"DBSnapshots": [entry], "Marker": "more"}, expected)
    stub.add_response("describe_db_snapshots", {"DBSnapshots": []}, expected | {"Marker": "more"})
    (listed,) = stubbed(stub).list()
    assert listed.touched_at == listed.taken_at


def test_what_rds_or_s3_refuses_to_delete_is_reported_and_stops_no_other(stub: Stubber, store: Store) -> None:
    stub.add_client_error("delete_db_snapshot", "InvalidDBSnapshotState", "an export of it goes on")
    stub.add_response("delete_db_snapshot", {}, {"DBSnapshotIdentifier": name_of(OTHER_ID)})
    decisions = [
        RetentionDecision(backup=each, keep=False, reasons=("so it was decided",))
        for each in (SNAPSHOT, snapshot(OTHER_ID))
    ]
    removed = remove_snapshots(stubbed(stub), store, decisions, dry_run=False)
    assert removed.removed == (OTHER_ID,)
    assert "an export of it goes on" in removed.kept[ID]


@pytest.mark.parametrize(
    "name",
    ["nightshift-", "nightshift-20261125t010000z", "20261125t010000z-1a2b3c01", "rds:nightshift", "nightshift-x"],
)
def test_names_that_are_not_ours_have_no_id(name: str) -> None:
    assert id_of(name) is None


def test_an_id_becomes_a_name_that_rds_takes_and_comes_back() -> None:
    assert name_of(ID) == "nightshift-20261125t010000z-1a2b3c01"
    assert id_of(name_of(ID)) == ID
