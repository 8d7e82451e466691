"""Which addresses the sync connects to, whatever a name resolves to."""

import socket
from typing import Any

import pytest

from chalicelib.errors import PermanentError
from chalicelib.sync import addresses
from chalicelib.sync.answers import Limits, get
from chalicelib.sync.refusals import TryAgainError

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"]
PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.5.5",
    "192.168.1.1",
    "100.64.0.1",
    "::1",
    "fc00::1",
    "::ffff:10.0.0.1",
]
NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "::ffff:169.254.169.254",
    "fe80::1",
    "fd00:ec2::254",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "2002:a9fe:a9fe::1",
]
ODD = ["64:ff9b::a9fe:a9fe", "::7f00:1", "240.0.0.1", "192.0.2.1", "2001:db8::1", "255.255.255.255"]


def names(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    """Let every name resolve to these addresses, and return the names that were asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, port)) for a in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_connected_to(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, address)
    assert addresses.resolve("api.example.com", 443, is_internal=False) == [address]


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER, *ODD])
def test_no_name_leads_into_our_own_network(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, address)
    with pytest.raises(PermanentError, match="which is not an address that may be connected to"):
        addresses.resolve("api.example.com", 443, is_internal=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_host_that_is_declared_internal_may_be_private(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, address)
    assert addresses.resolve("shop.internal", 80, is_internal=True) == [address]


@pytest.mark.parametrize("address", NEVER)
def test_even_an_internal_host_leads_to_no_metadata(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, address)
    with pytest.raises(PermanentError):
        addresses.resolve("shop.internal", 80, is_internal=True)


def test_of_several_addresses_only_those_that_are_allowed_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "10.0.0.1", PUBLIC[0], "169.254.169.254", PUBLIC[1], PUBLIC[0])
    assert addresses.resolve("api.example.com", 443, is_internal=False) == PUBLIC[:2]


def test_what_was_checked_is_what_is_connected_to_and_the_name_is_not_resolved_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = names(monkeypatch, PUBLIC[0], PUBLIC[1])
    connected: list[Any] = []

    def connect(_: socket.socket, address: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    limits = Limits(seconds=5, max_bytes=10, is_internal=False)
    with (
        pytest.raises(TryAgainError, match="there is no connection to"),
        get("https://api.example.com/x", headers={}, limits=limits),
    ):
        pass
    assert asked == ["api.example.com"]
    assert connected == [(PUBLIC[0], 443), (PUBLIC[1], 443)]


def test_a_literal_address_is_checked_as_any_other() -> None:
    for host in ("127.0.0.1", "::1", "169.254.169.254", "2130706433", "0x7f.1", "127.1"):
        with pytest.raises(PermanentError):
            addresses.resolve(host, 443, is_internal=False)


def test_a_name_that_is_not_answered_may_be_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(TryAgainError, match="Temporary failure"):
        addresses.resolve("api.example.com", 443, is_internal=False)


def test_a_name_that_can_be_none_is_refused() -> None:
    with pytest.raises(PermanentError, match="is not a host's name"):
        addresses.resolve("x" * 70 + ".example", 443, is_internal=False)
