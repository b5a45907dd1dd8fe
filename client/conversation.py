"""From a typed line to what is to be done, and from an answer to what is to be shown: the whole dialogue, no socket.

The rule: the server decides what is missing and what is allowed, the table says how a line reads, the catalogue what a
person is told. Here stands only whose turn it is: the door, an open question, or talking.

A question is a value: the call that lacks something, and the question that the server's refusal held. The answer
repeats the call with it. A line that begins with `/` or `@#@` cancels a question (never at a password), so does an
empty line (which ends a list).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from chatd import texts
from chatd.errors import Refusal
from chatd.limits import Limits
from client import sentences
from client.commands import OURS, SECRET, Commands, about_room, bind
from client.outbox import Entry, new_mid
from client.view import Place, View

ASK_AGAIN: Final = {"BAD_PASSWORD": "password", "NAME_TAKEN": "name", "BAD_NAME": "name", "BAD_CODE": "code"}
"""After these refusals of an answer to a question, the question is put again; its third miss ends it all."""
MISSES: Final = 3
ENTERED: Final = frozenset({"now_in", "created", "autocreated"})
OUT: Final = frozenset({"logged_out", "logged_out_all", "account_deleted"})
PATHS: Final = {"send": "Path: ", "image": "Path to image: "}
"""Commands of the client that ask for a path (FEATURES rows 14 and 26)."""
_MARKED: Final = re.compile(r"@#@(.*?)@#@\s*(.*)", re.DOTALL)
_TO: Final = re.compile(r"@([^\s@#]+)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Call:
    """A call to the server. `asked`: the fields that questions brought; `text`: as typed, never with a password."""

    do: str
    fields: dict[str, Any]
    room: int | str | None = None
    asked: tuple[str, ...] = ()
    confirmed: bool = False
    mid: str | None = None
    text: str = ""

    def wire(self) -> dict[str, Any]:
        """As the json dialect wants it."""
        sent: dict[str, Any] = {"do": self.do, **self.fields, "confirmed": self.confirmed, "asked": list(self.asked)}
        if self.room is not None:
            sent["room"] = self.room
        if self.mid is not None:
            sent["mid"] = self.mid
        return sent


@dataclass(frozen=True, slots=True)
class Queue:
    """A line for the outbox."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Show:
    """Rows for the screen. `bad`: a refusal."""

    rows: tuple[str, ...]
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """Lines of the past for the screen, as `history` and `search` answer them; `lead` stands before them."""

    lines: Sequence[Mapping[str, Any]]
    lead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Local:
    """Something that only the client can do: its own commands, and `quit`."""

    do: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Enter:
    """This room is current now."""

    place: Place


@dataclass(frozen=True, slots=True)
class In:
    """Logged in: what the server told."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Out:
    """Logged out. `gone`: the account is deleted."""

    gone: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    """A new account: it is to have keys."""

    fields: Mapping[str, Any]


Action = Call | Queue | Show | Told | Local | Enter | In | Out | Begin


@dataclass(frozen=True, slots=True)
class Question:
    """What is missing, and what to call with it."""

    call: Call
    field: str
    text: str
    secret: bool = False
    many: bool = False


class Conversation:
    """Whose turn it is. `says_where`: there is no standing prompt, so `Now in #ops.` is to be said."""

    def __init__(self, view: View, commands: Commands, *, says_where: bool = False) -> None:
        self.view = view
        self.commands = commands
        self.says_where = says_where
        self.limit = Limits().message_characters
        self.inside = False
        """Somebody is logged in here, connected or not."""
        self.online = False
        """The server hears us."""
        self.question: Question | None = None
        self._from_door = False
        self._misses = 0
        """How many answers were refused, of the question that `_missed` names."""
        self._missed = ""
        self._paged: tuple[int, int] | None = None
        """The room whose past was read last, and the seq before which it goes on."""
        self._marked_dm = False
        """The last line but answers was an older system's for a personal chat: `-1` asks for an image now (row 14)."""

    # -- the prompt ---------------------------------------------------------------------------------------------------

    @property
    def secret(self) -> bool:
        """Whether what is typed now must not be seen or remembered."""
        return self.question is not None and self.question.secret

    @property
    def prompt(self) -> str:
        """What stands before the line being typed."""
        if self.question is not None:
            return self.question.text
        if not self.inside:
            return texts.DOOR if self.online else ""
        place = self.view.place
        if place is None:
            return "> "
        role = "(admin)" if place.admin else ""
        seal = " [e2e]" if place.sealed else " [open]"
        return f"{texts.clean(place.name)}{role}{seal}> "

    # -- lines in -----------------------------------------------------------------------------------------------------

    def typed(self, line: str, at: int) -> list[Action]:
        """What a typed line asks for. `at`: now, in ms."""
        try:
            return self._typed(line, at)
        except _Said as said:
            return [Show((said.text,), bad=True)]
        except Refusal as refusal:
            return [Show(tuple(texts.refusal(refusal.code, refusal.fields)), bad=True)]

    def said(self, text: str, at: int) -> list[Action]:
        """A text for the current room, whatever it begins with."""
        try:
            return self._say(text, at)
        except Refusal as refusal:
            return [Show(tuple(texts.refusal(refusal.code, refusal.fields)), bad=True)]

    def _typed(self, line: str, at: int) -> list[Action]:
        if self.question is not None:
            question, self.question = self.question, None
            cancels = line.strip().startswith(("/", "@#@"))
            if question.field == "path":
                cancels = cancels and (line.strip().startswith("@#@") or self.commands.knows(line.split()[0]))
            if question.secret or not cancels:
                return self._answer(question, line, at)
            line = line.strip()
            self._misses = 0
        if not line.strip():
            return []
        marked, self._marked_dm = self._marked_dm, False
        if marked and line.strip() == "-1" and self.inside:
            return self._command("/image", "", line, at)
        if line.startswith("/") and not line.startswith("//"):
            self._from_door = False
            name, _, rest = line.partition(" ")
            return self._command(name, rest, line, at)
        if (match := _MARKED.fullmatch(line.strip())) is not None:
            return self._marked(match[1], match[2], at)
        if not self.inside:
            return self._door(line)
        if (match := _TO.fullmatch(line)) is not None:
            return self._command("/msg", f"{match[1]} {match[2] or ''}", line, at)
        return self._say(line[1:] if line.startswith("//") else line, at)

    def _door(self, line: str) -> list[Action]:
        """At the door: l, r, c."""
        verb = {"l": "login", "r": "register", "c": "quit"}.get(line.strip().lower())
        if verb == "quit":
            return [Local("quit")]
        if not self.online:
            return [Show((sentences.NOT_NOW,), bad=True)]
        if verb is None:
            return [Show((texts.DOOR_AGAIN,), bad=True)]
        self._from_door = True
        return [Call(verb, {})]

    def _marked(self, name: str, rest: str, at: int) -> list[Action]:
        """The `@#@…@#@` lines of an older system."""
        from chatd.wire.plain import MARKED  # seldom needed, and it brings much

        verb = MARKED.get(name.strip().lower())
        if verb is None:
            raise Refusal("UNKNOWN_CMD", command=f"@#@{name}@#@", near="")
        self._marked_dm = verb == "dm"
        return self._command(f"/{verb}", rest, f"@#@{name}@#@ {rest}", at)

    def _command(self, name: str, rest: str, line: str, at: int) -> list[Action]:
        if not self.commands.known and not self.commands.knows(name):
            return [Show((sentences.NOT_NOW,), bad=True)]
        row = self.commands.lookup(name)
        fields = bind(row, rest)
        verb = row["do"]
        if SECRET & fields.keys():
            self._no_secrets(verb, fields)
        if self.commands.is_local(row) or verb == "quit":
            return self._local(row, fields)
        if verb == "help":
            return [self._help(fields)]
        if verb in ("login", "register") and self.inside:
            raise Refusal("LOGGED_IN", name=self.view.me)
        if row["needs"] != "nothing" and not self.inside:
            raise Refusal("NOT_LOGGED_IN")
        if verb == "close":
            return self._close()
        if verb == "say":
            where = self._named(fields.get("room"))
            if not where or fields.get("text"):
                return self._say(fields.get("text", ""), at, where)
            self.question = Question(Call("say", {}, where), "text", texts.prompt("say.text", {}))
            return []
        if verb == "msg" and fields.get("text"):
            return [self._queue("msg", "", fields["text"], at, {"user": fields["user"]})]
        if not self.online:
            return [Show((sentences.NOT_NOW,), bad=True)]
        room: int | str | None = fields.pop("room", None) if about_room(row) else None
        if about_room(row) and room is None:
            if not self.view.current:
                raise Refusal("NO_ROOM", sends=False)
            room = self.view.current
        paged, self._paged = self._paged, None
        if verb == "history" and not fields and paged is not None and paged[0] == room:
            fields = {"before": paged[1]}  # once more: what is older
        mid = new_mid(at) if row["needs"] != "nothing" else None
        return [Call(verb, fields, room, mid=mid, text=line)]

    def _local(self, row: Mapping[str, Any], fields: dict[str, Any]) -> list[Action]:
        """A command of the client: asked for what it lacks, as the server would."""
        if row["needs"] != "nothing" and not self.inside:
            raise Refusal("NOT_LOGGED_IN")
        if about_room(row):
            named = fields.get("room")
            if row["needs"] != "heard" or named is None or self.view.find(named) is not None:
                fields["room"] = self._named(named)
            if not fields["room"]:
                raise Refusal("NO_ROOM", sends=row["do"] in PATHS)
        for arg in row["args"]:
            if arg["required"] and arg["name"] not in fields:
                raise Refusal("BAD_USAGE", usage=row["usage"])
        verb = row["do"]
        if verb in PATHS and "path" not in fields:
            self.question = Question(Call(verb, fields), "path", PATHS[verb])
            return []
        return [Local(verb, fields)]

    def ask_first(self, do: str, fields: dict[str, Any], text: str) -> bool:
        """Have a command of the client confirmed before it is done; False where another question is open."""
        if self.question is not None:
            return False
        self.question = Question(Call(do, fields), "confirmed", text)
        return True

    def _no_secrets(self, verb: str, fields: Mapping[str, Any]) -> None:
        name = fields.get("name") or ""
        text = texts.refusal("SECRET_IN_LINE", {"name": name})[0].replace("/login", f"/{verb}").rstrip()
        raise _Said(text)

    def _help(self, fields: Mapping[str, Any]) -> Show:
        if "command" in fields:
            row = self.commands.lookup(f"/{fields['command'].removeprefix('/')}")
            return Show(tuple(texts.help_for(row)))
        return Show(tuple(texts.help_page(self.commands.rows)))

    def _close(self) -> list[Action]:
        place = self.view.place
        if place is None:
            raise Refusal("NO_ROOM", sends=False)
        self.view.current = 0
        return [Show(tuple(texts.reply("closed_view", {"room": place.name})))]

    def _named(self, name: str | None) -> int:
        """The room of a line: the one named, else the current one."""
        if name is None:
            return self.view.current
        place = self.view.find(name)
        if place is None:
            raise Refusal("NOT_MEMBER", room=name)
        return place.id

    def _say(self, text: str, at: int, room: int | None = None) -> list[Action]:
        room = self.view.current if room is None else room
        if not room:
            raise Refusal("NO_ROOM", sends=True)
        return [self._queue("say", room, text, at, {})]

    def _queue(self, do: str, room: int | str, text: str, at: int, fields: dict[str, Any]) -> Queue:
        if len(text) > self.limit:
            raise Refusal("TOO_LONG", size=len(text), limit=self.limit)
        return Queue(Entry(new_mid(at), self.view.account, do, room, text, at, fields))

    # -- questions ----------------------------------------------------------------------------------------------------

    def _answer(self, question: Question, line: str, at: int) -> list[Action]:
        return [
            Local(action.do, {**action.fields, "confirmed": action.confirmed})
            if isinstance(action, Call) and action.do in OURS
            else action
            for action in self._answered(question, line, at)
        ]

    def _answered(self, question: Question, line: str, at: int) -> list[Action]:
        call, text = question.call, line if question.secret else line.strip()
        if question.field == "confirmed":
            if text.lower() in ("y", "yes"):
                return [replace(call, confirmed=True)]
            return [Show(tuple(texts.reply("not_done", {})))]
        if question.many:
            words = [] if text == "-1" else text.replace(",", " ").split()
            held = [*call.fields.get(question.field, ()), *(word for word in words if word != "-1")]
            call = replace(call, fields={**call.fields, question.field: held})
            if words and "-1" not in words:
                self.question = replace(question, call=call)
                return []
            return [replace(call, asked=(*call.asked, question.field))]
        if not text:
            return self._cancelled()
        if self.inside:
            self._from_door = False
        fields = {**call.fields, question.field: text}
        room = call.room
        if call.do == "say" and question.field == "text":
            return self._say(text, at, room if isinstance(room, int) else None)
        if call.do == "msg" and question.field == "text":  # as if typed in the line: sealed, if it can be
            return [self._queue("msg", "", text, at, {"user": fields["user"]})]
        return [replace(call, fields=fields, asked=(*call.asked, question.field))]

    def _cancelled(self) -> list[Action]:
        """An empty line answered a question: nothing is asked any more."""
        self._misses = 0
        if self.inside and self._from_door:
            self._from_door = False
            return [Show((sentences.HINT,))]
        return []

    # -- answers ------------------------------------------------------------------------------------------------------

    def refused(self, call: Call, error: Mapping[str, Any]) -> list[Action]:
        """The server has refused a call: show why, or put the question that the refusal holds."""
        ask = error.get("ask")
        if ask is not None:
            self.question = Question(call, ask["field"], texts.clean(ask["text"]), ask["secret"], ask["many"])
            return [Show(tuple(ask["lead"]))] if ask["lead"] else []
        rows = [error["text"], *error.get("help", "").splitlines()]
        shown = Show(tuple(rows), bad=True)
        wrong = ASK_AGAIN.get(error["code"])
        if wrong == "password" and "new" in call.fields:
            wrong = "new"
        if wrong is None or wrong not in call.asked:
            self._misses = 0
            return [shown]
        if wrong != self._missed:
            self._missed, self._misses = wrong, 0
        self._misses += 1
        if self._misses >= MISSES:
            return [shown, *self._cancelled()]
        dropped = {wrong, "again", *(("password",) if wrong == "name" else ())}
        fields = {name: value for name, value in call.fields.items() if name not in dropped}
        asked = tuple(name for name in call.asked if name not in dropped)
        return [shown, replace(call, fields=fields, asked=asked)]

    def answered(self, call: Call, fields: Mapping[str, Any], sentence: str) -> list[Action]:
        """The server has done a call. `sentence` names what a person is told ("" for nothing)."""
        self._misses = 0
        if sentence == "welcome":
            return self._welcomed(fields, registered=call.do == "register")
        actions: list[Action] = []
        if sentence == "whoami":
            place = self.view.place
            fields = {**fields, "room": place.name if place else "", "role": place.role if place else ""}
        if sentence in ("history", "found") and fields["lines"]:
            older = sentence == "history" and fields["more"]
            if older:
                self._paged = (call.room if isinstance(call.room, int) else 0, fields["lines"][0]["seq"])
            return [Told(fields["lines"], (sentences.OLDER,) if older else ())]
        rows = self._rows(sentence, fields)
        if sentence in ENTERED:
            rows = rows if self.says_where else [row for row in rows if row != _where(fields)]
            actions.append(Enter(self._entered(fields)))
        if rows:
            actions.insert(0, Show(tuple(rows)))
        if sentence in OUT:
            actions.append(Out(sentence == "account_deleted"))
        return actions

    def _rows(self, sentence: str, fields: Mapping[str, Any]) -> Sequence[str]:
        if not sentence or (sentence not in texts.REPLIES and sentence not in ("history", "found")):
            return []  # an answer of a newer server: its events say the rest
        return texts.reply(sentence, fields)

    def _entered(self, fields: Mapping[str, Any]) -> Place:
        name = fields["room"]
        kind = "direct" if name.startswith("@") else "group"
        return self.view.enter(fields["room_id"], name, kind, fields["role"], bool(fields.get("sealed")))

    def _welcomed(self, fields: Mapping[str, Any], *, registered: bool) -> list[Action]:
        """Somebody is in. Whoever has just registered is given keys, and the recovery code, behind the first row."""
        self.inside = True
        rows = tuple(self._rows("welcome", fields))
        actions: list[Action] = [In(fields), Show(rows)]
        if registered:
            actions = [In(fields), Show(rows[:1]), Begin(fields), Show(rows[1:])]
        if not self._from_door:
            return actions
        if any(room["kind"] == "group" for room in fields["rooms"]):
            self._from_door = False
            return [*actions, Show((sentences.HINT,))]
        self.question = Question(Call("join", {}), "room", texts.prompt("join.room", {}))
        return actions

    def resumed(self) -> None:
        """Somebody is in by a token: nothing is to be said."""
        self.inside = True

    def left(self) -> None:
        """Nobody is in any more."""
        self.inside = self._from_door = False
        self.question = None

    def cut(self) -> list[Action]:
        """The connection has ended: a question whose call cannot go on is over."""
        if self.question is not None and not self.inside:
            self.question = None
        return []


class _Said(Refusal):
    """A refusal whose sentence is made here."""

    def __init__(self, text: str) -> None:
        super().__init__("SECRET_IN_LINE", name="")
        self.text = text


def _where(fields: Mapping[str, Any]) -> str:
    return texts.now_in(texts.clean(fields["room"]), fields["role"])
