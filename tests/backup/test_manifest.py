"""The manifest: sealed, and believed only where it is what was written and does not contradict itself."""

import hashlib
import json
from typing import Any

import pytest

from chalicelib.backup.archive import manifest as manifests
from chalicelib.backup.archive.encryption import Key, Keys
from chalicelib.backup.archive.manifest import (
    Manifest,
    Part,
    Position,
    Programs,
    Server,
    Table,
    decode_manifest,
    encode_manifest,
)
from chalicelib.core.errors import DamagedError, PermanentError
from tests.backup.archives import ID, KEYS, OTHER_KEYS, PLAIN, describe

LF = b"\n"
ENCRYPTED_OR_NOT = pytest.mark.parametrize("keys", [PLAIN, KEYS], ids=["plain", "encrypted"])


def part(number: int, **values: Any) -> Part:
    name = f"{number:05}.sql.zst"
    given: dict[str, Any] = {"name": name, "plain_bytes": 100, "stored_bytes": 50, "sha256": "ab", "kind": "tables"}
    return Part(**given | values)


def whole(key: Key | None, **changes: Any) -> Manifest:
    end = "" if key is None else ".enc"
    rows = part(2, name=f"00002.sql.zst{end}", kind="rows", table="t", rows=3)
    return describe(ID, [part(1, name=f"00001.sql.zst{end}"), rows], key=key, **changes)


def resealed(changed: dict[str, Any]) -> bytes:
    """Return a manifest without a key with other keys of JSON, and its digest, as anybody can make it."""
    return with_digest(
        json.dumps(json.loads(encode_manifest(whole(None), key=None).partition(LF)[0]) | changed).encode()
    )


def with_digest(text: bytes) -> bytes:
    return text + b"\nsha256 " + hashlib.sha256(text).hexdigest().encode() + b"\n"


def refused(content: bytes, *, keys: Keys = PLAIN) -> str:
    with pytest.raises((DamagedError, PermanentError)) as caught:
        decode_manifest(content, id=ID, keys=keys)
    assert ID in str(caught.value)
    return str(caught.value)


@ENCRYPTED_OR_NOT
def test_a_manifest_comes_back_with_its_key(keys: Keys) -> None:
    manifest = whole(
        keys.first,
        schema="shöp \"`'\n🐙",
        server=Server(version="8.0.42", charset="utf8mb4", sql_mode="STRICT_TRANS_TABLES", time_zone="+02:00"),
        position=Position(gtid="0-1-42", file="binlog.000007", offset=12345678901),
        tables=(
            Table(name="t", rows=3, checksum="1f"),
            Table(name="log/../\\", rows=None, checksum=None),
            Table(name="empty", rows=0, checksum="0"),
        ),
        programs=Programs(views=1, triggers=2, routines=3, events=4),
    )
    assert decode_manifest(encode_manifest(manifest, key=keys.first), id=ID, keys=keys) == (manifest, keys.first)


def test_totals_are_those_of_tables_and_parts() -> None:
    manifest = whole(None, tables=(Table(name="t", rows=3, checksum=None), Table(name="u", rows=None, checksum=None)))
    assert (manifest.rows, manifest.plain_bytes, manifest.stored_bytes) == (3, 200, 100)


def test_it_is_one_line_of_json_and_one_that_seals_it_as_anybody_can_check() -> None:
    text, seal_line, rest = encode_manifest(whole(None), key=None).split(b"\n")
    assert json.loads(text)["id"] == ID
    assert seal_line.decode() == f"sha256 {hashlib.sha256(text).hexdigest()}"
    assert rest == b""


def test_it_shows_no_key_but_the_keys_id() -> None:
    content = encode_manifest(whole(KEYS.first), key=KEYS.first)
    assert KEYS.first is not None
    assert KEYS.first.id.encode() in content
    assert KEYS.first.secret not in content


def test_without_the_key_it_shows_nothing_but_its_format_and_the_keys_id() -> None:
    assert KEYS.first is not None
    names = [f"table_{n}" for n in range(50)]
    tables = tuple(Table(name=name, rows=0, checksum="sha256:ab") for name in names)
    content = encode_manifest(
        whole(KEYS.first, tables=(Table(name="t", rows=3, checksum="1f"), *tables)), key=KEYS.first
    )
    head, _, rest = content.partition(LF)
    assert json.loads(head) == {"version": 2, "key_id": KEYS.first.id}
    assert not any(word.encode() in rest for word in [*names, "shop", "rows", "sha256", "MariaDB", ID])
    assert len(set(rest)) == 256


def test_of_another_key_or_another_backup_it_does_not_open() -> None:
    content = encode_manifest(whole(KEYS.first), key=KEYS.first)
    other = encode_manifest(whole(OTHER_KEYS.first), key=OTHER_KEYS.first)
    assert "was altered" in refused(content.partition(LF)[0] + LF + other.partition(LF)[2], keys=KEYS)
    with pytest.raises(DamagedError, match="was altered"):
        decode_manifest(content, id="20261126T010000Z-1a2b3c01", keys=KEYS)


def test_one_without_encryption_is_none_of_a_key() -> None:
    text = encode_manifest(whole(None), key=None).partition(LF)[0]
    assert KEYS.first is not None
    claimed = text.replace(b'"key_id":null', b'"key_id":"%b"' % KEYS.first.id.encode())
    assert claimed != text
    assert "is damaged" in refused(with_digest(claimed), keys=KEYS)
    assert "belongs to" in refused(resealed({"version": 2, "key_id": None, "id": "20261126T010000Z-1a2b3c01"}))


def test_what_a_restore_would_not_read_is_not_written() -> None:
    definitions = part(1, plain_bytes=manifests.MAX_DEFINITION_BYTES)
    encode_manifest(describe(ID, [definitions], key=None, tables=()), key=None)
    with pytest.raises(
        DamagedError, match="its definitions have 67,108,964 bytes, and a restore reads at most 67,108,864"
    ):
        encode_manifest(describe(ID, [definitions, part(2, kind="programs")], key=None, tables=()), key=None)
    tables = tuple(Table(name=f"{n:064}", rows=None, checksum=None) for n in range(180_000))
    for key in (None, KEYS.first):
        with pytest.raises(DamagedError, match=r"its manifest has .* bytes, and a restore reads at most 16,777,216"):
            encode_manifest(describe(ID, [], key=key, tables=tables), key=key)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: b"\n",
        lambda content: content.partition(b"\n")[0],
        lambda content: content + b"\n",
        lambda content: b"\n" + content,
        lambda content: content + content,
        lambda content: content.replace(b"\n", b"\r\n"),
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.decode().encode("utf-16"),
        lambda content: b"[" * 100_000 + content,
        lambda content: b"<Error><Code>SlowDown</Code></Error>",
    ],
)
def test_what_is_no_manifest_is_refused(change: Any) -> None:
    assert "is damaged" in refused(change(encode_manifest(whole(None), key=None)))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"version": 3, "parts": "elsewhere"}, "has format 3"),
        ({"version": 1, "parts": "elsewhere"}, "has format 1"),
        ({"version": 0.5}, "damaged"),
        ({"id": "20261126T010000Z-1a2b3c01"}, "it belongs to the backup 20261126"),
        ({"more": 1}, "unknown field `more`"),
        ({"taken_at": "2026-11-25T01:00:00"}, "taken_at"),
        ({"tables": [{"name": "t", "rows": 4, "checksum": None}]}, "the rows of its parts do not add up"),
        ({"tables": []}, "it does not list the table of 00002"),
        ({"tables": [{"name": "t", "rows": None, "checksum": None}]}, "it does not list the table of 00002"),
        ({"tables": [{"name": "t", "rows": 3, "checksum": "1"}] * 2}, "lists a table twice"),
        ({"key_id": "12345678"}, "the key 12345678"),
    ],
)
def test_what_contradicts_itself_is_refused_though_it_is_sealed(changed: dict[str, Any], reason: str) -> None:
    assert reason in refused(resealed(changed))


@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "../x/00001.sql.zst",
        "00001.sql.zst/..",
        "/00001.sql.zst",
        "1.sql.zst",
        "00001.sql",
        "00001.sql.zst\n",
    ],
)
def test_no_part_is_named_otherwise_than_parts_are(name: str) -> None:
    with pytest.raises(DamagedError, match="have invalid or duplicate names"):
        encode_manifest(describe(ID, [part(1, name=name)], key=None, tables=()), key=None)


def test_no_part_comes_twice() -> None:
    with pytest.raises(DamagedError, match="have invalid or duplicate names"):
        encode_manifest(describe(ID, [part(1), part(1)], key=None, tables=()), key=None)


def test_an_encrypted_backup_has_no_plain_part_nor_the_reverse() -> None:
    with pytest.raises(DamagedError, match="contradict its key"):
        encode_manifest(describe(ID, [part(1)], key=KEYS.first, tables=()), key=KEYS.first)
    with pytest.raises(DamagedError, match="contradict its key"):
        encode_manifest(describe(ID, [part(1, name="00001.sql.zst.enc")], key=None, tables=()), key=None)
