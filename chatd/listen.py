"""Where to listen: Twisted's endpoint strings, with TLS of our own and a PROXY header before it.

    tcp:8000:interface=127.0.0.1            clear text
    ssl:8443                                TLS by the server's own certificate, made at the first start
    ssl:8443:privateKey=key.pem:certKey=cert.pem:extraCertChain=chain.pem
    haproxy:tcp:8001:interface=127.0.0.1    a PROXY header, then clear text
    haproxy:ssl:8001:interface=127.0.0.1    a PROXY header, then TLS: how a proxy passes TLS through
    systemd:domain=INET:index=0             a socket that systemd holds, clear text (haproxy: may stand before it)
    ssl:systemd=0                           the same, with TLS
    unix:/run/chatd/chatd.sock:mode=660     and whatever else Twisted knows

The rule: a string is either understood in full or refused, before anything listens. The header precedes TLS on the
wire, so TLS goes around the endpoint that reads it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, NamedTuple

from twisted.internet.endpoints import quoteStringArgument, serverFromString, wrapServerTLS

from chatd.limits import Limits
from chatd.proxy import LOOPBACK, ProxyEndpoint, unmapped
from chatd.systemd import inherited

BACKLOG: Final = 4096
"""Connections that the kernel holds for us until they are accepted. Twisted's 50 are full at once when all clients of
a server that died come back: measured, of 4,000 behind HAProxy up to 150 were turned away."""
BACKLOG_PLACES: Final = {"tcp": 3, "tcp6": 2, "unix": 3}  # where an endpoint string may name another
TLS_WORDS: Final = ("port", "privateKey", "certKey", "extraCertChain", "interface", "backlog", "systemd")


class Files(NamedTuple):
    """What an `ssl:` endpoint names; `key` None: the server's own certificate."""

    key: Path | None
    certificate: Path | None
    chain: Path | None


Creator = Callable[[Files], Any]
"""What makes the connections of an `ssl:` endpoint, from its files (see `chatd.tls`)."""


class Place(NamedTuple):
    """An endpoint string, understood: a PROXY header first or not, TLS by these files or not, and Twisted's string."""

    proxied: bool
    files: Files | None
    inner: str


def read(description: str) -> Place:
    """What the string says.

    @raise ValueError: it cannot be understood.
    """
    proxied, plain = _strip(description)
    args, options = _words(plain)
    kind = args[0].lower()
    if kind == "haproxy" or (proxied and kind == "tls"):
        raise ValueError(f"{description}: after haproxy: stands tcp:, ssl: or unix:")
    if kind == "ssl":
        return _read_tls(description, proxied, args[1:], options)
    inner = _with_backlog(plain)
    if kind not in ("systemd", "fd", "stdio"):  # what is inherited is there when it listens, not when it is read
        _ask_twisted(description, object(), inner)
    return Place(proxied, None, inner)


def _read_tls(description: str, proxied: bool, args: list[str], options: dict[str, str]) -> Place:
    given = dict(zip(TLS_WORDS[:3], args, strict=False)) | options
    unknown = [*(given.keys() - set(TLS_WORDS)), *args[3:]]
    if unknown:
        raise ValueError(f"{description}: ssl: takes {', '.join(TLS_WORDS)}, not {unknown[0]}")
    if "systemd" in given:
        inner = _held(description, given)
        return Place(proxied, _files(given), inner)
    if not given.get("port", "").isdecimal() or int(given["port"]) > 65_535:
        raise ValueError(f"{description}: ssl: wants a port, as in ssl:8443")
    if not given.get("backlog", "1").isdecimal():
        raise ValueError(f"{description}: backlog is a number")
    if ("certKey" in given or "extraCertChain" in given) and "privateKey" not in given:
        raise ValueError(f"{description}: a certificate needs its privateKey=")
    interface = quoteStringArgument(given.get("interface", ""))
    inner = f"tcp:{given['port']}:interface={interface}:backlog={given.get('backlog', BACKLOG)}"
    return Place(proxied, _files(given), inner)


def _files(given: dict[str, str]) -> Files:
    key, certificate, chain = (Path(given[word]) if given.get(word) else None for word in TLS_WORDS[1:4])
    return Files(key, certificate or key, chain)


def _held(description: str, given: dict[str, str]) -> str:
    """Twisted's string for a socket that systemd holds, which it wants to be told the family of."""
    if not given["systemd"].isdecimal() or {"port", "interface", "backlog"} & given.keys():
        raise ValueError(f"{description}: systemd= is the number of a socket that systemd holds, and the only place")
    held = inherited(int(given["systemd"]))
    family = "INET" if held is None else socket.AddressFamily(held[0]).name.removeprefix("AF_")
    return f"systemd:domain={family}:index={given['systemd']}"


def _ask_twisted(description: str, reactor: Any, inner: str) -> Any:
    try:
        return serverFromString(reactor, inner)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{description} is no endpoint: {error}") from None


def server_endpoint(
    reactor: Any,
    description: str,
    trusted: Iterable[str] = LOOPBACK,
    seconds: float = Limits().proxy_header_seconds,
    creator: Creator | None = None,
) -> Any:
    """Twisted's endpoint for this string.

    @param creator: asked for the connections of an `ssl:` endpoint.
    @raise ValueError: the string cannot be understood.
    """
    place = read(description)
    endpoint = _ask_twisted(description, reactor, place.inner)
    if place.proxied:
        endpoint = ProxyEndpoint(endpoint, trusted, seconds, reactor)
    if place.files is not None:
        if creator is None:
            raise ValueError(f"{description}: no TLS here")
        endpoint = wrapServerTLS(creator(place.files), endpoint, clock=reactor)
    return endpoint


def is_clear_text_off_loopback(description: str) -> bool:
    """Whether what is typed there may cross a network readable: neither TLS nor a Unix socket nor a loopback address.

    When in doubt (an inherited socket, a host name), yes.
    """
    args, options = _words(_strip(description)[1])
    kind = args[0].lower()
    if kind in {"ssl", "tls", "unix"}:
        return False
    if kind == "systemd":
        index = options.get("index", "")
        return _crosses_a_network(inherited(int(index)) if index.isdecimal() else None)
    if kind not in {"tcp", "tcp6"}:
        return True
    place = 2 if kind == "tcp" else 3  # tcp:PORT:INTERFACE:BACKLOG, tcp6:PORT:BACKLOG:INTERFACE
    interface = options.get("interface", args[place] if len(args) > place else "")
    if interface == "localhost":
        return False
    try:
        return not ip_address(unmapped(interface)).is_loopback
    except ValueError:
        return True


def _crosses_a_network(held: tuple[int, object] | None) -> bool:
    """Whether a socket of this family and address is reached from elsewhere; in doubt, yes."""
    if held is None:
        return True
    family, address = held
    if family == socket.AF_UNIX:
        return False
    return not (isinstance(address, tuple) and ip_address(unmapped(str(address[0]))).is_loopback)


def _with_backlog(description: str) -> str:
    """The endpoint string with our backlog, unless it names one."""
    args, options = _words(description)
    if "backlog" in options or len(args) > BACKLOG_PLACES.get(args[0].lower(), 0):
        return description
    return f"{description}:backlog={BACKLOG}"


def _strip(description: str) -> tuple[bool, str]:
    plain = description.removeprefix("haproxy:")
    return plain != description, plain


def _words(description: str) -> tuple[list[str], dict[str, str]]:
    """An endpoint string taken apart as Twisted does: `:` between arguments, `name=` before some, `\\` quotes."""
    args: list[str] = []
    options: dict[str, str] = {}
    name: str | None = None
    word = ""
    characters = iter(description + ":")
    for each in characters:
        if each == "\\":
            word += next(characters, "")
        elif each == "=" and name is None:
            name, word = word, ""
        elif each == ":":
            if name is None:
                args.append(word)
            else:
                options[name] = word
            name, word = None, ""
        else:
            word += each
    return args, options
