"""One connection without its socket: its life, and the feed's side of it.

The rule: a session's calls take effect in the order sent. What comes in goes one way: intake.py (bytes to calls),
turns.py (their order), carry.py (their way to the database), answers.py (what came of them), `out`. Who is here is
identity.py's.

A connection's life is this table and nothing else:

    state      input      next       what is true then
    undecided  line       door       the first line, however late, chose the dialect
    undecided  raw        raw        the first line has a ticket: bytes of a file come or go (raw.py)
    door       login      behind     somebody is here; the log is followed from where they left off
    behind     caught_up  in         everything is heard live
    in         full       behind     too slow a reader: only a place in the log is kept, the rest waits there
    in,behind  logout     door       nobody is here again
    any        close      closing    what was accepted is worked off and flushed, then the connection ends
    any        lost       gone       the connection has ended
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from twisted.internet.defer import Deferred

from chatd.answers import Answers
from chatd.errors import Refusal
from chatd.identity import Identity
from chatd.instance import Connection, Instance
from chatd.intake import Intake
from chatd.interview import Interview
from chatd.model import Ask, Call, Envelope, Event, Room
from chatd.turns import Turns
from chatd.wire.dialect import Dialect, is_decrypting


class State(Enum):
    """Where a connection is in its life."""

    UNDECIDED = "undecided"
    DOOR = "door"
    BEHIND = "behind"
    IN = "in"
    RAW = "raw"
    CLOSING = "closing"
    GONE = "gone"


_OPEN: Final = (State.UNDECIDED, State.DOOR, State.BEHIND, State.IN)
"""Lines are taken; a file's connection has none but the first."""

TRANSITIONS: Final[dict[tuple[State, str], State]] = {
    (State.UNDECIDED, "line"): State.DOOR,
    (State.UNDECIDED, "raw"): State.RAW,
    (State.DOOR, "login"): State.BEHIND,
    (State.BEHIND, "caught_up"): State.IN,
    (State.IN, "full"): State.BEHIND,
    (State.IN, "logout"): State.DOOR,
    (State.BEHIND, "logout"): State.DOOR,
    **{(state, "close"): State.CLOSING for state in (*_OPEN, State.RAW)},
    **{(state, "lost"): State.GONE for state in (*_OPEN, State.RAW, State.CLOSING)},
}

ENDING: Final = frozenset({"logged_out", "deleted"})
"""Kinds of events, in an account's own inbox, that end sessions."""


class Session:
    """One connection. Its socket is a `Connection`; its events come from the feed."""

    __slots__ = (
        "_drained",
        "_place",
        "account",
        "address",
        "answers",
        "connection",
        "dialect",
        "echo",
        "ending",
        "exempt",
        "focus",
        "focused",
        "identity",
        "instance",
        "intake",
        "interview",
        "login",
        "name",
        "out",
        "paused",
        "picky",
        "saved",
        "secure",
        "shape",
        "since",
        "state",
        "turns",
    )

    def __init__(self, instance: Instance, connection: Connection, address: str, *, secure: bool, exempt: bool) -> None:
        self.instance = instance
        self.connection = connection
        self.address = address
        self.secure = secure
        self.exempt = exempt
        self.state = State.UNDECIDED
        self.dialect: Dialect | None = None
        self.interview: Interview | None = None
        """What a person was asked; a program is asked nothing."""
        self.shape = ""
        self.focused = self.echo = self.picky = False
        self.account = self.login = self.focus = 0
        self.name = ""
        self.since = 0.0
        self.saved = 0
        self.out: list[bytes | memoryview] = []
        self.ending = ""
        """Why it ends once all that was accepted is done."""
        self.paused = False
        """Whether nothing is read from the socket."""
        self._drained: Deferred[None] | None = None
        self._place: tuple[int, dict[int, Room]] | None = None
        self.intake = Intake(self)
        self.turns = Turns(self)
        self.answers = Answers(self)
        self.identity = Identity(self)

    def move(self, what: str) -> bool:
        """Take one step in the table above; whether there is one from here."""
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            return False
        self.state = after
        return True

    @property
    def gone(self) -> bool:
        """Whether the connection has ended."""
        return self.state is State.GONE

    @property
    def open(self) -> bool:
        """Whether lines are taken."""
        return self.state in _OPEN

    @property
    def at_door(self) -> bool:
        """Whether nobody is here yet, or any more."""
        return self.state is State.DOOR

    @property
    def behind(self) -> bool:
        """Whether the log is followed, and not level yet."""
        return self.state is State.BEHIND

    @property
    def level(self) -> bool:
        """Whether everything is heard as it comes."""
        return self.state is State.IN

    @property
    def live(self) -> bool:
        """Whether everything is heard and said as it comes."""
        return self.state is State.IN and self._drained is None

    @property
    def clogged(self) -> bool:
        """Whether the answers of what was begun are too many to send."""
        return self._drained is not None and not self.ending

    def has_seen_all(self) -> bool:
        """Whether a person who keeps no cursor has been shown everything up to the feed's position."""
        keeps_none = self.dialect is not None and self.dialect.cursor
        return keeps_none and self.state is State.IN and self.connection.delivered()

    # -- in -----------------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Begin what can be begun, and read on unless too much waits."""
        if self.state is State.GONE:
            return
        self.turns.pump()
        if self.turns.crowded(self.instance.settings.limits):
            self._pause()
        elif self.paused and self._drained is None and self.ending != "drain":
            self.paused = False
            self.connection.resume_reading()
        if self.ending and self.turns.idle and self.state in _OPEN:
            self.instance.goodbye.later(lambda: self._finish(self.ending))

    def go_on(self) -> None:
        """Another turn for what was left waiting."""
        self.pump()
        self.instance.feed.flush()

    def _pause(self) -> None:
        if not self.paused:
            self.paused = True
            self.connection.pause_reading()

    # -- out ----------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Have this sent at the end of the turn."""
        if data:
            self.instance.feed.touch(self, data)

    def _notice(self, name: str, fields: Mapping[str, Any]) -> None:
        assert self.dialect is not None
        self.write(self.dialect.notice(name, fields))

    def flush(self) -> None:
        """Send what this turn has brought, in one write. An open question is put again below what appears meanwhile."""
        out, self.out = self.out, []
        if self.interview is not None:
            out = self.interview.beneath(out)
        if self.state is not State.GONE:
            self.connection.send(out)

    def full(self) -> None:
        """The socket takes no more: be told nothing, keep only a place in the log, and read nothing either."""
        if self._drained is None:
            self._drained = Deferred()
            self._pause()
            if self.move("full"):
                self._place = self.instance.feed.part(self)
            self.turns.tell_watchers()

    def drained(self) -> None:
        """The socket takes more: go on from the place that was kept."""
        drained, self._drained = self._drained, None
        place, self._place = self._place, None
        if drained is not None:
            drained.callback(None)
        if place is not None:
            self.instance.feed.follow(self, *place)
        self.pump()
        self.instance.feed.flush()

    def ready(self) -> Deferred[None] | None:
        """When the session can take the next page; None: now."""
        return self._drained

    # -- the feed's side ----------------------------------------------------------------------------------------------

    def render(self, events: Sequence[Event], room: Room, viewer: int, current: bool) -> list[bytes]:
        """Each event's bytes in this session's dialect.

        A person is told at login which requests wait: those events of their inbox are not shown again.
        """
        assert self.dialect is not None
        first = events[0]
        if first.kind == "asked" and self.focused and first.seq <= self.identity.told:
            return [b""] * len(events)
        if first.kind == "nick" and first.by == self.account and viewer == self.account:
            self.identity.renamed(first.text or self.name)
        if first.kind in ENDING:
            self._dismissed(first)
        lines = self.dialect.events(events, room, viewer, current)
        if self.dialect.lively:
            self.picky = self.dialect.picky
            if wants := self.dialect.wanted():
                self.turns.want(wants)
                self.instance.later(self.go_on)
        return lines

    def envelopes(self, envelopes: list[Envelope]) -> None:
        """Have these sent."""
        assert self.dialect is not None and is_decrypting(self.dialect)
        self.write(b"".join(map(self.dialect.envelope, envelopes)))

    def _dismissed(self, event: Event) -> None:
        """This login was ended from elsewhere, or the account was deleted: nothing more is done for it."""
        if event.kind == "deleted" or self.login in (event.data or {}).get("logins", ()):
            self.instance.later(self._logged_out)

    def _logged_out(self) -> None:
        if self.account and self.dialect is not None and (self.dialect.interactive or self.dialect.lively):
            self._notice("logged_out", {"name": self.name})
        self.close("logged out")

    def entered(self, room: Room, event: Event) -> None:
        """The account is in this room now: it becomes the current one if there was none (FEATURES row 16)."""
        if self.focused and not self.focus and event.kind == "joined":
            self.identity.refocus(room.id)
            self._notice("now_in", {"room": room.name, "role": "member"})

    def left(self, room: Room, event: Event) -> None:
        """The account is in this room no more."""
        if self.focus == room.id:
            self.identity.refocus(0)

    def ranked(self, room: Room, event: Event) -> None:
        """The account's role in this room is another now."""
        if self.focused and self.focus == room.id:
            self._notice("now_in", {"room": room.name, "role": room.role.name.lower()})

    def caught_up(self) -> None:
        """Everything is heard live from now on."""
        turns = self.turns
        first = turns.barrier and turns.call is None
        self.identity.changed()  # the current room may be gone
        self.move("caught_up")
        if not (first and self.dialect is not None and self.dialect.lively):
            self.instance.watching.anew(self)
        self.answers.caught_up()
        if not first:
            return
        turns.barrier = False
        if self.dialect is not None and self.dialect.interactive:
            self._arrived()
        self.pump()

    def _arrived(self) -> None:
        """Logged in and caught up: say where we are; from the door, ask for a group where there is none."""
        room = self.instance.feed.routing.room(self.account, self.focus)
        if room is not None:
            self._notice("now_in", {"room": room.name, "role": room.role.name.lower()})
        interview = self.interview
        if interview is not None and interview.at_door:
            if not self.instance.feed.routing.groups(self.account):
                self.answers.ask(Call("join", {}), Ask("room", "join.room", {}))
                return
            interview.at_door = False
            self._notice("hint", {})

    def astray(self) -> None:
        """Following the log broke, and nothing more would be heard: the client is to come back and try again."""
        self.close("broken")

    # -- the end ------------------------------------------------------------------------------------------------------

    def log_out(self, why: str) -> None:
        """Nobody is here any more; the connection may stay."""
        if self.account:
            self.identity.log_out(why)
            self._place = self.turns.follow = None
            self.move("logout")

    def dismiss(self, refusal: Refusal, why: str) -> None:
        """Say why this connection cannot stay, and end it. Who has said nothing yet is taken for a person."""
        if self.state in _OPEN:
            self.instance.audit.refused(self, "", refusal)
            self.write(self.dialect.refuse(None, refusal) if self.dialect else self.intake.turned_away(refusal))
            self.close(why)

    def eof(self) -> None:
        """No more will come: work off what was accepted, then close."""
        self._end("eof")

    def drain(self) -> None:
        """This instance stops: work off what was accepted, say so, then close."""
        self._end("drain")

    def _end(self, why: str) -> None:
        if self.state in _OPEN:
            self.ending = self.ending or why
            if why == "drain":
                self._pause()
            if self.dialect is None:
                self.intake.end()
            self.pump()
            self.instance.feed.flush()

    def _finish(self, why: str) -> None:
        """All that was accepted is done: end, telling a client that the server goes, not it."""
        if self.state not in _OPEN or not self.turns.idle:
            return
        if why == "drain" and self.dialect is not None:
            if self.interview is not None:
                self.write(self.interview.drop())
            self._notice("closing", {})
        elif why == "drain" and self.intake.greeted:
            plain = self.instance.dialects(b"", self.instance.settings)
            self.write(b"\r\n" + plain.notice("closing", {}))
        self.close(why)

    def close(self, why: str) -> None:
        """Flush and end the connection."""
        if self.state in _OPEN:
            self.log_out(why)
            self.move("close")
            self.turns.tell_watchers()
            self.instance.feed.flush()
            self.connection.close()

    def renew(self) -> None:
        """The settings are others now."""
        self.identity.changed()
        if self.dialect is not None and self.state in _OPEN:
            self.write(self.dialect.renew(self.instance.settings))

    def lost(self, *, clean: bool) -> None:
        """The connection has ended."""
        if self.state is State.GONE:
            return
        self.log_out("closed" if clean else "cut")
        self.move("lost")
        self.interview = None
        self.turns.clear()
        self.out.clear()
        if self.turns.idle:
            self._dissolve()

    def _dissolve(self) -> None:
        """Nothing is to come: hold nothing that holds this, so that no collector of garbage has to find it."""
        for part in (self.intake, self.turns, self.answers, self.identity):
            part.let_go()
        del self.connection
