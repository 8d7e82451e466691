"""Encrypted frames: what was written comes back, and nothing else opens, not by one byte."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.backup.archive.encryption import FRAME, HEADER, TAG, decrypt, encrypt
from chalicelib.core.errors import DamagedError
from tests.sweep import examples

SECRET = bytes(range(32))
FIRST = FRAME - HEADER - TAG
# What Tink 1.16 made of "hello, world" under that secret with the associated data "id/name".
BY_TINK = (
    "28511b2dfc7ffa0bb18eeae3f61118ca038681119de1b6909b923da4e7f79fcdd24e39f494f6d1105e092f3681b2943eaf657902288fe06505"
    "64feeb9bab1e1764b87a7d"
)


def text(size: int) -> bytes:
    return hashlib.shake_128(b"any").digest(size)


def sealed(content: bytes, *, secret: bytes = SECRET, associated: bytes = b"id/name") -> bytes:
    return b"".join(encrypt([content], secret=secret, associated=associated))


def opened(chunks: Iterable[bytes], *, secret: bytes = SECRET, associated: bytes = b"id/name") -> bytes:
    return b"".join(decrypt(chunks, secret=secret, associated=associated))


def refused(content: bytes, **options: bytes) -> None:
    with pytest.raises(DamagedError, match=r"was altered|header of an encrypted stream"):
        opened([content], **options)


@pytest.fixture(scope="module")
def long() -> list[bytes]:
    """Return the header and the three frames of a stream."""
    return list(encrypt([text(FIRST + (FRAME - TAG) + 1000)], secret=SECRET, associated=b"id/name"))


@pytest.mark.parametrize("size", [0, 1, 1000, FIRST - 1, FIRST, FIRST + 1, FIRST + FRAME - TAG, 3 * FRAME])
def test_what_was_written_comes_back(size: int) -> None:
    assert opened([sealed(text(size))]) == text(size)


@given(pieces=st.lists(st.integers(0, 3 * FRAME), max_size=8), steps=st.integers(1, 2 * FRAME))
@settings(max_examples=examples(25))
def test_it_comes_back_however_it_was_cut_on_either_way(pieces: list[int], steps: int) -> None:
    chunks = [text(size) for size in pieces]
    stream = b"".join(encrypt(chunks, secret=SECRET, associated=b""))
    cut = [stream[start : start + steps] for start in range(0, len(stream), steps)]
    assert b"".join(decrypt(cut, secret=SECRET, associated=b"")) == b"".join(chunks)


def test_what_tink_encrypted_opens() -> None:
    assert opened([bytes.fromhex(BY_TINK)]) == b"hello, world"


def test_several_frames_are_what_tink_makes_of_the_same_salt_and_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    header = bytes.fromhex("28a51d990aac79f994df7ac83bc5374304a34fe9c2d566cf8401810bda358705a1b0b7f2b65c2fb3")
    random = {32: header[1:33], 7: header[33:]}
    monkeypatch.setattr("chalicelib.backup.archive.encryption.os.urandom", random.__getitem__)
    by_tink = "32a01454f89a450a4ad5e765d7e8623cd2017b3bfef6e6fb832f097253de3a6c"
    assert hashlib.sha256(sealed(text(150_000))).hexdigest() == by_tink


def test_the_same_text_is_never_encrypted_the_same_way_twice() -> None:
    first, second = sealed(b"text"), sealed(b"text")
    assert first[1:HEADER] != second[1:HEADER]
    assert first[HEADER:] != second[HEADER:]


@pytest.mark.parametrize("bit", range(8))
def test_no_flipped_bit_opens(bit: int) -> None:
    stream = sealed(b"forty bytes or so of rather secret text.")
    for at in range(len(stream)):
        refused(stream[:at] + bytes([stream[at] ^ 1 << bit]) + stream[at + 1 :])


def test_no_truncation_opens() -> None:
    stream = sealed(b"forty bytes or so of rather secret text.")
    for end in range(len(stream)):
        refused(stream[:end])


@pytest.mark.parametrize(
    "more", [b"\x00", bytes(TAG), b"x" * 100, sealed(b"more")], ids=["a byte", "zeros", "text", "frames"]
)
def test_nothing_appended_opens(more: bytes) -> None:
    refused(sealed(b"text") + more)


@pytest.mark.parametrize(
    "order", [[0, 1, 2], [0, 1], [0], [0, 2, 1, 3], [0, 1, 3], [0, 3], [0, 1, 1, 2, 3], [0, 1, 2, 3, 3], [0, 1, 3, 2]]
)
def test_frames_that_are_missing_moved_or_repeated_do_not_open(long: list[bytes], order: list[int]) -> None:
    assert len(long) == 4
    refused(b"".join(long[number] for number in order))


def test_frames_of_another_stream_do_not_open(long: list[bytes]) -> None:
    other = list(encrypt([text(FIRST + (FRAME - TAG) + 1000)], secret=SECRET, associated=b"id/name"))
    for number in range(4):
        refused(b"".join([*long[:number], other[number], *long[number + 1 :]]))


def test_nothing_of_a_damaged_frame_is_used(long: list[bytes]) -> None:
    damaged = bytearray(b"".join(long))
    damaged[2 * FRAME - 1] ^= 1
    frames = decrypt([bytes(damaged)], secret=SECRET, associated=b"id/name")
    assert next(frames) == text(FIRST)
    with pytest.raises(DamagedError, match=r"\Aits frame 2 was altered\Z"):
        next(frames)


def test_another_secret_or_other_associated_data_do_not_open() -> None:
    refused(sealed(b"text"), secret=bytes(32))
    for associated in (b"", b"id/name2", b"id/nam", b"ie/name"):
        refused(sealed(b"text"), associated=associated)


def test_what_was_never_encrypted_is_refused() -> None:
    refused(b"SET NAMES binary;\n" * 1000)
    refused(b"")


def test_frames_go_out_as_they_fill_and_are_not_collected() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield bytes(FRAME // 4)

    for _ in islice(encrypt(endless(), secret=SECRET, associated=b""), 10):
        pass
    assert taken < 10 * 4 + 4
