"""Pruning: what is decided happens, nothing listed as a backup is ever half gone, and locks are respected."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from chalicelib.backup.archive.folder import MANIFEST, VERIFIED, Backup, key_of, list_backups
from chalicelib.backup.archive.parts import ArchiveWriter, Reader
from chalicelib.backup.retention import RetentionDecision, decide, prune
from chalicelib.backup.settings import Policy
from chalicelib.core.errors import TransientError
from chalicelib.core.store import Store, StoredObject
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, OTHER_ID, PLAIN, back_up, write_parts
from tests.backup.refusing import Refusal

LOCKING = "nightshift-locking"
KEEP = Policy(all=1, daily=0, weekly=0, monthly=0, yearly=0)
# Prunes everything, and kills itself after its n-th call to delete.
DYING = """
import os, signal, sys
from datetime import UTC, datetime
from itertools import count
from chalicelib.backup.archive.folder import list_backups
from chalicelib.backup.retention import RetentionDecision, prune
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET

calls = count(1)

def die(**_):
    if next(calls) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

client = LocalAws(sys.argv[1]).client("s3")
client.meta.events.register("after-call.s3.DeleteObjects", die)
store = Store(client, bucket=BUCKET)
decisions = [RetentionDecision(backup=backup, keep=False, reasons=()) for backup in list_backups(store).backups]
prune(store, decisions, now=datetime.now(UTC), dry_run=False)
"""


def now() -> datetime:
    # The emulator's clock is the machine's.
    return datetime.now(UTC)


@pytest.fixture
def store(aws: LocalAws) -> Store:
    versioned = {"Status": "Enabled"}
    aws.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versioned)
    return Store(aws.client("s3"), bucket=BUCKET)


@pytest.fixture
def locking(aws: LocalAws) -> Store:
    """A bucket that locks for ten days what is stored."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=LOCKING, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 10}}
    s3.put_object_lock_configuration(
        Bucket=LOCKING, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    return Store(s3, bucket=LOCKING)


def removing(store: Store, *ids: str) -> list[RetentionDecision[Backup]]:
    """Decide to remove these backups and to keep the others."""
    return [
        RetentionDecision(backup=backup, keep=backup.id not in ids, reasons=("so it was decided",))
        for backup in list_backups(store).backups
    ]


def there(store: Store) -> dict[str, int]:
    """Return the number of objects of each backup or what is left of one."""
    return {backup.id: len(backup.objects) for backup in list_backups(store).backups}


def mark(store: Store, id: str) -> None:
    store.put(key_of(id, VERIFIED), b"{}", content_type="application/json")


def test_what_is_not_to_be_kept_goes_whole_and_the_rest_stays(store: Store) -> None:
    for id in (ID, OTHER_ID):
        back_up(store, id=id, key=None)
        mark(store, id)
    size = list_backups(store).backups[0].bytes
    pruned = prune(store, removing(store, ID), now=now(), dry_run=False)
    assert (pruned.removed, pruned.kept, pruned.bytes, pruned.aborted_uploads) == ((ID,), {}, size, 0)
    assert there(store) == {OTHER_ID: 6}


def test_a_dry_run_says_the_same_and_removes_nothing(store: Store) -> None:
    for id in (ID, OTHER_ID):
        back_up(store, id=id, key=None)
    decisions = removing(store, ID)
    rehearsed = prune(store, decisions, now=now(), dry_run=True)
    assert there(store) == {ID: 5, OTHER_ID: 5}
    assert prune(store, decisions, now=now(), dry_run=False) == rehearsed


def test_what_is_already_gone_is_removed_again_without_an_error(store: Store) -> None:
    back_up(store, key=None)
    decisions = removing(store, ID)
    assert prune(store, decisions, now=now(), dry_run=False) == prune(store, decisions, now=now(), dry_run=False)


def test_in_a_versioned_bucket_a_removed_backup_can_be_had_back(aws: LocalAws, store: Store) -> None:
    back_up(store, key=None)
    prune(store, removing(store, ID), now=now(), dry_run=False)
    assert there(store) == {}
    s3 = aws.client("s3")
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix=f"backups/{ID}/")
    for marker in versions["DeleteMarkers"]:
        s3.delete_object(Bucket=BUCKET, Key=marker["Key"], VersionId=marker["VersionId"])
    reader = Reader(store, id=ID, keys=PLAIN, plain=False)
    assert all(b"".join(reader.read(part)) for part in reader.manifest.parts)


def test_what_others_put_beside_a_backup_stays(store: Store) -> None:
    back_up(store, key=None)
    store.put(f"backups/{ID}/notes.txt", b"mine", content_type="text/plain")
    prune(store, removing(store, ID), now=now(), dry_run=False)
    assert [found.key for found in store.list("backups/")] == [f"backups/{ID}/notes.txt"]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_whatever_ends_a_pruning_what_is_listed_as_a_backup_is_whole(
    aws: LocalAws, store: Store, nth: int, moment: str
) -> None:
    for id in (ID, OTHER_ID):
        back_up(store, id=id, key=None)
        mark(store, id)
    with pytest.raises(TransientError, match="cannot be deleted"):
        prune(Refusal(aws, "DeleteObjects", nth, moment).store, removing(store, ID, OTHER_ID), now=now(), dry_run=False)
    listing = list_backups(store)
    assert [len(backup.objects) for backup in listing.finished] == [6] * len(listing.finished)
    gone = 2 - len(listing.finished)
    assert gone == (nth + (moment == "after")) // 2
    # What is left over is no backup, and goes when it is old enough.
    later = now() + timedelta(days=3)
    prune(store, removing(store, ID, OTHER_ID), now=later, dry_run=False)
    assert there(store) == {}


def test_a_locked_backup_is_reported_and_left_whole_until_its_lock_ends(locking: Store) -> None:
    back_up(locking, key=None)
    until = f"{now() + timedelta(days=10):%Y-%m-%d}"
    for _ in range(2):
        pruned = prune(locking, removing(locking, ID), now=now(), dry_run=False)
        assert pruned.removed == ()
        assert pruned.kept[ID].startswith(f"locked until {until}")
    assert there(locking) == {ID: 5}
    later = now() + timedelta(days=10, minutes=1)
    assert prune(locking, removing(locking, ID), now=later, dry_run=False).removed == (ID,)
    assert there(locking) == {}


def test_a_backup_under_a_legal_hold_is_reported_and_left(aws: LocalAws, locking: Store) -> None:
    back_up(locking, key=None)
    aws.client("s3").put_object_legal_hold(Bucket=LOCKING, Key=key_of(ID, MANIFEST), LegalHold={"Status": "ON"})
    pruned = prune(locking, removing(locking, ID), now=now() + timedelta(days=99), dry_run=False)
    assert (pruned.removed, pruned.kept) == ((), {ID: "locked by a legal hold"})


def test_a_lock_on_one_backup_does_not_stop_the_others(aws: LocalAws, locking: Store) -> None:
    for id in (ID, OTHER_ID):
        back_up(locking, id=id, key=None)
    aws.client("s3").put_object_legal_hold(Bucket=LOCKING, Key=key_of(OTHER_ID, MANIFEST), LegalHold={"Status": "ON"})
    later = now() + timedelta(days=99)
    assert prune(locking, removing(locking, ID, OTHER_ID), now=later, dry_run=False).removed == (ID,)
    assert there(locking) == {OTHER_ID: 5}


@pytest.fixture
def stub() -> Iterator[Stubber]:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    with Stubber(session.client("s3")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def stubbed(stub: Stubber) -> Store:
    client: Any = stub.client
    return Store(client, bucket=BUCKET)


@pytest.mark.parametrize("refused", [MANIFEST, "00003.sql.zst"])
def test_what_s3_refuses_to_delete_is_reported_and_does_not_stop_the_others(
    store: Store, stub: Stubber, refused: str
) -> None:
    """Of a backup whose manifest stays, nothing else is touched."""
    for id in (ID, OTHER_ID):
        back_up(store, id=id, key=None)
    decisions = removing(store, ID, OTHER_ID)
    error = {"Key": key_of(ID, refused), "Code": "AccessDenied", "Message": "not you"}
    stub.add_response("head_object", {})
    if refused != MANIFEST:
        stub.add_response("delete_objects", {})
    stub.add_response("delete_objects", {"Errors": [error]})
    for operation in ("head_object", "delete_objects", "delete_objects"):
        stub.add_response(operation, {})
    stub.add_response("list_multipart_uploads", {"IsTruncated": False})
    pruned = prune(stubbed(stub), decisions, now=now(), dry_run=False)
    assert pruned.removed == (OTHER_ID,)
    assert pruned.kept == {ID: "S3 refused to delete 1 of its objects: AccessDenied: not you"}


def test_more_objects_than_s3_deletes_at_once_all_go(stub: Stubber) -> None:
    parts = [f"{number:05}.sql.zst" for number in range(1, 2002)]
    found = {name: StoredObject(key=key_of(ID, name), size=1, modified_at=now()) for name in [*parts, MANIFEST]}
    decision = RetentionDecision(backup=Backup.of(ID, found), keep=False, reasons=("so it was decided",))
    stub.add_response("head_object", {})
    for names in ([MANIFEST], parts[:1000], parts[1000:2000], parts[2000:]):
        objects = [{"Key": key_of(ID, name)} for name in names]
        expected = {"Bucket": BUCKET, "Delete": {"Objects": objects, "Quiet": True}}
        stub.add_response("delete_objects", {}, expected)
    stub.add_response("list_multipart_uploads", {"IsTruncated": False})
    assert prune(stubbed(stub), [decision], now=now(), dry_run=False).bytes == 2002


def test_uploads_that_killed_backups_left_are_aborted_when_they_are_old(stub: Stubber) -> None:
    """The emulator says of every upload that it was begun in 2010."""
    moment = now()
    uploads = [
        {"Key": key_of(ID, "00001.sql.zst"), "UploadId": "old", "Initiated": moment - timedelta(days=2, seconds=1)},
        {"Key": key_of(ID, "00002.sql.zst"), "UploadId": "young", "Initiated": moment - timedelta(days=2)},
    ]
    listed = {"Bucket": BUCKET, "Prefix": "backups/"}
    stub.add_response("list_multipart_uploads", {"IsTruncated": False, "Uploads": uploads}, listed)
    stub.add_response("list_multipart_uploads", {"IsTruncated": False, "Uploads": uploads}, listed)
    aborted = {"Bucket": BUCKET, "Key": key_of(ID, "00001.sql.zst"), "UploadId": "old"}
    stub.add_response("abort_multipart_upload", {}, aborted)
    store = stubbed(stub)
    assert prune(store, [], now=moment, dry_run=True).aborted_uploads == 1
    assert prune(store, [], now=moment, dry_run=False).aborted_uploads == 1


def test_an_aborted_upload_is_gone_and_one_that_is_gone_is_no_error(aws: LocalAws, store: Store) -> None:
    aws.client("s3").create_multipart_upload(Bucket=BUCKET, Key=key_of(ID, "00001.sql.zst"))
    (upload,) = store.unfinished_uploads("backups/")
    store.abort(upload)
    assert list(store.unfinished_uploads("backups/")) == []
    store.abort(upload)


def test_what_a_killed_backup_left_goes_by_itself(store: Store) -> None:
    back_up(store, id=OTHER_ID, key=None)
    with ArchiveWriter(store, id=ID, key=None) as archive:
        write_parts(archive)
    for when, left in ((now() + timedelta(days=1), {ID: 4, OTHER_ID: 5}), (now() + timedelta(days=3), {OTHER_ID: 5})):
        decisions = decide(list_backups(store).backups, now=when, policy=KEEP)
        prune(store, decisions, now=when, dry_run=False)
        assert there(store) == left


@pytest.mark.parametrize("nth", [1, 2])
def test_a_pruning_that_is_killed_between_its_calls_is_completed_by_the_next(
    aws: LocalAws, store: Store, nth: int
) -> None:
    back_up(store, key=None)
    command = [sys.executable, "-c", DYING, aws.endpoint, str(nth)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list_backups(store).finished == ()
    prune(
        store, decide(list_backups(store).backups, now=now() + timedelta(days=3), policy=KEEP), now=now(), dry_run=False
    )
    assert there(store) == {}
