"""Which addresses may be connected to: a source's URL, or whoever owns its name, must not lead us into our network."""

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from chalicelib.core.errors import PermanentError
from chalicelib.tasks.external_sync.refusals import TryAgainError

# By IANA's registries of special-purpose addresses, and not by `is_global` alone, which differs between Pythons.
# The other addresses of IPv6 include those that hold one of IPv4, which a gateway would connect to: NAT64
# (64:ff9b::/96), IPv4-compatible (::/96), IPv4-translated (::ffff:0:0:0/96), Teredo and 6to4.
_PUBLIC_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
)
_INTERNAL = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
)
# AWS's own services within a VPC, the metadata of instances among them.
_AWS_LOCAL = IPv6Network("fd00:ec2::/32")


def resolve(host: str, port: int, *, is_internal: bool) -> list[str]:
    """Return the addresses of a host that may be connected to; whoever asks must connect to these, not to the name.

    Public ones, and with `is_internal` those of private networks and this machine, but never link-local ones, where
    the metadata of machines are. Raises PermanentError where there is none, TryAgainError where the name is not
    answered.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise PermanentError(f"{host} is not a host's name") from None
    except OSError as error:
        raise TryAgainError(f"{host} has no address: {error}") from error
    # In their order, once each.
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    allowed = [address for address in addresses if _is_allowed(address, is_internal=is_internal)]
    if not allowed:
        raise PermanentError(f"{host} leads to {addresses[0]}, which is not an address that may be connected to")
    return allowed


def _is_allowed(text: str, *, is_internal: bool) -> bool:
    address: IPv4Address | IPv6Address = ip_address(text)
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if is_internal and any(address in network for network in _INTERNAL):
        return address not in _AWS_LOCAL
    return _is_public(address)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if any(address in network for network in _NOT_PUBLIC) or address.is_multicast or address.is_reserved:
        return False
    return address.is_global if isinstance(address, IPv4Address) else address in _PUBLIC_V6
