"""One connection without its socket: who is there, what lines mean, answers, errors.

The rule: a session's calls take effect in the order sent (turns.py). A refusal is written in one place, here.

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

import secrets
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatd import command
from chatd.crowd import Bucket, Pace, network
from chatd.errors import Refusal
from chatd.instance import Connection, Instance
from chatd.interview import Heard, Interview
from chatd.letterbox import Letterbox
from chatd.model import Account, Ask, Call, Envelope, Event, Me, Reply, Room, Turn
from chatd.store import Tx
from chatd.turns import Refused, Turns
from chatd.wire import rawline
from chatd.wire.dialect import Dialect
from chatd.wire.framing import Overlong

_log = Logger()


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

TELNET: Final = b"\xff"
"""With this byte telnet's commands begin, and no line of any dialect."""
ENDING: Final = frozenset({"logged_out", "deleted"})
"""Kinds of events, in an account's own inbox, that end sessions."""
NONSENSE: Final = frozenset({"UNKNOWN_CMD", "BAD_LINE", "LINE_TOO_LONG"})


class Session:
    """One connection. Its socket is a `Connection`; its events come from the feed."""

    __slots__ = (
        "_box",
        "_connection",
        "_device",
        "_drained",
        "_ending",
        "_first",
        "_follow",
        "_greeted",
        "_interview",
        "_me",
        "_nonsense",
        "_pace",
        "_paused",
        "_place",
        "_pong",
        "_told",
        "_turns",
        "account",
        "address",
        "dialect",
        "echo",
        "exempt",
        "focus",
        "focused",
        "guest",
        "instance",
        "login",
        "name",
        "operator",
        "out",
        "picky",
        "saved",
        "secure",
        "shape",
        "since",
        "state",
    )

    def __init__(self, instance: Instance, connection: Connection, address: str, *, secure: bool, exempt: bool) -> None:
        self.instance = instance
        self._connection = connection
        self.address = address
        self.secure = secure
        self.exempt = exempt
        self.state = State.UNDECIDED
        self.dialect: Dialect | None = None
        self.shape = ""
        self.focused = self.echo = self.picky = self.guest = self.operator = False
        self.account = self.login = self.focus = 0
        self.name = ""
        self.since = 0.0
        self.saved = 0
        self.out: list[bytes | memoryview] = []
        self._turns = Turns(self)
        self._first = b""
        self._follow: int | None = None
        self._interview: Interview | None = None
        self._greeted = False
        self._nonsense = 0
        self._ending = ""
        self._paused = False
        self._drained: Deferred[None] | None = None
        self._place: tuple[int, dict[int, Room]] | None = None
        self._pong: Reply | None = None
        self._me: Me | None = None
        self._box: Letterbox | None = None
        self._device: tuple[int, str] | None = None
        self._told = 0
        self._pace: Pace | None = None

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
    def live(self) -> bool:
        """Whether everything is heard and said as it comes."""
        return self.state is State.IN and self._drained is None

    @property
    def clogged(self) -> bool:
        """Whether the answers of what was begun are too many to send."""
        return self._drained is not None and not self._ending

    @property
    def follows(self) -> bool:
        """Whether what was missed is to be shown before the next line is begun."""
        return self._follow is not None

    @property
    def me(self) -> Me:
        """On whose behalf calls run now."""
        if self._me is None:
            settings = self.instance.settings
            operator = self.operator or self.name in settings.operators
            here = (*self._connection.here(), self.secure)
            certificate = self._connection.certificate() if self.secure else ""
            who = (self.account, self.name, self.focus, self.login, self.address)
            self._me = Me(*who, settings, operator, here, certificate, *(self._device or ()))
        return self._me

    # -- bytes in -----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        if self.dialect is None:
            self._undecided(data)
        else:
            self._take(self.dialect.feed(data))
        self.instance.feed.flush()

    def _undecided(self, data: bytes) -> None:
        """Keep what has come until it holds a line, whose first character tells the dialect."""
        held = self._first + data
        settings = self.instance.settings
        if b"\n" not in held and b"\r\x00" not in held and len(held) <= settings.limits.line_bytes:
            self._first = held
            return
        self._first = b""
        if rawline.is_raw(held):
            self.move("raw")
            if self._greeted:
                self._connection.send([b"\n"])  # below the door
            self._connection.carry_file(held)
            return
        self.dialect = self.instance.dialects(held, settings)
        if self.dialect.lively:
            self.dialect.guests = self.instance.feed.routing.guests
            self.dialect.secure = self.secure
            self.dialect.certified = bool(self.me.certificate)
        if self.dialect.interactive:
            self._interview = Interview(self.dialect)
        self.shape = self.dialect.shape
        self.focused = self.dialect.focused
        self.echo = self.dialect.echo
        self.move("line")
        if self._greeted and not self.dialect.interactive:
            self.write(b"\n")
        self._take(self.dialect.feed(held))

    def greet(self) -> None:
        """Nothing has come yet, or what a telnet program says by itself: a person is there. Show the banner and the
        door, which binds nobody to a dialect: a program that comes late skips it, and its answers begin on a new line.
        """
        if self.state is State.UNDECIDED and self._first[:1] in (b"", TELNET):
            plain = self.instance.dialects(b"", self.instance.settings)
            settings = self.instance.settings
            banner = plain.notice("banner", {"banner": settings.banner, "motd": settings.motd})
            self.write(banner + plain.notice("prompt", {"prompt": "door"}))
            self._greeted = True
            self.instance.feed.flush()

    def _take(self, lines: list[bytes | Overlong]) -> None:
        assert self.dialect is not None
        if owed := self.dialect.owed():
            self.write(owed)
        self._turns.lines += lines
        self.pump()

    def eof(self) -> None:
        """No more will come: work off what was accepted, then close."""
        self._end("eof")

    def drain(self) -> None:
        """This instance stops: work off what was accepted, say so, then close."""
        self._end("drain")

    def _end(self, why: str) -> None:
        if self.state in _OPEN:
            self._ending = self._ending or why
            if why == "drain":
                self._pause()
            if self.dialect is None:
                self._first = b""  # it holds no line, and never will
            self.pump()
            self.instance.feed.flush()

    def _idle(self) -> bool:
        return self._turns.idle and self._follow is None

    # -- lines to calls -----------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Begin what can be begun, and read on unless too much waits."""
        self._turns.pump()
        if self._turns.crowded(self.instance.settings.limits):
            self._pause()
        elif self._paused and self._drained is None and self._ending != "drain":
            self._paused = False
            self._connection.resume_reading()
        if self._ending and self._idle() and self.state in _OPEN:
            self.instance.later(lambda: self._finish(self._ending))

    def go_on(self) -> None:
        """Another turn for what was left waiting."""
        self.pump()
        self.instance.feed.flush()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._connection.pause_reading()

    def bind(self, line: bytes | Overlong) -> Call | Refused | None:
        """The call that a line asks for, or why not; None: neither, and what was to be said about that is said."""
        assert self.dialect is not None
        dialect = self.dialect
        try:
            self._rate()
            if isinstance(line, Overlong):
                limit = self.instance.settings.limits.message_characters
                raise Refusal("LINE_TOO_LONG", size=line.limit, limit=limit)
            if (interview := self._interview) is not None:
                if interview.question is not None:
                    return self._heard(interview.answer(line, inside=bool(self.account)))
                if self.state is State.DOOR:
                    return self._heard(interview.door(line))
            call = dialect.read(line)
            if dialect.lively:
                self._heed()
            return call
        except Refusal as refusal:
            return Refused(None if isinstance(line, Overlong) else dialect.ref_of(line), refusal)
        except Exception:
            return Refused(None, self._broken("a line", Failure()))

    def _heed(self) -> None:
        """What a lively dialect owes, wants called by itself, and how it is to be shown events from now on."""
        dialect = self.dialect
        assert dialect is not None
        if owed := dialect.owed():
            self.write(owed)
        self._turns.want(dialect.wanted(), first=True)
        self.picky = dialect.picky
        if dialect.shape != self.shape or dialect.echo is not self.echo:
            rooms = self.instance.feed.routing.take(self)
            self.shape, self.echo = dialect.shape, dialect.echo
            if rooms is not None:
                self.instance.feed.routing.put(self, rooms)

    def _rate(self) -> None:
        """@raise Refusal: RATE."""
        if self.exempt:
            return
        instance = self.instance
        limits, now = instance.settings.limits, instance.seconds()
        if self._pace is None:
            self._pace = Pace(limits, now)
        if wait := self._pace.take(limits, now):
            if rest := self._pace.rest(limits):
                self._connection.rest(rest)
            raise Refusal("RATE", wait=max(1, round(wait)))
        key: int | str = self.account or network(self.address)
        bucket = instance.buckets.get(key)
        if bucket is None:
            bucket = instance.buckets[key] = Bucket(limits.calls_burst, now)
        if wait := bucket.take(1, limits.calls_burst, limits.calls_per_second, now):
            raise Refusal("RATE", wait=max(1, round(wait)))

    def _heard(self, heard: Heard) -> Call | None:
        self.write(heard.say)
        return heard.call

    # -- calls --------------------------------------------------------------------------------------------------------

    def flown(self, call: Call, result: Any) -> None:
        """What came of a light call: nearly always an answer that changes nothing here."""
        if result.__class__ is not Reply or result.turn is not None or self.state is State.GONE:
            self.done(call, result)
            return
        assert self.dialect is not None
        turns = self._turns
        turns.flying -= 1
        self._nonsense = 0
        if self._interview is not None:
            self._interview.misses = 0
        self.write(self.dialect.reply(call, result))
        if self.dialect.lively:
            self._heed()
        if turns.waiting or self._paused or self._ending:
            self.pump()

    def done(self, call: Call, result: Any, *, late: bool = False) -> None:
        """What came of a call."""
        if isinstance(result, Failure):
            error = result.value
            result = error if isinstance(error, Refusal) else self._broken(call.verb, result)
        if (
            isinstance(result, Refusal)
            and result.code in command.NEAR
            and not result.fields["near"]
            and self._turns.alone(call)
        ):
            refusal = result
            self.instance.db.read(lambda tx: command.suggest(tx, refusal)).addErrback(lambda _: refusal).addCallback(
                self._settle_late, call
            )
            return
        if isinstance(result, Reply) and result.name == "pong":
            self.instance.feed.when(result.fields["seq"], lambda: self._reached(call, result))
            return
        if isinstance(result, Reply) and result.turn is not None and result.turn.account is not None:
            self._read_more(call, result, result.turn.account)
            return
        self._settle(call, result)
        if late:
            self.instance.feed.flush()

    def _reached(self, call: Call, pong: Reply) -> None:
        """All up to there is delivered here; a session that is behind it is answered once it is not."""
        if self.state is State.BEHIND:
            self._pong = pong
        else:
            self._settle(call, pong)

    def _read_more(self, call: Call, reply: Reply, account: Account) -> None:
        """Somebody is in: read what there is to tell them, beside the writer."""
        after = command.TABLE[call.verb].after
        if after is None:
            self._settle(call, reply)
            return
        settings = self.instance.settings

        def told(more: Any) -> Any:
            self.instance.gate.leave()
            return more

        self.instance.db.read(lambda tx: after(tx, account, settings)).addBoth(told).addCallback(
            lambda more: reply._replace(fields={**reply.fields, **more})
        ).addCallbacks(self._settle_late, self._untold, callbackArgs=(call,), errbackArgs=(call,))

    def _untold(self, failure: Failure, call: Call) -> None:
        """The call is done, and what belongs to its answer cannot be read: neither "welcome" nor "nothing was changed"
        would be true, so the client is to come back."""
        if failure.check(Refusal) is None:
            self._broken(call.verb, failure)
        if self.dialect is not None:
            self.write(self.dialect.refuse(call.ref, Refusal("DRAINING"), None))
        self.close("broken")

    def _settle_late(self, result: Any, call: Call) -> None:
        self._settle(call, result)
        self.instance.feed.flush()

    def _settle(self, call: Call, result: Any) -> None:
        self._turns.landed(call)
        if self.gone:
            return
        if isinstance(result, Refusal):
            self._refused(call, result)
        elif isinstance(result, Ask):
            self._ask(call, result)
        else:
            self._replied(call, result)
        self.pump()

    def _broken(self, what: str, failure: Failure) -> Refusal:
        """Something unforeseen: logged with a reference that the person can name."""
        ref = secrets.token_hex(4)
        _log.failure("{verb} broke, reference {ref}", failure, verb=what, ref=ref)
        return Refusal("INTERNAL", ref=ref)

    def _refused(self, call: Call, refusal: Refusal) -> None:
        interview = self._interview
        if interview is None or not interview.concerns(call, refusal):
            self.refuse(call.ref, refusal, verb=call.verb)
            if interview is not None:
                interview.misses = 0
            return
        self.refuse(call.ref, refusal, quiet_door=True, verb=call.verb)
        again = interview.again(call, refusal)
        if again is not None:
            self._turns.start(again)
        else:
            self.write(interview.cancel(inside=bool(self.account)))

    def refuse(
        self, ref: Any, refusal: Refusal, *, quiet_door: bool = False, verb: str = "", ask: Ask | None = None
    ) -> None:
        """The one place where a refusal is written."""
        assert self.dialect is not None
        self.instance.audit.refused(self, verb, refusal)
        self.write(self.dialect.refuse(ref, refusal, ask))
        if self.dialect.lively:
            self._heed()
        if refusal.code in NONSENSE:
            self._nonsense += 1
            if self._nonsense >= self.instance.settings.limits.nonsense_lines and not self.exempt:
                self.close("nonsense")
                return
        if self._interview is not None and self._interview.question is not None:
            self.write(self._interview.repeat())
        elif not quiet_door:
            self._prompt_door()

    def _ask(self, call: Call, ask: Ask) -> None:
        if self._interview is None:
            refusal = ask.refusal or Refusal("BAD_USAGE", usage=command.TABLE[call.verb].usage)
            self.refuse(call.ref, refusal, ask=ask)
        else:
            self.write(self._interview.ask(call, ask))

    def _replied(self, call: Call, reply: Reply) -> None:
        assert self.dialect is not None
        self._nonsense = 0
        if self._interview is not None:
            self._interview.misses = 0
        self.instance.audit.answered(self, reply.name)
        turn = reply.turn
        if turn is not None and turn.room is not None:
            self._refocus(turn.room.id)
        if turn is not None and turn.leave_room:
            self._refocus(0)
        self.write(self.dialect.reply(call, reply))
        if self.dialect.lively:
            self._heed()
        if turn is None:
            self._prompt_door()
            return
        if turn.operator:
            self.operator = True
            self._me = None
        if turn.watch or turn.typing or turn.stirs or turn.monitor is not None or turn.marked is not None:
            self._now(turn)
        if turn.account is not None and self.state in _OPEN:
            self._log_in(turn.account, turn, reply)
        if turn.device is not None and self.state in _OPEN:
            self._become(turn.device)
        if turn.logout:
            self._log_out("logout")
            if not turn.close:
                self._prompt_door()
        if turn.close:
            self.close("quit")

    def _now(self, turn: Turn) -> None:
        """What is true only now, and only for programs to be told."""
        watching = self.instance.watching
        if turn.watch and self._interview is None:
            watching.watch(self)
        if turn.typing:
            watching.typing(self, turn.typing)
        if turn.stirs:
            watching.stir([self.account])
        if turn.monitor is not None and self._interview is None:
            watching.monitor(self, turn.monitor)
        if turn.marked is not None:
            watching.marked(self, *turn.marked)

    # -- who is here --------------------------------------------------------------------------------------------------

    def _log_in(self, account: Account, turn: Turn, reply: Reply) -> None:
        """Follow the log from where this person left off; the next line is read when it is caught up."""
        assert self.dialect is not None
        limits = self.instance.settings.limits
        self.account, self.name = account
        self.login = turn.login
        self.guest = bool(reply.fields.get("guest"))
        self.focus = reply.fields.get("current", 0) if self.dialect.interactive else 0
        self._me = None
        self._told = reply.fields["seq"]
        self.since = self.instance.seconds()
        self.move("login")
        self.dialect.widen(limits.json_line_bytes)
        self.instance.presence.arrive(self)
        self.instance.audit.connected(self)
        after = reply.fields["seq"]
        if turn.since is not None:
            after = min(after, turn.since)
        elif self.dialect.cursor and not reply.fields["long_absence"]:
            after = reply.fields["cursor"]
        self._follow = after
        self._turns.barrier = False

    def _become(self, device: tuple[int, str]) -> None:
        """This session is that device of its account: it is handed what is for that one alone."""
        assert self.dialect is not None
        if not self.dialect.decrypts or not self.account:
            return
        if self._box is not None:
            self.instance.feed.boxes.close(self._box)
        self._device = device
        self._box = self.instance.feed.boxes.open(self, device[0])
        self._me = None

    def envelopes(self, envelopes: list[Envelope]) -> None:
        """Have these sent."""
        assert self.dialect is not None
        self.write(b"".join(map(self.dialect.envelope, envelopes)))

    def follow_on(self) -> None:
        """All is said that belongs before what was missed; the next line is begun when that is shown, too."""
        after, self._follow = self._follow, None
        assert after is not None
        self._turns.barrier = True
        self.instance.feed.follow(self, after)

    def _log_out(self, why: str) -> None:
        """Nobody is here any more; the connection may stay."""
        if not self.account:
            return
        if why in ("quit", "logout") or (why != "cut" and self.has_seen_all()):
            self._save()
        self.instance.feed.part(self)
        self.instance.watching.unwatch(self)
        if self._box is not None:
            self.instance.feed.boxes.close(self._box)
        self._box = self._device = None
        self.instance.presence.depart(self)
        self.instance.audit.disconnected(self, why)
        if self.dialect is not None and self.dialect.cursor:
            account, login = self.account, self.login  # a face that was never shown its token cannot come back with it
            self.instance.db.write(lambda tx: tx.drop_login(account, login)).addErrback(lambda _: None)
        if self.guest:
            self._vanish()
        self.account = self.login = self.focus = 0
        self.name = ""
        self._me = self._place = self._follow = None
        self.move("logout")

    def _vanish(self) -> None:
        """A guest is tied to this session: with it go the memberships and the name."""
        me = self.me
        reason = self.dialect.farewell if self.dialect is not None else ""
        self.guest = self.operator = False
        self.instance.db.write(lambda tx: command.perform(tx, me, Call("vanish", {"reason": reason}))).addErrback(
            lambda failure: None if failure.check(Refusal) else _log.failure("a guest leaves", failure)
        )

    def has_seen_all(self) -> bool:
        """Whether a person who keeps no cursor has been shown everything up to the feed's position."""
        keeps_none = self.dialect is not None and self.dialect.cursor
        return keeps_none and self.state is State.IN and self._connection.delivered()

    def _save(self) -> None:
        """Remember how far this person was shown everything, and where they were."""
        if self.dialect is None or not self.dialect.cursor or self.state is not State.IN:
            return
        account, room, seq, focused = self.account, self.focus, self.instance.feed.position, self.focused

        def save(tx: Tx) -> None:
            tx.save_cursors([(account, seq)])
            if focused:
                tx.set_last_room(account, room)

        self.instance.db.write(save).addErrback(lambda _: None)

    def _refocus(self, room: int) -> None:
        if room != self.focus:
            self.instance.feed.routing.refocus(self, room)
            self._me = None

    # -- the feed's side ----------------------------------------------------------------------------------------------

    def render(self, events: Sequence[Event], room: Room, viewer: int, current: bool) -> list[bytes]:
        """Each event's bytes in this session's dialect.

        A person is told at login which requests wait: those events of their inbox are not shown again.
        """
        assert self.dialect is not None
        if events[0].kind == "asked" and self.focused and events[0].seq <= self._told:
            return [b""] * len(events)
        if events[0].kind == "nick" and events[0].by == self.account and viewer == self.account:
            self.name = events[0].text or self.name
            self._me = None
        if events[0].kind in ENDING:
            self._dismissed(events[0])
        lines = self.dialect.events(events, room, viewer, current)
        if self.dialect.lively:
            self.picky = self.dialect.picky
            if wants := self.dialect.wanted():
                self._turns.want(wants)
                self.instance.later(self.go_on)
        return lines

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
            self._refocus(room.id)
            self._notice("now_in", {"room": room.name, "role": "member"})

    def left(self, room: Room, event: Event) -> None:
        """The account is in this room no more."""
        if self.focus == room.id:
            self._refocus(0)

    def ranked(self, room: Room, event: Event) -> None:
        """The account's role in this room is another now."""
        if self.focused and self.focus == room.id:
            self._notice("now_in", {"room": room.name, "role": room.role.name.lower()})

    def caught_up(self) -> None:
        """Everything is heard live from now on."""
        turns = self._turns
        first = turns.barrier and turns.call is None
        self._me = None  # the current room may be gone
        self.move("caught_up")
        if not (first and self.dialect is not None and self.dialect.lively):
            self.instance.watching.anew(self)
        pong, self._pong = self._pong, None
        if pong is not None:
            assert turns.call is not None
            self._settle(turns.call, pong)
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
        interview = self._interview
        if interview is not None and interview.at_door:
            if not self.instance.feed.routing.groups(self.account):
                self._ask(Call("join", {}), Ask("room", "join.room", {}))
                return
            interview.at_door = False
            self._notice("hint", {})

    def flush(self) -> None:
        """Send what this turn has brought, in one write. An open question is put again below what appears meanwhile."""
        out, self.out = self.out, []
        if self._interview is not None:
            out = self._interview.beneath(out)
        if self.state is not State.GONE:
            self._connection.send(out)

    def astray(self) -> None:
        """Following the log broke, and nothing more would be heard: the client is to come back and try again."""
        self.close("broken")

    def full(self) -> None:
        """The socket takes no more: be told nothing, keep only a place in the log, and read nothing either."""
        if self._drained is None:
            self._drained = Deferred()
            self._pause()
            if self.move("full"):
                self._place = self.instance.feed.part(self)
            self._turns.tell_watchers()

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

    # -- out ----------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Have this sent at the end of the turn."""
        if data:
            self.instance.feed.touch(self, data)

    def _notice(self, name: str, fields: Mapping[str, Any]) -> None:
        assert self.dialect is not None
        self.write(self.dialect.notice(name, fields))

    def _prompt_door(self) -> None:
        """A person who is not logged in is at the door."""
        if self.state is State.DOOR and self._interview is not None:
            self.write(self._interview.prompt())

    def dismiss(self, refusal: Refusal, why: str) -> None:
        """Say why this connection cannot stay, and end it. Who has said nothing yet is taken for a person."""
        if self.state in _OPEN:
            self.instance.audit.refused(self, "", refusal)
            dialect = self.dialect or self.instance.dialects(b"", self.instance.settings)
            below = b"\r\n" if self._greeted and self.dialect is None else b""
            self.write(below + dialect.refuse(None, refusal))
            self.close(why)

    def close(self, why: str) -> None:
        """Flush and end the connection."""
        if self.state in _OPEN:
            self._log_out(why)
            self.move("close")
            self._turns.tell_watchers()
            self.instance.feed.flush()
            self._connection.close()

    def _finish(self, why: str) -> None:
        """All that was accepted is done: end, telling a client that the server goes, not it."""
        if self.state not in _OPEN or not self._idle():
            return
        if why == "drain" and self.dialect is not None:
            if self._interview is not None:
                self.write(self._interview.drop())
            self._notice("closing", {})
        elif why == "drain" and self._greeted:
            plain = self.instance.dialects(b"", self.instance.settings)
            self.write(b"\r\n" + plain.notice("closing", {}))
        self.close(why)

    def renew(self) -> None:
        """The settings are others now."""
        self._me = None
        if self.dialect is not None and self.state in _OPEN:
            self.write(self.dialect.renew(self.instance.settings))

    def lost(self, *, clean: bool) -> None:
        """The connection has ended."""
        if self.state is State.GONE:
            return
        self._log_out("closed" if clean else "cut")
        self.move("lost")
        self._interview = None
        self._turns.clear()
        self.out.clear()
