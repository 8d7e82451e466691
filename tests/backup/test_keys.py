"""Keys: the first encrypts, every one is found by its id, and none shows itself."""

from chalicelib.backup.archive.encryption import hkdf, make_keys


def test_a_key_is_derived_as_rfc_5869_says() -> None:
    first = hkdf(b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)))
    assert first.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    third = hkdf(b"\x0b" * 22, salt=b"", info=b"")
    assert third.hex() == "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"


def test_the_first_key_encrypts_and_every_key_is_found_by_its_id() -> None:
    keys = make_keys(["a" * 32, "b" * 32])
    assert keys.first == keys.all[0]
    assert [keys.find(key.id) for key in keys.all] == list(keys.all)
    assert keys.find("12345678") is None
    assert make_keys([]).first is None


def test_a_key_is_called_the_same_for_ever_and_shows_nothing_of_itself() -> None:
    (key,) = make_keys(["a" * 32]).all
    assert key.id == "cbc9ebee"
    assert "aaa" not in repr(key) + repr(make_keys(["a" * 32]))
    assert len({key.id, key.derive("parts").hex()[:8], key.derive("manifest").hex()[:8]}) == 3
