"""What every dialect can do: the one interface between a session and a way of writing things down.

The rule: a dialect has no state but its framing and what its client has negotiated, and decides nothing; whatever it
needs is handed to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, TypeGuard

from chatd.command import Settings
from chatd.errors import Refusal
from chatd.model import Ask, Call, Envelope, Event, Reply, Room
from chatd.wire.framing import Overlong


class Dialect(Protocol):
    """One way of writing things down.

    `shape` names it for rendering once for many. `interactive`: questions are put to a person. `echo`: a session
    hears its own lines. `focused`: events of the current room look different. `cursor`: the server remembers how far
    it was told. `lively`: it makes calls of its own, and `shape`, `echo` and `picky` may change with every line.
    `guests`: who is here without an account, by id; `secure`: the client came by TLS, `certified`: and has
    shown a certificate; `farewell`: what it said when it
    went. `decrypts`: its clients can be devices, which sign and open what is sealed.
    """

    shape: str
    interactive: bool
    echo: bool
    focused: bool
    cursor: bool
    lively: bool
    decrypts: bool
    guests: Collection[int]
    secure: bool
    certified: bool
    farewell: str

    @property
    def picky(self) -> bool:
        """Whether what the client does itself is to be rendered for it alone, now."""

    def feed(self, data: bytes) -> list[bytes | Overlong]:
        """The lines that these bytes complete."""

    def owed(self) -> bytes:
        """What the dialect itself has to answer; then it is not owed any more."""

    def wanted(self) -> list[Call]:
        """What the dialect calls by itself, in order and before the next line; then it does not want it any more."""

    def renew(self, settings: Settings) -> bytes:
        """The configuration is another now; what the client is told of that."""

    def widen(self, limit: int) -> None:
        """Take longer lines from now on (after login), where the dialect has them."""

    def read(self, line: bytes) -> Call | None:
        """What a line asks for; None: nothing. Raises a Refusal that says why not; its call's handle is in `ref_of`."""

    def ref_of(self, line: bytes) -> Any:
        """The handle of the call in a line that `read` refused, or None."""

    def reply(self, call: Call, reply: Reply) -> bytes:
        """An answer."""

    def refuse(self, ref: Any, refusal: Refusal, ask: Ask | None = None) -> bytes:
        """A refusal; `ask` is the question that a person would have been put, where something is missing."""

    def notice(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """Something the server says by itself."""

    def now(self, name: str, fields: Mapping[str, Any], room: Room, viewer: int) -> bytes:
        """What is true only now in this room, as `viewer` sees it (0: whoever it is not about)."""

    def events(self, events: Sequence[Event], room: Room, viewer: int, current: bool) -> list[bytes]:
        """Each event as `viewer` sees it (0: as everybody does), one byte string each."""


class Interactive(Dialect, Protocol):
    """One for people, who can be asked."""

    def ask(self, ask: Ask) -> bytes:
        """A question to a person."""

    def answered(self, secret: bool) -> bytes:
        """What follows a person's answer."""


class Decrypting(Dialect, Protocol):
    """One whose clients can be devices."""

    def envelope(self, envelope: Envelope) -> bytes:
        """What is for this device alone."""


def is_interactive(dialect: Dialect) -> TypeGuard[Interactive]:
    """Whether people can be asked in it."""
    return dialect.interactive


def is_decrypting(dialect: Dialect) -> TypeGuard[Decrypting]:
    """Whether its clients can be devices."""
    return dialect.decrypts
