"""The list of backups: from the bucket's objects alone, and never from an incomplete answer."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from chalicelib.backup.archive.folder import (
    DRILLED,
    MANIFEST,
    VERIFIED,
    Listing,
    key_of,
    list_backups,
    new_id,
    parse_id,
)
from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.core.errors import InvalidRequestError, TransientError
from chalicelib.core.store import Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from tests.backup.archives import ID, OTHER_ID, back_up, write_parts

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


@pytest.fixture
def stub() -> Iterator[Stubber]:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    with Stubber(session.client("s3")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def stubbed(stub: Stubber) -> Store:
    client: Any = stub.client
    return Store(client, bucket=BUCKET)


def put(store: Store, *keys: str) -> None:
    for key in keys:
        store.put(key, b"12345", content_type="text/plain")


def ids(listing: Listing) -> list[str]:
    return [backup.id for backup in listing.backups]


def test_a_bucket_without_backups_has_none(store: Store) -> None:
    put(store, "reports/2026-02/job.html", "backups.txt")
    listing = list_backups(store)
    assert (listing.backups, listing.newest_verified) == ((), None)


def test_backups_are_listed_by_time_with_what_is_known_of_each(store: Store) -> None:
    manifest = back_up(store, id=OTHER_ID, key=None)
    with ArchiveWriter(store, id=ID, key=None) as archive:
        write_parts(archive)
    listing = list_backups(store)
    assert ids(listing) == [ID, OTHER_ID]
    unfinished, finished = listing.backups
    assert listing.finished == (finished,)
    assert unfinished.finished_at is None
    assert finished.finished_at is not None
    assert finished.taken_at == datetime(2026, 11, 26, 1, tzinfo=UTC)
    assert finished.bytes == manifest.stored_bytes + finished.objects[MANIFEST].size
    assert finished.touched_at == max(found.modified_at for found in finished.objects.values())


def test_marks_say_what_was_verified_and_drilled(store: Store) -> None:
    for id in (ID, OTHER_ID):
        back_up(store, id=id, key=None)
    assert list_backups(store).newest_verified is None
    put(store, key_of(ID, VERIFIED), key_of(ID, DRILLED))
    listing = list_backups(store)
    assert listing.newest_verified is not None
    assert listing.newest_verified.id == ID
    assert listing.newest_verified.drilled_at is not None
    put(store, key_of(OTHER_ID, VERIFIED))
    assert list_backups(store).newest_verified == list_backups(store).backups[1]


def test_a_mark_without_a_manifest_makes_no_backup(store: Store) -> None:
    put(store, key_of(ID, VERIFIED), key_of(ID, "00001.sql.zst"))
    assert list_backups(store).finished == ()
    assert list_backups(store).newest_verified is None


@pytest.mark.parametrize(
    "key",
    [
        *(
            "backups/notes.txt",
            f"backups/{ID}",
            f"backups/{ID}/",
            f"backups/{ID}/notes.txt",
            f"backups/{ID}/x/{MANIFEST}",
        ),
        *(f"backups/x{ID}/{MANIFEST}", f"backups/20261325T010000Z-1a2b3c01/{MANIFEST}", f"backups/{ID}/00001.sql"),
    ],
)
def test_what_a_backup_does_not_write_is_none(store: Store, key: str) -> None:
    put(store, key)
    assert list_backups(store).backups == ()


def test_what_others_put_into_a_backups_folder_is_not_of_it(store: Store) -> None:
    back_up(store, key=None)
    put(store, f"backups/{ID}/notes.txt")
    (backup,) = list_backups(store).backups
    assert "notes.txt" not in backup.objects


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_every_page_of_the_list_is_read(aws: LocalAws, store: Store, at_once: int) -> None:
    for id in (ID, OTHER_ID):
        back_up(store, id=id, key=None)
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
    client = session.client("s3", endpoint_url=aws.endpoint)
    pages: list[object] = []

    def shorten(params: dict[str, Any], **_: Any) -> None:
        pages.append(params)
        params["MaxKeys"] = at_once

    client.meta.events.register("provide-client-params.s3.ListObjectsV2", shorten)
    assert list_backups(Store(client, bucket=BUCKET)) == list_backups(store)
    assert len(pages) == 10 / at_once


def page(*keys: str, **changes: Any) -> dict[str, Any]:
    contents = [{"Key": key, "Size": 1, "LastModified": NOW} for key in keys]
    return {"Contents": contents, "KeyCount": len(keys), "IsTruncated": False} | changes


@pytest.mark.parametrize(
    "pages",
    [
        [{}],
        [page(key_of(ID, MANIFEST), IsTruncated=True)],
        [page(key_of(ID, MANIFEST), KeyCount=2)],
        [page(key_of(OTHER_ID, MANIFEST), key_of(ID, MANIFEST))],
        [page(key_of(ID, MANIFEST), IsTruncated=True, NextContinuationToken="2"), page(key_of(ID, MANIFEST))],
        [page(key_of(ID, MANIFEST), IsTruncated=True, NextContinuationToken="2"), {}],
    ],
    ids=["empty answer", "no token", "fewer than counted", "backwards", "the same page again", "empty second page"],
)
def test_an_answer_that_cannot_be_the_whole_truth_is_none(stub: Stubber, pages: list[dict[str, Any]]) -> None:
    for answer in pages:
        stub.add_response("list_objects_v2", answer)
    with pytest.raises(TransientError, match=r"\Athe objects below backups/ cannot be listed: S3"):
        list_backups(stubbed(stub))


def test_a_page_that_fails_fails_the_whole_list(stub: Stubber) -> None:
    stub.add_response("list_objects_v2", page(key_of(ID, MANIFEST), IsTruncated=True, NextContinuationToken="2"))
    stub.add_client_error("list_objects_v2", "SlowDown")
    with pytest.raises(TransientError, match=r"\Athe objects below backups/ cannot be listed: .*SlowDown"):
        list_backups(stubbed(stub))


def test_a_bucket_that_is_gone_has_not_no_backups(aws: LocalAws) -> None:
    with pytest.raises(TransientError, match="NoSuchBucket"):
        list_backups(Store(aws.client("s3"), bucket="nosuch-bucket"))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("latest", OTHER_ID),
        (ID, ID),
        ("2026-11-25T01:00Z", ID),
        ("2026-11-26T01:59:59+01:00", ID),
        ("2026-11-26T02:00:00+01:00", OTHER_ID),
        ("2030-01-01T00:00Z", OTHER_ID),
    ],
)
def test_a_backup_is_found_by_its_id_or_as_the_last_one_taken_by_a_moment(
    store: Store, wanted: str, found: str
) -> None:
    for id in (ID, OTHER_ID):
        back_up(store, id=id, key=None)
    put(store, key_of("20261127T010000Z-00000001", "00001.sql.zst"))
    assert list_backups(store).find(wanted).id == found


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (
            "20261127T010000Z-00000001",
            "there is no complete backup for '20261127T010000Z-00000001'; run `nightshift backup list`",
        ),
        (
            "2026-11-25T00:59:59Z",
            "there is no complete backup for '2026-11-25T00:59:59Z'; run `nightshift backup list`",
        ),
        ("2026-11-25T01:00", "nor a time with its zone such as"),
        ("yesterday", "'yesterday' is neither `latest`, nor the id of a backup, nor a time"),
        ("", "'' is neither"),
    ],
)
def test_what_is_not_found_is_said(store: Store, wanted: str, reason: str) -> None:
    back_up(store, key=None)
    put(store, key_of("20261127T010000Z-00000001", "00001.sql.zst"))
    with pytest.raises(InvalidRequestError, match=reason):
        list_backups(store).find(wanted)


def test_an_id_begins_with_the_moment_in_utc_and_tells_runs_and_attempts_apart() -> None:
    run_id = "1a2b3c4d-0000-4000-8000-000000000000"
    moment = datetime.fromisoformat("2026-11-25T02:00:00+01:00")
    assert new_id(moment, run_id=run_id, attempt=1) == ID
    assert new_id(moment, run_id=run_id, attempt=300) == "20261125T010000Z-1a2b3c2c"
    assert parse_id(ID) == moment
