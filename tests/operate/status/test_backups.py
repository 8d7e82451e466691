"""The backups as their catalogue has them."""

from chalicelib.core.clock import to_ms
from tests.operate.status.conftest import DAY, HOUR, NOW, Deployment


def test_the_latest_are_told_the_newest_first(deployment: Deployment) -> None:
    for ago in range(8):
        deployment.backup(NOW - ago * DAY)
    found = deployment.backups()
    assert [backup.taken_at for backup in found.latest] == [NOW - ago * DAY for ago in range(5)]
    assert found.verified == found.latest[0]


def test_the_newest_that_is_verified_is_found_behind_all_that_are_not(deployment: Deployment) -> None:
    deployment.backup(NOW - 20 * DAY)
    deployment.backup(NOW - 21 * DAY)
    for ago in range(6):
        deployment.backup(NOW - ago * DAY, verified=False)
    found = deployment.backups()
    assert len(found.latest) == 5
    assert found.verified is not None
    assert found.verified.taken_at == NOW - 20 * DAY


def test_what_failed_or_was_removed_is_not_verified_whatever_it_was_before(deployment: Deployment) -> None:
    deployment.backup(NOW - 3 * HOUR, status="removed")
    deployment.backup(NOW - 2 * HOUR, status="failed", error="s3 said no to ann@example.org")
    deployment.backup(NOW - HOUR, status="running", verified=False)
    found = deployment.backups()
    assert found.verified is None
    assert [(backup.status, backup.error) for backup in found.latest] == [
        ("running", None),
        ("failed", "s3 said no to a***@example.org"),
    ]


def test_a_backup_is_told_with_its_size_and_marks(deployment: Deployment) -> None:
    deployment.backup(NOW, kind="snapshot", stored_bytes=None, drilled_at=to_ms(NOW + HOUR))
    (backup,) = deployment.backups().latest
    assert (backup.kind, backup.bytes, backup.drilled_at) == ("snapshot", None, NOW + HOUR)
