"""Unsubscribe tokens and links."""

import string
import uuid
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.mail.unsubscribe import link, sign, verify
from tests.sweep import examples

OLD, NEW = "o" * 32, "n" * 32
USER = str(uuid.UUID(int=7))
BASE64URL = string.ascii_letters + string.digits + "-_"


@settings(max_examples=examples(100))
@given(user_id=st.text(max_size=40))
def test_token_holds_user_and_mailing(user_id: str) -> None:
    token = sign(user_id, "daily_digest", secrets=[OLD])
    assert verify(token, secrets=[OLD]) == (user_id, "daily_digest")
    assert set(token) <= set(BASE64URL)


@settings(max_examples=examples(300))
@given(user_id=st.uuids().map(str), data=st.data())
def test_token_with_changed_character_is_refused(user_id: str, data: st.DataObject) -> None:
    token = sign(user_id, "daily_digest", secrets=[OLD])
    # The last character is drawn more often than its share: its lowest bits carry nothing.
    place = data.draw(st.integers(0, len(token) - 1) | st.just(len(token) - 1))
    other = data.draw(
        st.sampled_from(BASE64URL.replace(token[place], "")) | st.characters(exclude_characters=BASE64URL)
    )
    assert verify(f"{token[:place]}{other}{token[place + 1 :]}", secrets=[OLD]) is None


@settings(max_examples=examples(100))
@given(st.uuids().map(str), st.integers(0, 200))
def test_token_cut_short_is_refused(user_id: str, length: int) -> None:
    token = sign(user_id, "daily_digest", secrets=[OLD])
    assert verify(token[: length % len(token)], secrets=[OLD]) is None


@pytest.mark.parametrize("more", ["=", "==", "A", "AAAA", " ", "\n", "\x00"])
def test_token_with_anything_added_is_refused(more: str) -> None:
    token = sign(USER, "daily_digest", secrets=[OLD])
    assert verify(token + more, secrets=[OLD]) is None
    assert verify(more + token, secrets=[OLD]) is None


def test_token_in_the_other_alphabet_of_base64_is_refused() -> None:
    tokens = (sign(str(number), "daily_digest", secrets=[OLD]) for number in range(100))
    token = next(token for token in tokens if "-" in token)
    assert verify(token.replace("-", "+"), secrets=[OLD]) is None


def test_each_user_and_each_mailing_has_a_token_of_its_own() -> None:
    pairs = [(user, mailing) for user in (USER, "8") for mailing in ("daily_digest", "weekly_digest")]
    tokens = {sign(user, mailing, secrets=[OLD]): (user, mailing) for user, mailing in pairs}
    assert len(tokens) == 4
    assert {token: verify(token, secrets=[OLD]) for token in tokens} == tokens


def test_signature_of_one_mailing_does_not_fit_another() -> None:
    daily, weekly = (sign(USER, mailing, secrets=[OLD]) for mailing in ("daily_digest", "other_digest"))
    # The signature's 16 bytes are the first 21 characters and a part of the next.
    assert verify(daily[:22] + weekly[22:], secrets=[OLD]) is None
    assert verify(daily[:21] + weekly[21:], secrets=[OLD]) is None


def test_token_is_valid_while_its_secret_is_kept() -> None:
    token = sign(USER, "daily_digest", secrets=[OLD])
    assert verify(token, secrets=[NEW, OLD]) == (USER, "daily_digest")
    assert verify(token, secrets=[NEW]) is None


def test_first_secret_signs() -> None:
    token = sign(USER, "daily_digest", secrets=[NEW, OLD])
    assert verify(token, secrets=[NEW]) == (USER, "daily_digest")
    assert verify(token, secrets=[OLD]) is None


@pytest.mark.parametrize("token", ["", "A", "AAAA", "=", "====", "not a token", "é", "\ud800", "\x00", "A" * 1_000_000])
def test_other_text_is_not_a_token(token: str) -> None:
    assert verify(token, secrets=[OLD]) is None


@settings(max_examples=examples(200))
@given(st.text(st.characters()) | st.text(BASE64URL) | st.text(BASE64URL + "+/="))
def test_unsigned_text_is_refused(token: str) -> None:
    assert verify(token, secrets=[OLD]) is None


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("https://example.org/unsubscribe", "https://example.org/unsubscribe?token=T-_"),
        ("https://example.org", "https://example.org?token=T-_"),
        ("https://example.org/u?lang=en", "https://example.org/u?lang=en&token=T-_"),
        ("https://example.org/u?lang=en&b=%20", "https://example.org/u?lang=en&b=%20&token=T-_"),
    ],
)
def test_link_joins_the_token_to_the_url(base_url: str, expected: str) -> None:
    assert link(base_url, "T-_") == expected


@pytest.mark.parametrize(
    "base_url",
    [
        "https://example.org/u?",
        "https://example.org/u#here",
        "https://example.org/u?a=1#here",
        "https://example.org/#/u",
    ],
)
def test_token_is_a_query_parameter_of_any_url(base_url: str) -> None:
    assert parse_qs(urlsplit(link(base_url, "T")).query)["token"] == ["T"]
    assert urlsplit(link(base_url, "T")).fragment == urlsplit(base_url).fragment
