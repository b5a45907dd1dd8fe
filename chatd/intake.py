"""What comes in on one connection: bytes to lines, lines to calls.

The rule: the first line, however late, chooses the dialect; and no line is understood before its turn (turns.py), since
what it means may depend on the answers before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.python.failure import Failure

from chatd.answers import broken
from chatd.crowd import Bucket, Pace, network
from chatd.errors import Refusal
from chatd.interview import Heard, Interview
from chatd.model import Call
from chatd.turns import Refused
from chatd.wire import rawline
from chatd.wire.dialect import is_interactive
from chatd.wire.framing import Overlong

if TYPE_CHECKING:
    from chatd.session import Session

TELNET: Final = b"\xff"
"""With this byte telnet's commands begin, and no line of any dialect."""


class Intake:
    """Reads one connection."""

    __slots__ = ("_first", "_pace", "_session", "greeted")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._first = b""
        self._pace: Pace | None = None
        self.greeted = False
        """Whether the door is shown, before anything was said."""

    def let_go(self) -> None:
        """The session is over."""
        del self._session

    # -- bytes --------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        session = self._session
        if session.dialect is None:
            self._undecided(data)
        else:
            self._take(session.dialect.feed(data))
        session.instance.feed.flush()

    def _undecided(self, data: bytes) -> None:
        """Keep what has come until it holds a line, whose first character tells the dialect."""
        session = self._session
        held = self._first + data
        settings = session.instance.settings
        if b"\n" not in held and b"\r\x00" not in held and len(held) <= settings.limits.line_bytes:
            self._first = held
            return
        self._first = b""
        if rawline.is_raw(held):
            session.move("raw")
            if self.greeted:
                session.connection.send([b"\n"])  # below the door
            session.connection.carry_file(held)
            return
        dialect = session.dialect = session.instance.dialects(held, settings)
        if dialect.lively:
            dialect.guests = session.instance.feed.routing.guests
            dialect.secure = session.secure
            dialect.certified = bool(session.identity.me.certificate)
        if is_interactive(dialect):
            session.interview = Interview(dialect)
        session.shape = dialect.shape
        session.focused = dialect.focused
        session.echo = dialect.echo
        session.move("line")
        if self.greeted and not dialect.interactive:
            session.write(b"\n")
        self._take(dialect.feed(held))

    def greet(self) -> None:
        """Nothing has come yet, or what a telnet program says by itself: a person is there. Show the banner and the
        door, which binds nobody to a dialect: a program that comes late skips it, and its answers begin on a new line.
        """
        session = self._session
        if session.open and session.dialect is None and self._first[:1] in (b"", TELNET):
            settings = session.instance.settings
            plain = session.instance.dialects(b"", settings)
            banner = plain.notice("banner", {"banner": settings.banner.splitlines()})
            session.write(banner + plain.notice("prompt", {"prompt": "door"}))
            self.greeted = True
            session.instance.feed.flush()

    def overhear(self, data: bytes) -> bool:
        """Somebody who cannot stay says something: whether it is clear by now in which dialect."""
        self._first += data
        return self._first.lstrip()[:1] == b"{" or b"\n" in self._first or len(self._first) > rawline.LONGEST

    def turned_away(self, refusal: Refusal) -> bytes:
        """Why somebody cannot stay, in the dialect of what they have begun to say: nothing is a person's."""
        first, self._first = self._first, b""
        below = b"\r\n" if self.greeted else b""
        if rawline.is_raw(first):
            return below + rawline.turned_away(first, refusal)
        instance = self._session.instance
        return below + instance.dialects(first, instance.settings).refuse(None, refusal)

    def end(self) -> None:
        """No more will come: what has come of a first line is none, and never will be."""
        self._first = b""

    def _take(self, lines: list[bytes | Overlong]) -> None:
        session = self._session
        assert session.dialect is not None
        if owed := session.dialect.owed():
            session.write(owed)
        session.turns.lines += lines
        session.pump()

    # -- lines --------------------------------------------------------------------------------------------------------

    def bind(self, line: bytes | Overlong) -> Call | Refused | None:
        """The call that a line asks for, or why not; None: neither, and what was to be said about that is said."""
        session = self._session
        dialect = session.dialect
        assert dialect is not None
        try:
            self._rate()
            if isinstance(line, Overlong):
                limit = session.instance.settings.limits.message_characters
                raise Refusal("LINE_TOO_LONG", size=line.limit, limit=limit)
            if (interview := session.interview) is not None:
                if interview.question is not None:
                    return self._heard(interview.answer(line, inside=bool(session.account)))
                if session.at_door:
                    return self._heard(interview.door(line))
            call = dialect.read(line)
            if dialect.lively:
                self.heed()
            return call
        except Refusal as refusal:
            return Refused(None if isinstance(line, Overlong) else dialect.ref_of(line), refusal)
        except Exception:
            return Refused(None, broken("a line", Failure()))

    def heed(self) -> None:
        """What a lively dialect owes, wants called by itself, and how it is to be shown events from now on."""
        session = self._session
        dialect = session.dialect
        assert dialect is not None
        if owed := dialect.owed():
            session.write(owed)
        session.turns.want(dialect.wanted(), first=True)
        session.picky = dialect.picky
        if dialect.shape != session.shape or dialect.echo is not session.echo:
            rooms = session.instance.feed.routing.take(session)
            session.shape, session.echo = dialect.shape, dialect.echo
            if rooms is not None:
                session.instance.feed.routing.put(session, rooms)

    def _rate(self) -> None:
        """@raise Refusal: RATE."""
        session = self._session
        if session.exempt:
            return
        instance = session.instance
        limits, now = instance.settings.limits, instance.seconds()
        if self._pace is None:
            self._pace = Pace(limits, now)
        if wait := self._pace.take(limits, now):
            if rest := self._pace.rest(limits):
                session.connection.rest(rest)
            raise Refusal("RATE", wait=max(1, round(wait)))
        key: int | str = session.account or network(session.address)
        bucket = instance.buckets.get(key)
        if bucket is None:
            bucket = instance.buckets[key] = Bucket(limits.calls_burst, now)
        if wait := bucket.take(1, limits.calls_burst, limits.calls_per_second, now):
            raise Refusal("RATE", wait=max(1, round(wait)))

    def _heard(self, heard: Heard) -> Call | None:
        self._session.write(heard.say)
        return heard.call
