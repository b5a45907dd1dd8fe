"""Answers and refusals as IRC gives them: numerics where it has them, else standard replies and notices.

The rule: a numeric says what the answer's fields say, never more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from chatd import texts
from chatd.errors import Refusal
from chatd.model import Ask, Call, Door, Event, Kind, Reply, Room
from chatd.wire import ircevents, ircnames
from chatd.wire.ircline import LINE, Line, packed

if TYPE_CHECKING:
    from chatd.wire.irc import Asked, Irc

Fields = Mapping[str, Any]
Answer = Callable[["Irc", "Asked", Call, Fields], list[Line]]
GUEST: Final[Fields] = {"guest": True}
ACCOUNT: Final[Fields] = {}
"""What is kept of the greeting, one for all connections."""
WHO_FIELDS: Final = "tcuihsnfdlaor"
"""The fields of WHOX, in the order in which they are sent."""


def answered(irc: Irc, asked: Asked, call: Call, reply: Reply) -> list[Line]:
    """The lines of an answer."""
    if asked.service:
        return [irc.by_service(text) for text in texts.reply(reply.name, reply.fields)]
    show = ANSWERS.get(reply.name)
    if show is not None:
        return show(irc, asked, call, reply.fields)
    return [irc.by_service(text) for text in texts.reply(reply.name, reply.fields)]


# -- coming in --------------------------------------------------------------------------------------------------------


def _welcome(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """Registration is complete: who the client is, what there is, and the groups it is in."""
    if "name" not in fields:
        return []
    irc.registered = True
    irc.nick = fields["name"]
    irc.told = fields["seq"]
    irc.password = irc.sasl = None
    irc.token = ""
    guest = bool(fields.get("guest"))
    nick, server, number = irc.nick, irc.server, irc.numbered
    lines = [
        number("001", [], f"Welcome to {server}, {nick}"),
        number("002", [], f"Your host is {server}, running {irc.software}"),
        number("003", [], "This server keeps what is said: what you miss waits for you"),
        number("004", [server, irc.software, "o", f"Abi{ircnames.ALWAYS}o"]),
        *irc.isupport(),
        *_lusers(irc, irc.census),
        *irc.motd(),
    ]
    irc.census = GUEST if guest else ACCOUNT
    extended = f" {irc.account_word} :{nick}" if irc.has("extended-join") else ""
    for room in fields["rooms"]:
        if room["kind"] == Kind.GROUP:
            lines.append(irc.line(f"JOIN {room['room']}{extended}", source=nick))
            irc.wants.append(Call("roster", {}, room["room_id"], ref=irc.silent("JOIN", room["room"])))
    if fields["missed"] and (fields["long_absence"] or irc.has("draft/chathistory")):
        lines.append(irc.by_service(texts.away_summary(fields["missed"])))
    lines += [irc.by_service(texts.asks(each["name"], each["room"], False)) for each in fields["requests"]]
    return lines


def _vouched(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """SASL or REGISTER went well: the client comes in with this once it has said the rest."""
    irc.token = fields["token"]
    name = fields["name"]
    mask = f"{irc.nick or '*'}!{name}@{irc.server}"
    logged_in = irc.line(f"900 {irc.me} {mask} {name} :You are now logged in as {name}")
    if asked.command == "REGISTER":
        return [irc.line(f"REGISTER SUCCESS {name} :Account {name} is registered"), logged_in, *_retry(irc)]
    return [logged_in, irc.numbered("903", [], "SASL authentication successful")]


def _retry(irc: Irc) -> list[Line]:
    """A client that had nothing to come in with has it now."""
    if irc.nick and irc.user and not irc.negotiating:
        held = irc.silent("CONNECT")
        irc.wants += [
            Call("census", {}, ref=held),
            Call("hello", {"token": irc.token, "table": "no", "client": "irc"}, ref=held),
        ]
    return []


def _census(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    if asked.command == "CONNECT":
        irc.census = fields
        return []
    return _lusers(irc, fields)


def _lusers(irc: Irc, fields: Fields) -> list[Line]:
    online = max(fields.get("online", 0), 1)
    most = max(fields.get("accounts", 0), online)
    return [
        irc.numbered("251", [], f"There are {online} users and 0 invisible on {fields.get('nodes', 1)} servers"),
        irc.numbered("252", ["0"], "operator(s) online"),
        irc.numbered("254", [str(fields.get("groups", 0))], "channels formed"),
        irc.numbered("255", [], f"I have {online} clients and 0 servers"),
        irc.numbered("265", [str(online), str(most)], f"Current local users {online}, max {most}"),
        irc.numbered("266", [str(online), str(most)], f"Current global users {online}, max {most}"),
    ]


def _bye(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [Line(f"ERROR :Closing link: ({irc.farewell or 'bye'})")]


def _logged_out(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """A connection is one login: without it, it ends."""
    irc.wants.append(Call("quit", {}, ref=irc.silent()))
    return []


def _pong(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [irc.line(f"PONG {irc.server} :{fields['token']}")]


# -- groups -----------------------------------------------------------------------------------------------------------


def _now_in(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """Who is there is told behind the event that says so; to who is in already, again."""
    if call.verb != "join":
        return []
    asked.left += 1
    irc.wants.append(Call("roster", {}, fields["room_id"], ref=asked))
    if "seq" in fields:
        irc.entering = fields["seq"]
        return []
    extended = f" {irc.account_word} :{irc.nick}" if irc.has("extended-join") else ""
    return [irc.line(f"JOIN {fields['room']}{extended}", source=irc.nick)]


def _asked(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    found = texts.reply("asked", fields)
    if irc.has("standard-replies"):
        return [irc.line(f"NOTE JOIN PENDING {fields['room']} :{found[0]}")]
    return [irc.by_service(text) for text in found]


def _done(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """The event says it all, except where IRC has a word for it."""
    if asked.command == "INVITE":
        return [irc.numbered("341", [asked.params[0], asked.params[1]])]
    if "away" in fields and asked.command == "PRIVMSG":
        return [irc.numbered("301", [fields["room"][1:]], fields["away"])]
    return []


def _roster(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    room = fields["room"]
    match asked.command:
        case "WHO":
            return _who(irc, asked, room, fields["members"])
        case "MODE":
            modes = ircnames.ALWAYS + ircnames.DOOR_MODES[Door(fields["door"])]
            return [irc.numbered("324", [room, f"+{modes}"])]
    lines = []
    if asked.command == "JOIN" and fields["topic"]:
        lines.append(irc.numbered("332", [room], fields["topic"]))
    names = []
    for member in fields["members"]:
        name = member["name"]
        prefix = "@" if member["role"] in ("owner", "admin") else ""
        names.append(f"{prefix}{name}!{name}@{irc.server}" if irc.has("userhost-in-names") else prefix + name)
    symbol = "@" if fields["door"] == Door.INVITE else "="
    if room.startswith("#"):
        head = len(f":{irc.server} 353 {irc.me} {symbol} {room} :")
        lines += [irc.numbered("353", [symbol, room], part) for part in packed(names, LINE - 2 - head)]
    return [*lines, irc.numbered("366", [room], "End of /NAMES list")]


def _who(irc: Irc, asked: Asked, room: str, members: list[dict[str, Any]]) -> list[Line]:
    """WHO of a group or a person, by numeric or, where fields are named, by WHOX."""
    wanted = asked.params[1] if len(asked.params) > 1 else ""
    lines = []
    for member in members:
        gone = member.get("away") is not None or not member["online"]
        flags = ("G" if gone else "H") + ("@" if member.get("role") in ("owner", "admin") else "")
        if "%" in wanted:
            lines.append(_whox(irc, wanted, room, member, flags))
        else:
            name = member["name"]
            lines.append(irc.numbered("352", [room, name, irc.server, irc.server, name, flags], f"0 {name}"))
    return [*lines, irc.numbered("315", [asked.params[0] or "*"], "End of WHO list")]


def _whox(irc: Irc, wanted: str, room: str, member: Mapping[str, Any], flags: str) -> Line:
    letters, _, token = wanted.partition("%")[2].partition(",")
    name = member["name"]
    account = "0" if member.get("account") in irc.guests else name
    values = {
        "t": token[:3] or "0",
        "c": room,
        "u": name,
        "i": "255.255.255.255",
        "h": irc.server,
        "s": irc.server,
        "n": name,
        "f": flags,
        "d": "0",
        "l": "0",
        "a": account,
        "o": "n/a",
        "r": f":{name}",
    }
    words = " ".join(values[letter] for letter in WHO_FIELDS if letter in letters)
    return irc.line(f"354 {irc.me} {words}")


def _topic(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    if not fields["topic"]:
        return [irc.numbered("331", [fields["room"]], "No topic is set")]
    return [irc.numbered("332", [fields["room"]], fields["topic"])]


def _directory(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    wanted = {name.lower() for name in asked.params[0].split(",") if name.startswith("#")} if asked.params else set()
    lines = [irc.numbered("321", ["Channel"], "Users  Name")]
    lines += [
        irc.numbered("322", [room["room"], str(room["members"])], room["topic"])
        for room in fields["rooms"]
        if not wanted or room["room"] in wanted
    ]
    return [*lines, irc.numbered("323", [], "End of /LIST")]


def _bans(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    room = fields["room"]
    lines = [irc.numbered("367", [room, f"{entry['name']}!*@*", entry["by"]]) for entry in fields["bans"]]
    return [*lines, irc.numbered("368", [room], "End of channel ban list")]


def _door(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """It was so already."""
    return []


# -- people -----------------------------------------------------------------------------------------------------------


def _whois(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    name = fields["name"]
    if asked.command in ("ISON", "USERHOST"):
        if asked.command == "USERHOST":
            here = "+" if fields["online"] and not fields["away"] else "-"
            asked.gathered.append(f"{name}={here}{name}@{irc.server}")
        elif fields["online"]:
            asked.gathered.append(name)
        return _each(irc, asked)
    if asked.command == "WHO":
        return _who(irc, asked, "*", [dict(fields)])
    lines = [irc.numbered("311", [name, name, irc.server, "*"], name)]
    roles = fields.get("roles", {})
    shown = [f"{'@' if roles.get(room) in ('owner', 'admin') else ''}{room}" for room in fields["groups"]]
    lines += [irc.numbered("319", [name], part) for part in packed(shown, 400)]
    lines.append(irc.numbered("312", [name, irc.server], irc.software))
    if fields["away"] is not None or not fields["online"]:
        lines.append(irc.numbered("301", [name], fields["away"] or "offline: reads it later"))
    if fields["account"] not in irc.guests:
        lines.append(irc.numbered("330", [name, name], "is logged in as"))
    return [*lines, irc.numbered("318", [asked.params[0]], "End of /WHOIS list")]


def _each(irc: Irc, asked: Asked) -> list[Line]:
    """The one line that answers about several people, once all are looked up."""
    asked.people -= 1
    if asked.people > 0:
        return []
    return [irc.numbered("303" if asked.command == "ISON" else "302", [], " ".join(asked.gathered))]


def _away(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [irc.numbered("306", [], "You have been marked as being away")]


def _back(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [irc.numbered("305", [], "You are no longer marked as being away")]


def _oper(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [
        irc.numbered("381", [], "You are now an IRC operator"),
        irc.line(f"MODE {irc.nick} :+o", source=irc.nick),
    ]


# -- the past ---------------------------------------------------------------------------------------------------------


def _past(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """A batch of type chathistory."""
    name = fields["room"]
    direct = name.startswith("@")
    room = Room(fields["room_id"], Kind.DIRECT if direct else Kind.GROUP, name, False)
    lines: list[Line] = []
    for held in fields["events"]:
        event = Event(**held)
        mine = event.by if direct and event.by_name == irc.nick else -1
        if event.kind == "say":
            lines += ircevents.said(irc, event, room, mine)
        else:
            lines += ircevents.live(irc, event, room, -1)
    return batched(irc, f"chathistory {name.removeprefix('@')}", lines)


def batched(irc: Irc, what: str, lines: list[Line]) -> list[Line]:
    """Lines as one batch, where the client knows batches."""
    if not irc.has("batch"):
        return lines
    batch = irc.batch()
    return [irc.line(f"BATCH +{batch} {what}"), *inside(batch, lines), irc.line(f"BATCH -{batch}")]


def inside(batch: str, lines: Iterable[Line]) -> list[Line]:
    """Lines of a batch; those that are in one inside it already stay there."""
    return [line if any(tag == "batch" for tag, _ in line.tags) else line.tagged(("batch", batch)) for line in lines]


def _talks(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    lines = [
        irc.line(f"CHATHISTORY TARGETS {talk['room'].removeprefix('@')} {ircevents.moment(talk['at'])}")
        for talk in fields["rooms"]
    ]
    return batched(irc, "draft/chathistory-targets", lines)


ANSWERS: Final[dict[str, Answer]] = {
    "welcome": _welcome,
    "hello": _welcome,
    "vouched": _vouched,
    "census": _census,
    "bye": _bye,
    "logged_out": _logged_out,
    "logged_out_all": _logged_out,
    "pong": _pong,
    "now_in": _now_in,
    "autocreated": _now_in,
    "asked": _asked,
    "done": _done,
    "again": _done,
    "roster": _roster,
    "topic": _topic,
    "directory": _directory,
    "bans": _bans,
    "door": _door,
    "whois": _whois,
    "away": _away,
    "back": _back,
    "oper": _oper,
    "past": _past,
    "talks": _talks,
}
"""By name of the reply; the others are notices of what a person would read."""


# -- refusals ---------------------------------------------------------------------------------------------------------


def refused(irc: Irc, asked: Asked, refusal: Refusal, ask: Ask | None) -> list[Line]:
    """A refusal: the numeric that IRC has for it, else FAIL with our own code."""
    code, fields, command = refusal.code, refusal.fields, asked.command
    found = texts.refusal(code, fields)
    if asked.service:
        if ask is not None:
            found = [texts.prompt(ask.prompt, ask.fields).strip(), *found]
        return [irc.by_service(text) for text in found]
    special = SPECIAL.get(command)
    if special is not None and (lines := special(irc, asked, code, fields, " ".join(found))) is not None:
        return lines
    numeric = ircnames.BY_COMMAND.get((command, code)) or ircnames.NUMERICS.get(code)
    if numeric is not None:
        number, params = numeric
        text = ircnames.PLAIN_WORDS.get(number, found[0])
        return [irc.numbered(number, params(fields, asked.params), text)]
    about = [str(fields["room"])] if fields.get("room") else asked.params[:1] if command not in SECRET else []
    irc.fail(held := irc.silent(command), code, [word for word in about if word], " ".join(found))
    return held.lines


SECRET: Final = frozenset({"PASS", "AUTHENTICATE", "REGISTER", "OPER", "CONNECT", "PRIVMSG", "NOTICE"})
"""Verbs whose first parameter is not repeated in a standard reply."""


def _refused_connect(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """Not in: a guest may take another name; whoever brought something that is not right is put out."""
    if code in ("NAME_TAKEN", "BAD_NAME"):
        nick, irc.nick = irc.nick, ""
        number = "433" if code == "NAME_TAKEN" else "432"
        return [irc.line(f"{number} * {nick} :{text}")]
    irc.token = ""
    irc.wants = [call for call in irc.wants if call.ref is not asked]
    irc.wants.append(Call("quit", {}, ref=irc.silent()))
    irc.farewell = text
    if code in ("BAD_LOGIN", "THROTTLED"):
        return [irc.numbered("464", [], text)]
    irc.fail(held := irc.silent("*"), code, [], text)
    return held.lines


def _refused_sasl(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    return [irc.numbered("904", [], text)]


def _refused_register(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    word = {"NAME_TAKEN": "ACCOUNT_EXISTS", "BAD_NAME": "BAD_ACCOUNT_NAME", "BAD_PASSWORD": "WEAK_PASSWORD"}.get(code)
    irc.fail(held := irc.silent("REGISTER"), word or "TEMPORARILY_UNAVAILABLE", asked.params[:1], text)
    return held.lines


def _refused_notice(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """A NOTICE is never answered, except where nothing can be said this way at all."""
    return None if code in ("E2E_ONLY", "RATE", "TOO_LONG") else []


def _refused_names(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code in ("NO_GROUP", "NOT_MEMBER", "BAD_NAME"):
        return [irc.numbered("366", [str(fields.get("room") or asked.params[0])], "End of /NAMES list")]
    return None


def _refused_joined(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """Nobody is told who is in a group that they have left meanwhile."""
    return [] if code == "NOT_MEMBER" else None


def _refused_who(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code in ("NO_USER", "NO_GROUP", "NOT_MEMBER", "BAD_NAME"):
        return [irc.numbered("315", [asked.params[0] or "*"], "End of WHO list")]
    return None


def _refused_whois(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code != "NO_USER":
        return None
    name = asked.params[0]
    return [
        irc.numbered("401", [name], ircnames.PLAIN_WORDS["401"]),
        irc.numbered("318", [name], "End of /WHOIS list"),
    ]


def _refused_each(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    return _each(irc, asked) if code == "NO_USER" else None


def _refused_mode(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """What is so already needs no word; and clients ask for the bans of every group they come to."""
    if code == "ONLY_ADMIN" and fields["command"] == "/bans":
        return [irc.numbered("368", [str(fields["room"])], "End of channel ban list")]
    return [] if code in ("SAME_ROLE", "NOT_BANNED", "IS_BANNED") else None


def _refused_history(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code in ("NO_USER", "NO_GROUP", "NOT_MEMBER", "BAD_NAME"):
        irc.fail(held := irc.silent("CHATHISTORY"), "INVALID_TARGET", asked.params[:2], text)
        return held.lines
    return None


SPECIAL: Final[dict[str, Callable[[Irc, Asked, str, Fields, str], list[Line] | None]]] = {
    "CONNECT": _refused_connect,
    "AUTHENTICATE": _refused_sasl,
    "REGISTER": _refused_register,
    "NOTICE": _refused_notice,
    "NAMES": _refused_names,
    "JOIN": _refused_joined,
    "WHO": _refused_who,
    "WHOIS": _refused_whois,
    "ISON": _refused_each,
    "USERHOST": _refused_each,
    "MODE": _refused_mode,
    "CHATHISTORY": _refused_history,
}
"""Verbs that refuse in their own way; None: as all others do."""
