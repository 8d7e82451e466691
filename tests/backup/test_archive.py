"""The archive: what was written comes back; nothing else is taken for it; a failure leaves nothing."""

import os
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import MANIFEST, key_of
from chalicelib.backup.archive.manifest import Part, StoredPart, Table, encode_manifest
from chalicelib.backup.archive.parts import ArchiveWriter, Reader, zstd
from chalicelib.core.errors import DamagedError, InvalidRequestError, PermanentError
from chalicelib.core.store import UNDER_WAY, NotFoundError, Store
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from nightshift.testkit.memory import MemoryS3
from tests.backup.archives import HEAD, ID, KEYS, OTHER_ID, OTHER_KEYS, PLAIN, TEXTS, back_up, describe, write_parts

ENCRYPTED_OR_NOT = pytest.mark.parametrize("keys", [PLAIN, KEYS], ids=["plain", "encrypted"])
# More than the pieces that may be under way at once.
BIG = UNDER_WAY + 2


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


@pytest.fixture
def memory() -> MemoryS3:
    return MemoryS3()


def in_memory(memory: MemoryS3) -> Store:
    return Store(memory, bucket=BUCKET)  # type: ignore[arg-type]


def open_(store: Store, *, id: str = ID, keys: Keys, plain: bool = False) -> Reader:
    return Reader(store, id=id, keys=keys, plain=plain)


def read_all(reader: Reader) -> list[bytes]:
    return [b"".join(reader.read(part)) for part in reader.manifest.parts]


@ENCRYPTED_OR_NOT
def test_what_was_written_comes_back(store: Store, keys: Keys) -> None:
    written = back_up(store, key=keys.first)
    reader = open_(store, keys=keys)
    assert reader.manifest == written
    assert read_all(reader) == [b"".join(chunks) for _, chunks, _ in TEXTS.values()]


def test_a_part_is_what_the_ordinary_tool_decompresses(store: Store) -> None:
    manifest = back_up(store, key=None)
    contents = [b"".join(store.read(key_of(ID, part.name))) for part in manifest.parts]
    assert [zstd.decompress(content) for content in contents] == [b"".join(chunks) for _, chunks, _ in TEXTS.values()]


def test_an_encrypted_part_says_nothing_and_its_name_no_more_than_a_number(store: Store) -> None:
    manifest = back_up(store, key=KEYS.first)
    assert [part.name for part in manifest.parts] == [f"0000{n}.sql.zst.enc" for n in (1, 2, 3, 4)]
    for part in manifest.parts:
        content = b"".join(store.read(key_of(ID, part.name)))
        assert b"SET NAMES" not in content
        # As zstd leaves it, which is bytes as they are where they do not repeat.
        assert zstd.compress(HEAD)[4:-4] not in content


def test_parts_of_many_pieces_are_written_side_by_side(aws: LocalAws, store: Store) -> None:
    texts = [[os.urandom(1 << 20) for _ in range(22)] for _ in range(4)]
    with ArchiveWriter(store, id=ID, key=KEYS.first) as archive, ThreadPoolExecutor(4) as threads:
        stored = list(threads.map(archive.write, [f"{n:05}.sql" for n in range(4)], texts))
        parts = [Part.of(part, kind="rows", table="t", rows=0) for part in stored]
        archive.finish(describe(ID, parts, key=KEYS.first, tables=(Table(name="t", rows=0, checksum=None),)))
    reader = open_(store, keys=KEYS)
    assert read_all(reader) == [b"".join(text) for text in texts]
    heads = [aws.client("s3").head_object(Bucket=BUCKET, Key=key_of(ID, part.name)) for part in stored]
    # So many pieces were put together.
    assert {head["ETag"].strip('"').rpartition("-")[2] for head in heads} == {"5"}


@ENCRYPTED_OR_NOT
def test_nothing_at_all_can_be_a_part(store: Store, keys: Keys) -> None:
    with ArchiveWriter(store, id=ID, key=keys.first) as archive:
        part = Part.of(archive.write("00001.sql", []), kind="tables")
        archive.finish(describe(ID, [part], key=keys.first, tables=()))
    assert read_all(open_(store, keys=keys)) == [b""]


def refused(memory: MemoryS3, keys: Keys, *names: str, id: str = ID) -> str:
    """Read parts of a backup by their numbers, see it refused, and return the sentence."""
    given: list[bytes] = []

    def read() -> None:
        reader = open_(in_memory(memory), id=id, keys=keys)
        for part in reader.manifest.parts:
            if part.name[:5] in names:
                given.extend(reader.read(part))

    with pytest.raises((DamagedError, PermanentError)) as caught:
        read()
    # What is encrypted proves itself before it is given.
    assert not (keys.all and given)
    sentence = str(caught.value)
    assert id in sentence
    return sentence


@ENCRYPTED_OR_NOT
def test_every_flipped_byte_of_every_object_is_refused_with_a_sentence(memory: MemoryS3, keys: Keys) -> None:
    back_up(in_memory(memory), key=keys.first)
    assert len(memory.objects) == len(TEXTS) + 1
    for key, content in list(memory.objects.items()):
        name = key.rpartition("/")[2]
        for at in range(len(content)):
            # The last makes a small letter a capital one, or the reverse.
            for flip in (1, 0x80, 0x20):
                memory.objects[key] = content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
                sentence = refused(memory, keys, name[:5])
                assert f"{name} of backup" in sentence or name == MANIFEST
        memory.objects[key] = content
    assert len(read_all(open_(in_memory(memory), keys=keys))) == len(TEXTS)


@ENCRYPTED_OR_NOT
def test_every_truncation_of_every_object_is_refused_with_a_sentence(memory: MemoryS3, keys: Keys) -> None:
    back_up(in_memory(memory), key=keys.first)
    for key, content in list(memory.objects.items()):
        for end in range(len(content)):
            memory.objects[key] = content[:end]
            name = key.rpartition("/")[2]
            sentence = refused(memory, keys, name[:5])
            assert f"it has {end} of the {len(content)} bytes that were stored" in sentence or name == MANIFEST
        memory.objects[key] = content


@ENCRYPTED_OR_NOT
@pytest.mark.parametrize("more", [b"\n", b"\x00", b"more" * 1000, zstd.compress(b"(4,'x');\n")], ids=len)
def test_appended_bytes_are_refused(memory: MemoryS3, keys: Keys, more: bytes) -> None:
    back_up(in_memory(memory), key=keys.first)
    for key, content in list(memory.objects.items()):
        memory.objects[key] = content + more
        name = key.rpartition("/")[2]
        sentence = refused(memory, keys, name[:5])
        assert f"it is longer than the {len(content)} bytes that were stored" in sentence or name == MANIFEST
        memory.objects[key] = content


@ENCRYPTED_OR_NOT
def test_a_missing_part_is_named(memory: MemoryS3, keys: Keys) -> None:
    manifest = back_up(in_memory(memory), key=keys.first)
    name = manifest.parts[1].name
    del memory.objects[key_of(ID, name)]
    assert refused(memory, keys, "00002") == f"{name} of backup {ID} is missing; use another backup"


@ENCRYPTED_OR_NOT
def test_parts_in_each_others_place_are_refused(memory: MemoryS3, keys: Keys) -> None:
    manifest = back_up(in_memory(memory), key=keys.first)
    first, second = (key_of(ID, part.name) for part in manifest.parts[1:3])
    memory.objects[first], memory.objects[second] = memory.objects[second], memory.objects[first]
    refused(memory, keys, "00002")
    refused(memory, keys, "00003")


@ENCRYPTED_OR_NOT
def test_a_part_of_another_backup_is_refused_though_it_is_whole(memory: MemoryS3, keys: Keys) -> None:
    manifest = back_up(in_memory(memory), key=keys.first)
    back_up(in_memory(memory), id=OTHER_ID, key=keys.first, head=b"SET @a=1;\n")
    for part in manifest.parts:
        memory.objects[key_of(ID, part.name)] = memory.objects[key_of(OTHER_ID, part.name)]
        refused(memory, keys, part.name[:5])


def test_a_part_of_another_backup_does_not_open_whatever_the_manifest_says(memory: MemoryS3) -> None:
    """Even whoever has the key can mix up no two backups by accident: the frames know where they belong."""
    store = in_memory(memory)
    other = back_up(store, id=OTHER_ID, key=KEYS.first)
    with ArchiveWriter(store, id=ID, key=KEYS.first) as archive:
        write_parts(archive)
        archive.finish(describe(ID, list(other.parts), key=KEYS.first))
    for part in other.parts:
        memory.objects[key_of(ID, part.name)] = memory.objects[key_of(OTHER_ID, part.name)]
    assert "its frame 1 was altered" in refused(memory, KEYS, "00002")


@ENCRYPTED_OR_NOT
def test_a_manifest_of_another_backup_is_refused(memory: MemoryS3, keys: Keys) -> None:
    for id in (ID, OTHER_ID):
        back_up(in_memory(memory), id=id, key=keys.first)
    memory.objects[key_of(ID, MANIFEST)] = memory.objects[key_of(OTHER_ID, MANIFEST)]
    reason = "was altered" if keys.all else f"it belongs to the backup {OTHER_ID}"
    assert reason in refused(memory, keys)


def test_a_backup_of_a_key_that_is_not_there_names_it(memory: MemoryS3) -> None:
    manifest = back_up(in_memory(memory), key=KEYS.first)
    for keys in (PLAIN, OTHER_KEYS):
        assert f"the key {manifest.key_id}, but BACKUP_KEY has {keys}" in refused(memory, keys)


def test_a_backup_of_an_earlier_key_is_still_read(memory: MemoryS3) -> None:
    store = in_memory(memory)
    back_up(store, key=KEYS.all[1])
    assert len(read_all(open_(store, keys=KEYS))) == len(TEXTS)


def test_a_plain_backup_is_no_substitute_for_an_encrypted_one(memory: MemoryS3) -> None:
    store = in_memory(memory)
    back_up(store, key=None)
    assert "anyone who can write to the bucket could have made it" in refused(memory, KEYS)
    assert len(read_all(open_(store, keys=KEYS, plain=True))) == len(TEXTS)


@ENCRYPTED_OR_NOT
@pytest.mark.parametrize(
    ("version", "advice"),
    [(1, "restore it with the release that made it"), (3, "update Nightshift"), (99, "update Nightshift")],
)
def test_another_format_is_refused_as_such(memory: MemoryS3, keys: Keys, version: int, advice: str) -> None:
    store = in_memory(memory)
    with ArchiveWriter(store, id=ID, key=keys.first) as archive:
        archive.finish(describe(ID, write_parts(archive), key=keys.first, version=version))
    assert f"has format {version}, and this code reads 2; {advice}" in refused(memory, keys)


def forge(memory: MemoryS3, content: bytes, *, plain_bytes: int) -> None:
    """Put a part of any content into a backup without a key, as somebody could who may write to the bucket."""
    stored = StoredPart(
        name="00001.sql.zst", plain_bytes=plain_bytes, stored_bytes=len(content), sha256=sha256(content).hexdigest()
    )
    memory.objects[key_of(ID, stored.name)] = content
    manifest = describe(ID, [Part.of(stored, kind="tables")], key=None, tables=())
    memory.objects[key_of(ID, MANIFEST)] = encode_manifest(manifest, key=None)


def test_a_part_that_unpacks_to_more_than_the_manifest_says_is_read_no_further(memory: MemoryS3) -> None:
    forge(memory, zstd.compress(bytes(1 << 28)), plain_bytes=1 << 21)
    reader = open_(in_memory(memory), keys=PLAIN)
    given: list[bytes] = []
    with pytest.raises(DamagedError, match="longer than the expected 2097152 bytes"):
        given.extend(reader.read(reader.manifest.parts[0]))
    assert sum(map(len, given)) == 1 << 21


def test_a_part_that_wants_much_memory_to_unpack_is_refused(memory: MemoryS3) -> None:
    parameter = zstd.CompressionParameter
    compressor = zstd.ZstdCompressor(options={parameter.window_log: 26, parameter.content_size_flag: 0})
    forge(memory, compressor.compress(os.urandom(1000)) + compressor.flush(), plain_bytes=1000)
    assert "cannot be decompressed" in refused(memory, PLAIN, "00001")


@pytest.mark.parametrize(
    "content", [b"", b"SET NAMES binary;\n", zstd.compress(b"x" * 9), zstd.compress(b"x" * 10) + b"\x00"], ids=len
)
def test_a_part_that_is_not_one_whole_frame_is_refused(memory: MemoryS3, content: bytes) -> None:
    forge(memory, content, plain_bytes=10)
    refused(memory, PLAIN, "00001")


@pytest.mark.parametrize(
    "id", ["", "latest", f"../{ID}", f"{ID}/..", f"{ID}/x", f"{ID}\n", "20261325T010000Z-1a2b3c01"]
)
def test_what_is_no_id_is_refused_before_the_bucket_is_asked(id: str) -> None:
    nowhere = Store(LocalAws("http://127.0.0.1:9").client("s3"), bucket=BUCKET)
    with pytest.raises(InvalidRequestError, match="is not the id of a backup"):
        Reader(nowhere, id=id, keys=PLAIN, plain=False)
    with pytest.raises(InvalidRequestError, match="is not the id of a backup"):
        ArchiveWriter(nowhere, id=id, key=None)


def test_a_backup_that_was_not_finished_is_none(store: Store) -> None:
    with ArchiveWriter(store, id=ID, key=None) as archive:
        write_parts(archive)
    with pytest.raises(NotFoundError, match=f"there is no complete backup {ID}"):
        open_(store, keys=PLAIN)
