"""The IRC dialect: RFC 1459 and 2812 as practised today (the Modern IRC documents), with IRCv3's extensions.

The rule: what a client has said and negotiated is here, and nothing else: who may do what is decided where it is
decided for everybody. docs/irc.md says what of which specification is there.

A line becomes calls, each of which holds the line it came from (`Asked`) as its handle. With a label the answers of all
of them, and the events that they make, are gathered and go out together; without one each goes out when it comes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from chatd import texts
from chatd.command import TABLE, Settings
from chatd.errors import Refusal
from chatd.model import DELETED, Ask, Call, Event, Reply, Room
from chatd.wire.framing import Lines, Overlong
from chatd.wire.irc import answers, presence, talk, terms, verbs
from chatd.wire.irc.asked import Asked
from chatd.wire.irc.events import live, missed, moment
from chatd.wire.irc.line import LINE, TAGS, Line, dump, parse

FIRST: Final = frozenset({b"CAP", b"NICK", b"PASS", b"USER", b"QUIT"})
"""What the first line begins with where the dialect is this one."""
ECHOED: Final = frozenset(
    {"join", "leave", "kick", "topic", "promote", "demote", "transfer", "ban", "unban", "door", "rename", "nick"}
)
"""Calls whose answer is the event that they make, seen by the one who made it."""
SPOKEN: Final = frozenset({"say", "msg"})
"""The same, where the client hears its own words."""


_HINT: Final = re.compile(r"(?<!\S)/([a-z-]+)")


def _hinted(match: re.Match[str]) -> str:
    """A command that is named to a person, as it is typed in an IRC client."""
    name = match[1]
    return f"/msg {terms.SERVICE} {name}" if name in TABLE and name.upper() not in verbs.VERBS else match[0]


def is_irc(first: bytes) -> bool:
    """Whether the bytes of a first line are IRC."""
    word = first.lstrip(b" \r\n")[:5].partition(b" ")[0].partition(b"\r")[0].partition(b"\n")[0]
    return word.upper() in FIRST


class Irc:
    """The IRC dialect of one connection."""

    __slots__ = (
        "_awaited",
        "_batches",
        "_lines",
        "_owed",
        "caps",
        "census",
        "certified",
        "echo",
        "entering",
        "farewell",
        "guests",
        "mechanism",
        "monitored",
        "multiline",
        "negotiating",
        "nick",
        "password",
        "registered",
        "renamed",
        "sasl",
        "secure",
        "settings",
        "shape",
        "token",
        "told",
        "user",
        "version",
        "wants",
    )

    interactive = False
    focused = False
    cursor = True
    lively = True
    decrypts = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lines = Lines(TAGS + LINE)
        self._owed = b""
        self._awaited: dict[int, Asked] = {}
        self._batches = 0
        self.shape = "irc"
        self.echo = False
        self.caps: frozenset[str] = frozenset()
        self.version = 301
        self.negotiating = self.registered = self.user = False
        self.nick = self.token = self.farewell = ""
        self.password: str | None = None
        self.sasl: str | None = None
        self.mechanism = ""
        self.multiline: talk.Multiline | None = None
        self.monitored: dict[str, bool] | None = None
        self.census: Mapping[str, Any] = {}
        self.guests: Collection[int] = ()
        self.secure = self.certified = False
        self.told = self.entering = 0
        self.renamed: tuple[int, str | None] = (0, None)
        self.wants: list[Call] = []

    # -- what others are told of it -----------------------------------------------------------------------------------

    @property
    def picky(self) -> bool:
        """Whether an event is awaited that answers a labeled line."""
        return bool(self._awaited)

    @property
    def server(self) -> str:
        """The server's name."""
        return self.settings.server

    @property
    def software(self) -> str:
        """The program's name and version."""
        return self.settings.software

    @property
    def me(self) -> str:
        """How the client is called in what it is answered."""
        return self.nick if self.registered else self.nick or "*"

    @property
    def account_word(self) -> str:
        """The client's account, as other clients are told; `*` for a guest."""
        return "*" if self.census.get("guest") else self.nick

    def account_tag(self, account: int, name: str) -> tuple[tuple[str, str], ...]:
        """How a line of this person is tagged, where the client wants that; guests and deleted accounts have none."""
        if "account-tag" not in self.caps or account in self.guests or name == DELETED:
            return ()
        return (("account", name),)

    def offered(self) -> Mapping[str, str]:
        """The capabilities there are, with their values."""
        port, seconds = self.settings.sts
        offered = dict(terms.CAPS)
        if self.settings.registration == "closed":
            del offered["draft/account-registration"]
        offered["sasl"] = ",".join(self.mechanisms())
        if port:
            offered["sts"] = f"duration={seconds}" if self.secure else f"port={port}"
        return offered

    def mechanisms(self) -> tuple[str, ...]:
        """The ways to log in by SASL."""
        return ("PLAIN", "EXTERNAL") if self.certified else ("PLAIN",)

    def renew(self, settings: Settings) -> bytes:
        """Say which capabilities there are now that were not, or are not any more (cap-notify)."""
        before, self.settings = self.offered(), settings
        after = self.offered()
        gone = [name for name in before if name not in after]
        new = [f"{name}={value}" if value else name for name, value in after.items() if before.get(name) != value]
        knows = "cap-notify" in self.caps
        if gone:
            self.negotiate(self.caps - set(gone))
        notes = (("NEW", new), ("DEL", gone)) if knows else ()
        return dump([self.line(f"CAP {self.me} {what} :{' '.join(names)}") for what, names in notes if names])

    def has(self, cap: str) -> bool:
        """Whether this was negotiated."""
        return cap in self.caps

    def negotiate(self, caps: frozenset[str]) -> None:
        """These are in force from now on."""
        self.caps = frozenset(caps)
        shape = " ".join(sorted(self.caps & terms.RENDERING))
        self.shape = f"irc {shape}".rstrip()
        self.echo = "echo-message" in self.caps

    # -- bytes in -----------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[bytes | Overlong]:
        """The lines that these bytes complete."""
        return self._lines.feed(data)

    def owed(self) -> bytes:
        """What was answered at once."""
        owed, self._owed = self._owed, b""
        return owed

    def wanted(self) -> list[Call]:
        """The other calls of a line, and what the client must be told besides."""
        wants, self.wants = self.wants, []
        return wants

    def widen(self, limit: int) -> None:
        """Lines stay as long as IRC's are."""

    def read(self, line: bytes) -> Call | None:
        """The first of the calls that a line asks for; the others are wanted."""
        asked = self.asked(line)
        if asked is None:
            return None
        try:
            calls = [call._replace(ref=asked) for call in verbs.run(self, asked)] if asked.command else []
        except Refusal as refusal:
            asked.lines += answers.refused(self, asked, refusal, None)
            calls = []
        asked.left = len(calls)
        if not calls:
            self._owed += self._finished(asked)
            return None
        if asked.label is None:
            self._owed += dump(asked.lines)
            asked.lines = []
        first, *others = calls
        self.wants = others + self.wants
        return first

    def asked(self, line: bytes) -> Asked | None:
        """A line taken apart; what is wrong with its form is said at once. None: there is nothing in it."""
        tags = line.find(b" ") + 1 if line.startswith(b"@") else 0
        if not line.strip():
            return None
        try:
            message = parse(line.decode().replace("\x00", "�").replace("\r", "�"))
        except UnicodeDecodeError:
            message = parse(line.decode("ascii", "replace"))
            asked = self._asked(message.tags, message.command, [])
            self.fail(asked, "INVALID_UTF8", [], "That is not UTF-8.")
            return self._spoilt(asked)
        asked = self._asked(message.tags, message.command, message.params)
        if tags > TAGS or len(line) - tags > LINE - 2:
            self.numeric(asked, "417", [], "Input line was too long")
            return self._spoilt(asked)
        return asked

    def _asked(self, tags: Mapping[str, str], command: str, params: list[str]) -> Asked:
        label = tags.get("label") if "labeled-response" in self.caps else None
        asked = Asked(command, params, label[:64] if label else None)
        asked.tags = tags
        return asked

    def _spoilt(self, asked: Asked) -> Asked:
        asked.command = ""
        return asked

    def silent(self, command: str = "", *params: str) -> Asked:
        """The handle of a call that no line of the client asked for."""
        return Asked(command, list(params))

    def ref_of(self, line: bytes) -> Asked | None:
        """The handle of a line that was not even read."""
        message = parse(line.decode("utf-8", "replace"))
        asked = self._asked(message.tags, message.command, message.params)
        asked.left = 1
        return asked

    # -- answers out --------------------------------------------------------------------------------------------------

    def line(self, text: str, *, source: str = "", tags: tuple[tuple[str, str], ...] = ()) -> Line:
        """A line from the server, or from a person."""
        return Line(f":{source}!{source}@{self.server} {text}" if source else f":{self.server} {text}", tags)

    def numeric(self, asked: Asked, code: str, params: Sequence[str], text: str | None = None) -> None:
        """A numeric is part of the answer."""
        asked.put(self.numbered(code, params, text))

    def numbered(self, code: str, params: Sequence[str], text: str | None = None) -> Line:
        """A numeric."""
        words = " ".join([code, self.me, *(word.replace(" ", "_") or "*" for word in params)])
        return self.line(f"{words} :{text}" if text is not None else words)

    def fail(self, asked: Asked, code: str, context: Sequence[str], text: str) -> None:
        """A standard reply; to who has not negotiated these, a notice."""
        if "standard-replies" in self.caps:
            words = " ".join(["FAIL", asked.command or "*", code, *(word.replace(" ", "_") for word in context)])
            asked.put(self.line(f"{words} :{text}"))
        else:
            asked.put(self.line(f"NOTICE {self.me} :{text}"))

    def by_service(self, text: str) -> Line:
        """What the server says that no verb of IRC says."""
        return self.line(f"NOTICE {self.me} :{_HINT.sub(_hinted, text)}", source=terms.SERVICE)

    def told_by_service(self, text: str, at: int | None = None) -> Line:
        """The same about something that happened; `at` (ms) where that is not now."""
        if at is None:
            return self.by_service(text)
        if "server-time" in self.caps:
            return self.by_service(text).tagged(("time", moment(at)))
        return self.by_service(f"[{texts.clock(at)}] {text}")

    def to_oneself(self, asked: Asked, text: str, how: str | None) -> None:
        """Words to oneself are heard and not kept."""
        verb = "NOTICE" if how == "notice" else "PRIVMSG"
        if how == "action":
            text = f"\x01ACTION {text}\x01"
        line = self.line(f"{verb} {self.nick} :{text}", source=self.nick)
        if self.echo:
            asked.put(line)
        self._owed += dump([line])

    def motd(self) -> list[Line]:
        """The message of the day."""
        if not self.settings.motd:
            return [self.numbered("422", [], "MOTD File is missing")]
        return [
            self.numbered("375", [], f"- {self.server} Message of the day - "),
            *(self.numbered("372", [], f"- {text}") for text in self.settings.motd),
            self.numbered("376", [], "End of /MOTD command."),
        ]

    def isupport(self) -> list[Line]:
        """What the server supports."""
        tokens = terms.isupport(self.settings)
        return [
            self.numbered("005", tokens[at : at + 12], "are supported by this server")
            for at in range(0, len(tokens), 12)
        ]

    def batch(self) -> str:
        """A batch's name, unique on this connection."""
        self._batches += 1
        return f"b{self._batches}"

    def answer(self, asked: Asked | None, lines: Sequence[Line]) -> bytes:
        """One of the line's calls is settled."""
        if asked is None or asked.label is None:
            return dump(lines)
        asked.lines += lines
        asked.left -= 1
        return self._finished(asked) if asked.left <= 0 else b""

    def _finished(self, asked: Asked) -> bytes:
        """All that a line is answered, under its label where it had one."""
        lines, asked.lines = asked.lines, []
        if asked.label is None:
            return dump(lines)
        label = ("label", asked.label)
        if not lines:
            return dump([self.line("ACK", tags=(label,))])
        one = " BATCH +" in lines[0].body[:80] and lines[-1].body.endswith(
            f" BATCH -{lines[0].body.partition(' BATCH +')[2].partition(' ')[0]}"
        )
        if len(lines) == 1 or one or "batch" not in self.caps:
            return dump([lines[0].tagged(label), *lines[1:]])
        name = self.batch()
        inner = answers.inside(name, lines)
        opening = self.line(f"BATCH +{name} labeled-response", tags=(label,))
        return dump([opening, *inner, self.line(f"BATCH -{name}")])

    def reply(self, call: Call, reply: Reply) -> bytes:
        """An answer: its numerics, or nothing where an event says it all."""
        asked = call.ref
        assert isinstance(asked, Asked)
        seq = reply.fields.get("seq")
        awaits = call.verb in ECHOED or (call.verb in SPOKEN and self.echo)
        if asked.label is not None and seq and awaits and reply.name != "asked" and not asked.service:
            self._awaited[seq] = asked
            asked.lines += answers.answered(self, asked, call, reply)
            return b""
        return self.answer(asked, answers.answered(self, asked, call, reply))

    def refuse(self, ref: Any, refusal: Refusal, ask: Ask | None = None) -> bytes:
        """A numeric where IRC has one, else a standard reply with our own code."""
        if refusal.code in terms.ENDING:
            return dump([Line(f"ERROR :{' '.join(texts.refusal(refusal.code, refusal.fields))}")])
        asked = ref if isinstance(ref, Asked) else self.silent()
        return self.answer(asked, answers.refused(self, asked, refusal, ask))

    def notice(self, name: str, fields: Mapping[str, Any]) -> bytes:
        """What the server says by itself."""
        if name == "monitor":
            return dump(presence.changed(self, fields["people"]))
        lines = texts.reply(name, fields)
        if name in ("closing", "logged_out"):
            return dump([Line(f"ERROR :{text}") for text in lines])
        return dump([self.by_service(text) for text in lines])

    def here(self, room: str, seq: int) -> None:
        """The client is in a group from this event on: who else is, is told behind it, unless that is under way."""
        if seq != self.entering:
            self.wants.append(Call("roster", {}, room, ref=self.silent("JOIN", room)))

    def now(self, name: str, fields: Mapping[str, Any], room: Room, viewer: int) -> bytes:
        """Who is away, who is typing, what was read: to who has negotiated that."""
        return dump(presence.now(self, name, fields, room, viewer))

    # -- events out ---------------------------------------------------------------------------------------------------

    def events(self, events: Sequence[Event], room: Room, viewer: int, current: bool) -> list[bytes]:
        """Each event's lines."""
        found = []
        for event in events:
            if event.seq <= self.told and viewer:
                found.append(dump(missed(self, event, room, viewer)))
                continue
            lines = live(self, event, room, viewer)
            asked = self._awaited.get(event.seq) if self._awaited else None
            if asked is None:
                found.append(dump(lines))
                continue
            del self._awaited[event.seq]
            found.append(self.answer(asked, lines))
        return found
