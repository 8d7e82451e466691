"""Splitting an answer into its items: whatever they hold, in whatever pieces it comes, and wherever it is cut off."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core.errors import PermanentError
from chalicelib.tasks.external_sync import splitting
from chalicelib.tasks.external_sync.splitting import MalformedResponseError, Splitter
from tests.sweep import stories

TEXTS = st.text(alphabet='ab"\\{}[],:items\né 𝄞')
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


def split(data: bytes, *, piece: int = 65_536) -> tuple[list[bytes], Any]:
    """Return the items and the envelope of an answer that comes in pieces of this length."""
    pieces: Iterator[bytes] = (data[i : i + piece] for i in range(0, len(data), piece))
    splitter = Splitter(pieces, key="items")
    return [bytes(item) for found in splitter for item in found], splitter.envelope


@settings(max_examples=stories(50))
@given(
    items=st.lists(VALUES),
    is_alone=st.booleans(),
    indent=st.sampled_from([None, 0, 1]),
    is_ascii=st.booleans(),
    piece=st.integers(1, 40),
    block=st.sampled_from([1, 7, 50, 262_144]),
)
def test_items_do_not_depend_on_chunk_sizes(
    items: list[Any], is_alone: bool, indent: int | None, is_ascii: bool, piece: int, block: int
) -> None:
    around = {"x": {"items": [1], "y": [[]]}, "kind": "items", "items": items, "next": "n", "items2": [{}]}
    answer = json.dumps(items if is_alone else around, ensure_ascii=is_ascii, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "BUFFER_BYTES", block)
        found, envelope = split(answer, piece=piece)
    assert [json.loads(item) for item in found] == items
    assert envelope == ({} if is_alone else around | {"items": []})


@settings(max_examples=stories(50))
@given(items=st.lists(VALUES, min_size=1), is_alone=st.booleans(), data=st.data())
def test_truncated_response_is_never_complete(items: list[Any], is_alone: bool, data: st.DataObject) -> None:
    answer = json.dumps(items if is_alone else {"n": 1, "items": items, "next": "n"}).encode()
    end = data.draw(st.integers(0, len(answer) - 1))
    with pytest.raises(MalformedResponseError):
        split(answer[:end], piece=data.draw(st.integers(1, 100)))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"  ",
        b"null",
        b"<html>",
        b"[]]",
        b"[}",
        b"[1,]",
        b"[,1]",
        b"[1,,2]",
        b"[] []",
        b'{"items": []',
        b'{"items": [], }',
        b'{"items": {}}',
        b'{"items": "[]"}',
        b'{"x": {"items": []}}',
        b'{"other": []}',
        b"{}",
        b"[" * 100_000,
        b"[1" + b"]" * 100_000,
    ],
)
def test_response_without_a_list_is_malformed(answer: bytes) -> None:
    with pytest.raises(MalformedResponseError):
        split(answer)


@pytest.mark.parametrize(
    "bad", [b'{"x": NaN}', b'{"x": "\\ud800"}', b"{x}", b'{"x": 01}', b'{"x" 1}', b"{" * 500 + b"}" * 500]
)
def test_one_invalid_item_leaves_others_intact(bad: bytes) -> None:
    found, _ = split(b'[{"id": 1}, %b , {"id": "}]"}]' % bad)
    assert found == [b'{"id": 1}', bad, b'{"id": "}]"}']


def test_items_that_end_in_long_lists_of_their_own_are_found() -> None:
    items = [{"id": n, "lines": [{"id": i, "of": [{}] * 3} for i in range(300)]} for n in range(50)]
    found, _ = split(json.dumps(items).encode())
    assert [json.loads(item) for item in found] == items


def test_an_item_of_some_mebibytes_is_given_whole() -> None:
    items = [{"id": 1}, {"id": 2, "x": "y" * 5_000_000}, {"id": 3}]
    found, _ = split(json.dumps(items).encode())
    assert [len(item) for item in found] == [9, 5_000_018, 9]


def test_an_item_that_does_not_end_is_refused_before_it_fills_the_memory() -> None:
    given = 0

    def endless() -> Iterator[bytes]:
        nonlocal given
        yield b'[{"id": "'
        while True:
            given += 1_000_000
            yield b"x" * 1_000_000

    with pytest.raises(PermanentError, match="an item has more than 16,777,216 bytes"):
        list(Splitter(endless(), key="items"))
    assert given < 40_000_000


@pytest.mark.parametrize("answer", [b'{"x": "%b", "items": []}', b'{"items": [], "x": "%b"}'])
def test_other_keys_are_limited_in_size(answer: bytes) -> None:
    with pytest.raises(MalformedResponseError, match="mebibyte"):
        split(answer % (b"x" * 3_000_000))


def test_a_byte_order_mark_is_named() -> None:
    with pytest.raises(MalformedResponseError, match="the response begins with a byte order mark"):
        list(Splitter(iter([b'\xef\xbb\xbf[{"id": 1}]']), key="items"))
