"""Where a webhook may lead: to public addresses alone, so that nobody makes us ask our own machines (SSRF).

A name is looked up once; the address that was checked is the one that is connected to.
"""

import ipaddress
from collections.abc import Sequence

import httpx

from core.problems import Message

MAX_URL = 500
NAT64 = ipaddress.ip_network("64:ff9b::/96")
NOT_PUBLIC = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "fec0::/10", "3fff::/20", "5f00::/16")))
"""Special networks (IANA's registries) that `is_global` of some Pythons takes for public ones."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class NotAllowed(Exception):
    """None of the name's addresses may be connected to."""


def problem(url: str, *, insecure: bool) -> Message | None:
    """What is wrong with it, looked at alone: where a name leads is known when it is looked up. `insecure` allows http
    and addresses that are not public, for demos and tests."""
    parts = _parse(url)
    if parts is None or not parts.host or parts.userinfo or parts.fragment:
        return Message.WEBHOOK_URL
    if parts.scheme not in (("https", "http") if insecure else ("https",)):
        return Message.WEBHOOK_URL
    if not insecure and _leads_inside(parts.host):
        return Message.WEBHOOK_PRIVATE
    return None


def choose(found: Sequence[str], *, insecure: bool) -> str:
    """Of a name's addresses the first that may be connected to. Raises NotAllowed."""
    for text in found:
        if insecure or is_public(ipaddress.ip_address(text.partition("%")[0])):
            return text
    raise NotAllowed


def is_public(address: Address) -> bool:
    """Whether it is the internet's. Those that hold another address are as public as that one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address.sixtofour is not None or address.teredo is not None:
            return False  # tunnels to anywhere
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in NOT_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _parse(url: str) -> httpx.URL | None:
    """With the very parser that sends."""
    if not url or len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = httpx.URL(url)
        _ = parts.raw_host, parts.netloc  # names that can't be written are found only then
    except (httpx.InvalidURL, ValueError):
        return None
    return parts if parts.port is None or 0 < parts.port < 1 << 16 else None


def _leads_inside(host: str) -> bool:
    try:
        return not is_public(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().rstrip(".").endswith("localhost")
