"""Verification: everything is read back, and the mark beside a backup says the truth."""

from collections.abc import Callable, Iterator
from threading import Event, current_thread

import pytest

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import MANIFEST, VERIFIED, key_of, list_backups
from chalicelib.backup.archive.manifest import Part, Table
from chalicelib.backup.archive.parts import ArchiveWriter, Reader
from chalicelib.backup.restore.contents import VerifyResult, verify
from chalicelib.core.errors import DamagedError, OutOfTimeError, PermanentError, TransientError
from chalicelib.core.store import NotFoundError, Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from nightshift.testkit.memory import MemoryS3
from tests.backup.archives import ID, KEYS, PLAIN, TEXTS, back_up, describe

ENCRYPTED_OR_NOT = pytest.mark.parametrize("keys", [PLAIN, KEYS], ids=["plain", "encrypted"])


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


def run(
    store: Store, *, keys: Keys, progress: Callable[[int], None] = lambda _: None, threads: int = 2
) -> VerifyResult:
    return verify(store, ID, keys=keys, plain=False, threads=threads, progress=progress)


def is_marked(store: Store) -> bool:
    return list_backups(store).backups[0].verified_at is not None


def damage(store: Store, name: str) -> None:
    content = b"".join(store.read(key_of(ID, name)))
    store.put(key_of(ID, name), content[:-1] + bytes([content[-1] ^ 1]), content_type="text/plain")


@ENCRYPTED_OR_NOT
def test_a_whole_backup_is_marked_and_counted(store: Store, keys: Keys) -> None:
    manifest = back_up(store, key=keys.first)
    assert not is_marked(store)
    verified = run(store, keys=keys)
    text = b"".join(chunk for _, chunks, _ in TEXTS.values() for chunk in chunks)
    assert verified == VerifyResult(parts=4, rows=3, stored_bytes=manifest.stored_bytes, plain_bytes=len(text))
    assert is_marked(store)
    # Who may read the bucket without the key learns no more from it.
    assert b"".join(store.read(key_of(ID, VERIFIED))) == b"{}\n"


@ENCRYPTED_OR_NOT
@pytest.mark.parametrize("number", range(4))
def test_damage_to_any_part_is_found_and_takes_the_mark_away(store: Store, keys: Keys, number: int) -> None:
    manifest = back_up(store, key=keys.first)
    run(store, keys=keys)
    damage(store, manifest.parts[number].name)
    with pytest.raises(DamagedError, match=rf"\A{manifest.parts[number].name} of backup {ID} is damaged"):
        run(store, keys=keys)
    assert not is_marked(store)


def test_a_definition_that_no_restore_would_take_is_damage(store: Store) -> None:
    with ArchiveWriter(store, id=ID, key=None) as archive:
        text = b"DELIMITER $$\nDROP SCHEMA x\n$$\nDELIMITER ;\n"
        part = Part.of(archive.write("00001.sql", [text]), kind="programs")
        archive.finish(describe(ID, [part], key=None, tables=()))
    with pytest.raises(DamagedError, match="unknown kind of statement"):
        run(store, keys=PLAIN)
    assert not is_marked(store)


def test_a_damaged_manifest_takes_the_mark_away(store: Store) -> None:
    back_up(store, key=None)
    run(store, keys=PLAIN)
    damage(store, MANIFEST)
    with pytest.raises(DamagedError, match=rf"\Athe manifest of backup {ID} is damaged"):
        run(store, keys=PLAIN)
    assert not is_marked(store)


def test_a_missing_key_says_nothing_about_the_backup_and_leaves_its_mark(store: Store) -> None:
    back_up(store, key=KEYS.first)
    run(store, keys=KEYS)
    with pytest.raises(PermanentError, match="BACKUP_KEY has no key; add it there"):
        run(store, keys=PLAIN)
    assert is_marked(store)


def test_an_s3_that_fails_says_nothing_about_the_backup_and_leaves_its_mark(store: Store) -> None:
    back_up(store, key=None)
    run(store, keys=PLAIN)
    nowhere = Store(LocalAws("http://127.0.0.1:9").client("s3"), bucket=BUCKET)
    with pytest.raises(TransientError, match="cannot be read"):
        run(nowhere, keys=PLAIN)
    assert is_marked(store)


def test_what_is_no_backup_gets_no_mark(store: Store) -> None:
    with pytest.raises(NotFoundError, match=f"there is no complete backup {ID}"):
        run(store, keys=PLAIN)
    assert list_backups(store).backups == ()


def back_up_rows(store: Store, *chunks: bytes, rows: int) -> None:
    with ArchiveWriter(store, id=ID, key=None) as archive:
        part = Part.of(archive.write("00001.sql", chunks), kind="rows", table="t", rows=rows)
        archive.finish(describe(ID, [part], key=None, tables=(Table(name="t", rows=rows, checksum=None),)))


@pytest.mark.parametrize("cut", range(20))
def test_rows_are_counted_wherever_the_text_is_cut(cut: int) -> None:
    store = Store(MemoryS3(), bucket=BUCKET)  # type: ignore[arg-type]
    head = b"INSERT INTO `t` (`a\n(`) VALUES\n"
    long = b"('%b'),\n" % (b"-" * ((1 << 20) - cut - len(head)))
    # What is unpacked comes a mebibyte at a time; a column may be called what looks like a row.
    back_up_rows(store, head + long + b"(1),\n('\\n('),\n(3);\n" + head + b"(4);\n", rows=5)
    assert run(store, keys=PLAIN).rows == 5


@pytest.mark.parametrize("rows", [1, 3])
def test_a_part_with_other_rows_than_the_manifest_says_is_damaged(store: Store, rows: int) -> None:
    back_up_rows(store, b"INSERT INTO `t` (`a`) VALUES\n(1),\n(2);\n", rows=rows)
    with pytest.raises(DamagedError, match=rf"00001.sql.zst of backup {ID} is damaged: it has 2 rows, and .* {rows}"):
        run(store, keys=PLAIN)


def test_each_part_is_reported_when_it_is_read_in_one_of_so_many_threads(store: Store) -> None:
    back_up(store, key=None)
    seen: list[tuple[int, str]] = []
    run(store, keys=PLAIN, threads=2, progress=lambda parts: seen.append((parts, current_thread().name)))
    assert len(seen) == len(TEXTS)
    assert max(seen)[0] == len(TEXTS)
    assert {thread for _, thread in seen} <= {"backup_0", "backup_1"}


def test_only_what_was_read_with_all_before_it_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up(store, key=None)
    others, read, seen = Event(), Reader.read, []

    def read_first_last(reader: Reader, part: Part) -> Iterator[bytes]:
        if part == reader.manifest.parts[0]:
            assert others.wait(60)
        return read(reader, part)

    def progress(parts: int) -> None:
        seen.append(parts)
        if len(seen) == len(TEXTS) - 1:
            others.set()

    monkeypatch.setattr(Reader, "read", read_first_last)
    run(store, keys=PLAIN, threads=2, progress=progress)
    assert seen == [0, 0, 0, 4]


def test_who_is_told_may_end_it_which_proves_nothing(store: Store) -> None:
    back_up(store, key=None)
    seen: list[int] = []

    def progress(parts: int) -> None:
        seen.append(parts)
        raise OutOfTimeError("the deadline is near")

    with pytest.raises(OutOfTimeError):
        run(store, keys=PLAIN, threads=1, progress=progress)
    assert len(seen) < len(TEXTS)
    assert not is_marked(store)
