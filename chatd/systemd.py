"""What systemd and we tell each other: readiness, life, and sockets that it holds for us.

The rule: without systemd nothing of this does anything. No library: it is one datagram (sd_notify(3)), and descriptors
from 3 on, counted in the environment (sd_listen_fds(3)), which Twisted's `systemd:` endpoint takes over.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

FIRST: Final = 3
"""The first descriptor that systemd hands over."""


def notify(*words: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell systemd, `READY=1` for one; whether there is somebody to tell. It does not matter if there is nobody."""
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = f"\0{address[1:]}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(words).encode(), address)
    except OSError:
        return False
    return True


def watched_seconds(environ: Mapping[str, str] = os.environ, pid: int = 0) -> float:
    """How often (s) to say `WATCHDOG=1`: twice in the time after which systemd takes us for hung; 0: never."""
    if environ.get("WATCHDOG_PID", str(pid or os.getpid())) != str(pid or os.getpid()):
        return 0.0
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 2_000_000 if microseconds.isdecimal() else 0.0


def inherited(index: int) -> tuple[int, object] | None:
    """The family and the address of a socket that systemd holds for us; None: there is no such socket.

    Asked of the descriptor itself: Twisted takes the environment's word out of it as soon as it is imported.
    """
    try:
        with socket.socket(fileno=os.dup(FIRST + index)) as held:
            if not held.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return None
            return held.family, held.getsockname()
    except OSError:
        return None
