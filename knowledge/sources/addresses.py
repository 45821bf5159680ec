"""Connections made at the bidding of an address that somebody typed, or that a page links to.

What is checked is the address that is connected to, at the moment of connecting: a name that
resolves to something else a second later, a redirect and a number in disguise all pass here.
"""

import ipaddress
import socket
import ssl
import time
from typing import Any

import httpcore
import httpx
from django.conf import settings
from django.utils.translation import gettext as _

from opsdesk.errors import FetchError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Of somebody's own network as well, though this Python calls them global.
OWN = [
    ipaddress.ip_network(network)
    for network in ("192.0.0.0/24", "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10")
]


class Transport(httpx.HTTPTransport):
    """httpx's own, but it connects only where it may, and not for longer than until `deadline`.

    `private`: hosts and networks of the intranet, OPSDESK_FETCH_PRIVATE when None.
    """

    def __init__(self, private: list[str] | None = None) -> None:
        super().__init__()  # with SSL_CERT_FILE, for the certificates of an intranet
        self.guard = Guard(private)
        # httpx has no parameter for it; the pool reads it when it opens a connection.
        self._pool._network_backend = self.guard  # type: ignore[attr-defined]


class Guard(httpcore.NetworkBackend):
    """Opens connections to addresses that `permitted` lets through."""

    def __init__(self, private: list[str] | None = None) -> None:
        self.private = private
        self.deadline = float("inf")  # time.monotonic()
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> httpcore.NetworkStream:
        last: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in resolve(host, port, self.private):
            try:
                stream = self._backend.connect_tcp(
                    address, port, self.left(timeout), *args, **kwargs
                )
                return _Timed(stream, self)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last or httpcore.ConnectError(host)

    def left(self, timeout: float | None) -> float:
        """How long the next step may take."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return min(left, timeout or left)


class _Timed(httpcore.NetworkStream):
    """A stream whose every step ends at the deadline: a trickle of bytes does not go on."""

    def __init__(self, stream: httpcore.NetworkStream, guard: Guard) -> None:
        self._stream, self._guard = stream, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._guard.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._guard.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = self._guard.left(timeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def resolve(host: str, port: int, private: list[str] | None = None) -> list[str]:
    """The addresses of `host`. Raises FetchError when one of them may not be connected to."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise FetchError(
            _("There is no server called %(host)s.") % {"host": host}, permanent=False
        ) from error
    addresses = list(dict.fromkeys(str(row[4][0]) for row in found))
    if not all(permitted(host, address, private) for address in addresses):
        raise FetchError(
            _(
                "%(host)s is inside this network. An administrator can allow it with "
                "OPSDESK_FETCH_PRIVATE."
            )
            % {"host": host},
            permanent=True,
        )
    return addresses


def permitted(host: str, address: str, private: list[str] | None = None) -> bool:
    """Whether `address`, to which `host` resolves, is of the public internet, or is allowed."""
    ips = _meant(ipaddress.ip_address(address.partition("%")[0]))
    if any(ip.is_link_local or ip.is_multicast or ip.is_unspecified for ip in ips):
        return False  # where clouds keep their credentials; never an intranet page
    public = all(ip.is_global and not any(ip in network for network in OWN) for ip in ips)
    return public or _allowed(host, ips, private)


def _allowed(host: str, ips: list[Address], private: list[str] | None) -> bool:
    for entry in settings.FETCH_PRIVATE if private is None else private:
        try:
            network = ipaddress.ip_network(entry, strict=False)
        except ValueError:
            name = host.lower().rstrip(".")
            if name == entry.lower() or (entry.startswith(".") and name.endswith(entry.lower())):
                return True
        else:
            if any(ip in network for ip in ips):
                return True
    return False


def _meant(ip: Address) -> list[Address]:
    """`ip`, and the IPv4 address that a translator on the way would make of it."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    if ip.ipv4_mapped:
        return [ip.ipv4_mapped]
    inner = [ip.sixtofour] if ip.sixtofour else list(ip.teredo or ())
    if ip in NAT64:
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [ip, *inner]
