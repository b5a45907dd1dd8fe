"""HAProxy, the cluster's front door: the file that it reads, and its socket for commands.

The rule: etc/haproxy.cfg is the whole configuration; only what a cluster chooses (ports, nodes, sockets) is put in.
"""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from typing import Any, Final

from twisted.internet import protocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.python.failure import Failure

from chatd.sockets import reachable

LOOPBACK: Final = "127.0.0.1"
"""Where the nodes listen, for HAProxy alone."""


def template() -> str:
    """etc/haproxy.cfg: beside the package where chatd runs from its sources, else where it was installed."""
    beside = Path(__file__).parent.parent / "etc" / "haproxy.cfg"
    installed = Path(sysconfig.get_path("data"), "share", "chatd", "haproxy.cfg")
    return (beside if beside.is_file() else installed).read_text("utf-8")


def configuration(
    text: str, interface: str, port: int, nodes: int, control: Path, certificate: Path | None = None
) -> str:
    """The template with this front door, so many nodes, and a socket to control it by."""
    where = f"[{interface}]:{port}" if ":" in interface else f"{interface}:{port}"
    if certificate is not None:
        where += f" ssl crt {quoted(os.fspath(certificate))}"
    servers = "".join(f"    server node{node} {LOOPBACK}:{port + node}\n" for node in range(1, nodes + 1))
    for pattern, put in (
        (r"(?m)^    #stats socket \S+", f"    stats socket unix@{quoted(os.fspath(control))}"),
        (r"(?m)^    bind \S+", f"    bind {where}"),
        (r"(?m)(?:^    server .*\n)+", servers),
    ):
        text, count = re.subn(pattern, put.replace("\\", r"\\"), text)
        if count != 1:
            raise ValueError(f"the template has {count} times what was to be there once: {pattern}")
    return text


def quoted(word: str) -> str:
    """A word as HAProxy's configuration reads it back."""
    return re.sub(r"""([\\"'# ])""", r"\\\1", word)


def ask(reactor: Any, control: Path, commands: str) -> Deferred[None]:
    """Have the HAProxy that listens there do these commands; fires when it has."""
    endpoint = UNIXClientEndpoint(reactor, reachable(control))
    return connectProtocol(endpoint, _Commands(commands)).addCallback(lambda asked: asked.done)


class _Commands(protocol.Protocol):
    """Sends HAProxy commands; `done` fires when it has answered all, which is when it hangs up."""

    def __init__(self, commands: str) -> None:
        self._commands = commands
        self.done: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Send them."""
        transport: Any = self.transport
        transport.write(self._commands.encode() + b"\n")

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """All are answered."""
        self.done.callback(None)
