"""Which addresses may be connected to: a source's URL, or whoever owns its name, must not lead us into our network."""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from chalicelib.errors import PermanentError
from chalicelib.sync.refusals import TryAgainError

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
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return False
    if isinstance(address, IPv6Address) and (address in _AWS_LOCAL or address.sixtofour is not None):
        return False
    return is_internal or (address.is_global and not address.is_reserved)
