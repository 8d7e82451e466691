"""Which addresses the sync connects to, whatever a name resolves to."""

import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.core import http
from chalicelib.core.errors import PermanentError
from chalicelib.core.http import Limits, RetryableError
from chalicelib.tasks.external_sync.http_client import get
from tests.sweep import examples

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
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::a9fe:a9fe",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "::ffff:0:0",
    "::7f00:1",
    # Teredo of 169.254.169.254.
    "2001:0:4136:e378:8000:63bf:5601:5601",
    "fec0::1",
    "fe80::1%1",
    "192.0.0.8",
    "192.0.0.170",
    "192.88.99.1",
    "192.0.2.1",
    "198.18.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "100::1",
    "2001:db8::1",
    "2001:20::1",
    "3fff::1",
    "4000::1",
]


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
    assert http.resolve("api.example.com", 443, is_internal=False) == [address]


@pytest.mark.parametrize("address", [*PRIVATE, *NEVER])
def test_private_addresses_are_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, address)
    with pytest.raises(PermanentError, match="which is not an address that may be connected to"):
        http.resolve("api.example.com", 443, is_internal=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_host_that_is_declared_internal_may_be_private(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, address)
    assert http.resolve("shop.internal", 80, is_internal=True) == [address]


@pytest.mark.parametrize("address", NEVER)
def test_even_an_internal_host_leads_to_no_metadata(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    names(monkeypatch, address)
    with pytest.raises(PermanentError):
        http.resolve("shop.internal", 80, is_internal=True)


# What a gateway, a tunnel or the operating system would connect to in place of these.
HOLDING: dict[str, Callable[[IPv4Address], str]] = {
    "mapped": lambda v4: f"::ffff:{v4}",
    "compatible": lambda v4: f"::{v4}",
    "translated": lambda v4: f"::ffff:0:{v4}",
    "NAT64": lambda v4: f"64:ff9b::{v4}",
    "NAT64 of one's own": lambda v4: f"64:ff9b:1::{v4}",
    "6to4": lambda v4: str(IPv6Address(0x2002 << 112 | int(v4) << 80 | 1)),
    "Teredo": lambda v4: str(IPv6Address(0x20010000 << 96 | int(v4) << 64 | int(v4) ^ 0xFFFFFFFF)),
}


@settings(max_examples=examples(300))
@given(
    address=st.ip_addresses(v=4, network="169.254.0.0/16") | st.ip_addresses(v=4),
    form=st.sampled_from(sorted(HOLDING)),
    is_internal=st.booleans(),
)
def test_an_address_within_another_is_refused_unless_it_is_allowed_itself(
    address: IPv4Address, form: str, *, is_internal: bool
) -> None:
    held = http._is_allowed(HOLDING[form](address), is_internal=is_internal)
    alone = http._is_allowed(str(address), is_internal=is_internal)
    # `::1` is this machine, and no address of IPv4.
    assert held == alone if form == "mapped" else not held or HOLDING[form](address) == "::0.0.0.1"


@settings(max_examples=examples(300))
@given(address=st.ip_addresses())
def test_what_is_allowed_to_strangers_is_allowed_to_internal_hosts_and_is_global(
    address: IPv4Address | IPv6Address,
) -> None:
    if http._is_allowed(str(address), is_internal=False):
        assert http._is_allowed(str(address), is_internal=True)
        assert address.is_global or getattr(address, "ipv4_mapped", None)


def test_of_several_addresses_only_those_that_are_allowed_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, "10.0.0.1", PUBLIC[0], "169.254.169.254", PUBLIC[1], PUBLIC[0])
    assert http.resolve("api.example.com", 443, is_internal=False) == PUBLIC[:2]


def test_checked_address_is_connected_and_name_resolved_once(
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
        pytest.raises(RetryableError, match="there is no connection to"),
        get("https://api.example.com/x", headers={}, limits=limits),
    ):
        pass
    assert asked == ["api.example.com"]
    assert connected == [(PUBLIC[0], 443), (PUBLIC[1], 443)]


def test_a_literal_address_is_checked_as_any_other() -> None:
    for host in ("127.0.0.1", "::1", "169.254.169.254", "2130706433", "0x7f.1", "127.1"):
        with pytest.raises(PermanentError):
            http.resolve(host, 443, is_internal=False)


def test_unresolved_name_is_retryable(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(RetryableError, match="Temporary failure"):
        http.resolve("api.example.com", 443, is_internal=False)


def test_invalid_host_name_is_refused() -> None:
    with pytest.raises(PermanentError, match="is not a valid host name"):
        http.resolve("x" * 70 + ".example", 443, is_internal=False)
