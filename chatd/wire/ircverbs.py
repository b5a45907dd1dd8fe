"""IRC's verbs: what each line of a client asks for.

The rule: a verb checks the form of a line and says which calls it means; whether they may be done is decided where it
is decided for everybody. What can be answered at once is put into the answer.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatd import texts
from chatd.command import ALIASES, LONGEST_NAME, TABLE, bind
from chatd.errors import Refusal
from chatd.model import Call
from chatd.wire import ircnames
from chatd.wire.ircline import Line, packed

if TYPE_CHECKING:
    from chatd.wire.irc import Asked, Irc

ACTION: Final = re.compile("\x01ACTION (.*?)\x01?", re.DOTALL)
CHUNK: Final = 400
"""How much of a SASL answer one line holds."""
LONGEST_SASL: Final = 16 * CHUNK
REF: Final = re.compile(r"msgid=(\d{1,18})|timestamp=(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?)Z")
HERE_ALONE: Final = frozenset({"hello", "login", "register", "guest", "vanish", "quit", "ack", "ping"})
"""Commands of the table for which IRC has its own way."""

Run = Callable[["Irc", "Asked", list[str]], list[Call]]


class Verb(NamedTuple):
    """A verb: how many parameters it needs, and whether it works before registration is complete."""

    run: Run
    least: int
    early: bool


VERBS: Final[dict[str, Verb]] = {}


def verb(name: str, least: int = 0, *, early: bool = False) -> Callable[[Run], Run]:
    """Put a verb in the table."""

    def enter(run: Run) -> Run:
        VERBS[name] = Verb(run, least, early)
        return run

    return enter


def run(irc: Irc, asked: Asked) -> list[Call]:
    """The calls that a line means; what is answered at once is in `asked` already."""
    found = VERBS.get(asked.command)
    if found is None:
        return _ours(irc, asked)
    if not irc.registered and not found.early:
        irc.numeric(asked, "451", [], "You have not registered")
        return []
    params = asked.params
    if len(params) < found.least or any(not param for param in params[: found.least]):
        irc.numeric(asked, "461", [asked.command], "Not enough parameters")
        return []
    return found.run(irc, asked, params)


def _ours(irc: Irc, asked: Asked) -> list[Call]:
    """No verb of IRC: one of our own commands, by /quote."""
    name = asked.command.lower()
    if not irc.registered:
        irc.numeric(asked, "451", [], "You have not registered")
        return []
    if TABLE.get(ALIASES.get(name, name)) is None or ALIASES.get(name, name) in HERE_ALONE:
        irc.numeric(asked, "421", [asked.command], "Unknown command")
        return []
    return _service(irc, asked, f"{name} {' '.join(asked.params)}")


def _service(irc: Irc, asked: Asked, text: str) -> list[Call]:
    """A command for the server, as in plain."""
    name, _, rest = text.strip().removeprefix("/").partition(" ")
    name = name.lower()
    asked.service = True
    if ALIASES.get(name, name) in HERE_ALONE:
        raise Refusal("UNKNOWN_CMD", command=f"/{name}", near="")
    return [bind(name or "help", rest)]


# -- registration -----------------------------------------------------------------------------------------------------


@verb("CAP", 1, early=True)
def cap(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """CAP LS, LIST, REQ, END."""
    sub = params[0].upper()
    rest = params[1] if len(params) > 1 else ""
    if sub == "LS":
        if not irc.registered:
            irc.negotiating = True
        version = int(rest) if rest.isascii() and rest.isdecimal() and len(rest) < 6 else 0
        if version >= 302:
            irc.version = 302
            irc.caps |= {"cap-notify"}
            words = [f"{name}={value}" if value else name for name, value in irc.offered().items()]
            *most, last = packed(words, 400)
            for line in most:
                asked.put(irc.line(f"CAP {irc.me} LS * :{line}"))
            asked.put(irc.line(f"CAP {irc.me} LS :{last}"))
        else:
            asked.put(irc.line(f"CAP {irc.me} LS :{' '.join(irc.offered())}"))
    elif sub == "LIST":
        asked.put(irc.line(f"CAP {irc.me} LIST :{' '.join(sorted(irc.caps))}"))
    elif sub == "REQ":
        if not irc.registered:
            irc.negotiating = True
        words = rest.split()
        wanted = {word for word in words if not word.startswith("-")}
        unwanted = {word[1:] for word in words if word.startswith("-")}
        fixed = {"cap-notify"} if irc.version >= 302 else set()
        good = wanted <= irc.offered().keys() and unwanted <= irc.offered().keys() - fixed
        asked.put(irc.line(f"CAP {irc.me} {'ACK' if good else 'NAK'} :{rest}"))
        if good:
            irc.negotiate((irc.caps | wanted) - unwanted)
    elif sub == "END":
        irc.negotiating = False
        return _registered(irc, asked)
    else:
        irc.numeric(asked, "410", [params[0]], "Invalid CAP command")
    return []


@verb("PASS", early=True)
def pass_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """`account:password`, or the server's own password."""
    if not params or not params[0]:
        irc.numeric(asked, "461", ["PASS"], "Not enough parameters")
    elif irc.registered:
        irc.numeric(asked, "462", [], "You may not reregister")
    else:
        irc.password = params[0]
    return []


@verb("NICK", early=True)
def nick(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """A nick is the account's name: who has an account has one already."""
    wanted = params[0] if params else ""
    if not wanted:
        irc.numeric(asked, "431", [], "No nickname given")
        return []
    if irc.registered:
        if wanted.lower() != irc.nick:
            irc.numeric(asked, "447", [], f"You are {irc.nick}: a nick here is the name of an account")
        return []
    if not re.fullmatch(r"[^\s:#&*?!@,$\x00-\x1f][^\s*?!@,\x00-\x1f]*", wanted):
        irc.numeric(asked, "432", [wanted], "Erroneous nickname")
        return []
    irc.nick = wanted[: 2 * LONGEST_NAME]
    return _registered(irc, asked)


@verb("USER", 4, early=True)
def user(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who the client's owner is on their machine means nothing here; but it completes the registration."""
    if irc.registered:
        irc.numeric(asked, "462", [], "You may not reregister")
        return []
    if not params[3]:
        irc.numeric(asked, "461", ["USER"], "Not enough parameters")
        return []
    irc.user = True
    return _registered(irc, asked)


def _registered(irc: Irc, asked: Asked) -> list[Call]:
    """Come in, once everything is there: by what SASL or REGISTER has brought, by PASS, or as a guest."""
    if irc.registered or irc.negotiating or not irc.nick or not irc.user:
        return []
    settings = irc.settings
    client = {"client": "irc"}
    name, colon, password = (irc.password or "").partition(":")
    door = settings.door_password
    opened = not door or irc.password == door
    if irc.token:
        call = Call("hello", {"token": irc.token, "table": "no", **client})
    elif colon and name and password and irc.password != door:
        call = Call("login", {"name": name, "password": password, **client})
    elif not opened:
        irc.numeric(asked, "464", [], "Password incorrect" if irc.password else "This server asks for a password")
        irc.wants.append(Call("quit", {}, ref=irc.silent()))
        return []
    elif settings.guests:
        call = Call("guest", {"name": irc.nick, **client})
    else:
        if irc.has("standard-replies"):
            asked.put(irc.line(f"FAIL * ACCOUNT_REQUIRED_TO_CONNECT :{texts.REFUSALS['NOT_LOGGED_IN']}"))
        irc.numeric(asked, "464", [], "Log in with SASL PLAIN, or with the server password name:password")
        asked.put(irc.line(f"NOTICE {irc.me} :No account yet? /quote REGISTER {irc.nick} * PASSWORD"))
        return []
    asked.command = "CONNECT"
    return [Call("census", {}), call]


@verb("AUTHENTICATE", 1, early=True)
def authenticate(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """SASL PLAIN."""
    word = params[0]
    if irc.registered or irc.token:
        irc.numeric(asked, "907", [], "You have already authenticated")
    elif word == "*":
        irc.sasl = None
        irc.numeric(asked, "906", [], "SASL authentication aborted")
    elif irc.sasl is None:
        if word.upper() == ircnames.MECHANISM:
            irc.sasl = ""
            asked.put(Line("AUTHENTICATE +"))
        else:
            irc.numeric(asked, "908", [ircnames.MECHANISM], "are available SASL mechanisms")
            irc.numeric(asked, "904", [], "SASL authentication failed")
    elif len(word) > CHUNK or len(irc.sasl) > LONGEST_SASL:
        irc.sasl = None
        irc.numeric(asked, "905", [], "SASL message too long")
    else:
        irc.sasl += "" if word == "+" else word
        if len(word) < CHUNK:
            held, irc.sasl = irc.sasl, None
            return _plain(irc, asked, held)
    return []


def _plain(irc: Irc, asked: Asked, held: str) -> list[Call]:
    """[authzid] NUL authcid NUL password (RFC 4616)."""
    try:
        other, name, password = base64.b64decode(held, validate=True).decode().split("\x00")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        other, name, password = "", "", ""
    if not name or not password or (other and other.lower() != name.lower()):
        irc.numeric(asked, "904", [], "SASL authentication failed")
        return []
    return [Call("login", {"name": name, "password": password, "client": "irc", "later": "yes"})]


@verb("REGISTER", 3, early=True)
def register(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """draft/account-registration. We keep no addresses: what is given as one is not looked at."""
    name = irc.nick if params[0] == "*" else params[0]
    if irc.registered or irc.token:
        irc.fail(asked, "ALREADY_AUTHENTICATED", [name or "*"], "You have an account already.")
        return []
    if not name:
        irc.fail(asked, "NEED_NICK", ["*"], "Say NICK first.")
        return []
    asked.params = [name, *params[1:]]
    return [Call("register", {"name": name, "password": params[2], "client": "irc", "later": "yes"})]


@verb("VERIFY", 2, early=True)
def verify(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Nothing is left to verify once an account is registered."""
    irc.fail(asked, "INVALID_CODE", [params[0]], "Accounts need no code here.")
    return []


@verb("PING", early=True)
def ping(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Answered behind everything that was accepted before it."""
    if not params or not params[0]:
        irc.numeric(asked, "409", [], "No origin specified")
        return []
    return [Call("ping", {"token": params[0]})]


@verb("PONG", early=True)
def pong(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """We never ask: TCP says who is gone."""
    return []


@verb("QUIT", early=True)
def quit_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Go. Accounts stay in their groups."""
    irc.farewell = params[0] if params else ""
    return [Call("quit", {})]


@verb("ERROR", early=True)
def error(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Servers say that, not clients."""
    return []


# -- groups -----------------------------------------------------------------------------------------------------------


def is_group(name: str) -> bool:
    """Whether this can only be the name of a group."""
    return name.startswith("#")


def _group(irc: Irc, asked: Asked, name: str) -> bool:
    """Whether a parameter names a group; if not, that is said."""
    if is_group(name):
        return True
    irc.numeric(asked, "403", [name or "*"], ircnames.PLAIN_WORDS["403"])
    return False


def _names(param: str) -> list[str]:
    return list(dict.fromkeys(name for name in param.split(",") if name))


@verb("JOIN", 1)
def join(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Go into groups, or ask to be let in; keys mean nothing here."""
    return [Call("join", {"room": name}) for name in _names(params[0]) if _group(irc, asked, name)]


@verb("PART", 1)
def part(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Leave groups."""
    args = {"reason": params[1]} if len(params) > 1 and params[1] else {}
    return [Call("leave", dict(args), name) for name in _names(params[0]) if _group(irc, asked, name)]


@verb("KICK", 2)
def kick(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Put people out of a group."""
    people = _names(params[1])
    if not _group(irc, asked, params[0]):
        return []
    if len(people) > ircnames.TARGETS:
        irc.numeric(asked, "407", [params[1]], f"At most {ircnames.TARGETS} targets")
        return []
    why = {"reason": params[2]} if len(params) > 2 and params[2] else {}
    return [Call("kick", {"user": name, **why}, params[0]) for name in people]


@verb("INVITE", 2)
def invite(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Put somebody into a group: here an invitation is not asked back."""
    if not _group(irc, asked, params[1]):
        return []
    return [Call("add", {"user": params[0]}, params[1])]


@verb("TOPIC", 1)
def topic(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Read or set what a group is about."""
    if not _group(irc, asked, params[0]):
        return []
    return [Call("topic", {"text": params[1] or "-"} if len(params) > 1 else {}, params[0])]


@verb("NAMES")
def names(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who is in a group that one is in."""
    if not params or not params[0]:
        irc.numeric(asked, "366", ["*"], "End of /NAMES list")
        return []
    return [Call("roster", {}, name) for name in _names(params[0]) if _group_or_end(irc, asked, name)]


def _group_or_end(irc: Irc, asked: Asked, name: str) -> bool:
    if is_group(name):
        return True
    irc.numeric(asked, "366", [name], "End of /NAMES list")
    return False


@verb("LIST")
def list_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """The groups there are."""
    return [Call("directory", {})]


@verb("MODE", 1)
def mode(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """What a group allows, and who has a say in it."""
    target, *rest = params
    if not is_group(target):
        if target.lower() != irc.nick:
            irc.numeric(asked, "502" if rest else "401", [] if rest else [target], "Cant change mode for other users")
        elif not rest:
            irc.numeric(asked, "221", ["+"])
        elif rest[0].strip("+-i"):
            irc.numeric(asked, "501", [], "Unknown MODE flag")
        return []
    if not rest or not rest[0].strip("+-"):
        return [Call("roster", {}, target)]
    return _mode_calls(irc, asked, target, rest[0], rest[1:])


def _mode_calls(irc: Irc, asked: Asked, room: str, letters: str, args: list[str]) -> list[Call]:
    calls: list[Call] = []
    adding = True
    waiting = list(args)
    for letter in letters:
        if letter in "+-":
            adding = letter == "+"
            continue
        if len(calls) >= ircnames.MODES:
            break
        if letter in "ob":
            if not waiting:
                if letter == "b":
                    calls.append(Call("bans", {}, room))
                else:
                    irc.numeric(asked, "696", [room, letter, "*"], "You must say whom")
                continue
            who = waiting.pop(0)
            name = who if letter == "o" else _banned(who)
            if name is None:
                irc.numeric(asked, "696", [room, "b", who], "Bans are of accounts: NAME, or NAME!*@*")
                continue
            call = {"o": ("promote", "demote"), "b": ("ban", "unban")}[letter][0 if adding else 1]
            calls.append(Call(call, {"user": name}, room))
        elif letter in ircnames.MODE_DOORS:
            door = ircnames.MODE_DOORS[letter] if adding else "open"
            calls.append(Call("door", {"door": str(door)}, room))
        elif letter in ircnames.ALWAYS:
            if not adding:
                irc.fail(asked, "MODE_FIXED", [room, letter], "That cannot be changed here.")
        else:
            irc.numeric(asked, "472", [letter], f"is unknown mode char to me for {room}")
    return calls


def _banned(mask: str) -> str | None:
    """The account that a mask names; None: it names more or something else."""
    name, _, rest = mask.partition("!")
    if not rest and "@" in name:
        return None
    if name in ("", "*") or set(name) & set("*?@$~:"):
        user, _, host = rest.partition("@")
        return user if name == "*" and user and not set(user) & set("*?") and host == "*" else None
    return name


# -- talking ----------------------------------------------------------------------------------------------------------


@verb("PRIVMSG")
def privmsg(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Say something to groups or people."""
    return _say(irc, asked, params, None)


@verb("NOTICE")
def notice(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Say something that is not to be answered."""
    return _say(irc, asked, params, "notice")


def _say(irc: Irc, asked: Asked, params: list[str], how: str | None) -> list[Call]:
    if irc.multiline is not None and asked.tags.get("batch") == irc.multiline.name:
        _more(irc, asked, params, irc.multiline)
        return []
    if not params or not params[0]:
        irc.numeric(asked, "411", [], f"No recipient given ({asked.command})")
        return []
    if len(params) < 2 or not params[1]:
        irc.numeric(asked, "412", [], "No text to send")
        return []
    targets = _names(params[0])
    if len(targets) > ircnames.TARGETS:
        irc.numeric(asked, "407", [params[0]], f"At most {ircnames.TARGETS} targets")
        return []
    text = params[1]
    if (match := ACTION.fullmatch(text)) is not None and how is None:
        text, how = match[1], "action"
    calls = []
    for target in targets:
        calls += say_to(irc, asked, target, text, how)
    return calls


def say_to(irc: Irc, asked: Asked, target: str, text: str, how: str | None) -> list[Call]:
    """The calls that say `text` to one target."""
    args: dict[str, Any] = {"text": text} if how is None else {"text": text, "how": how}
    if is_group(target):
        return [Call("say", args, target)]
    if target.lower() == ircnames.SERVICE:
        return _service(irc, asked, text)
    if target.lower() == irc.nick:
        irc.to_oneself(asked, text, how)
        return []
    return [Call("msg", {"user": target, **args})]


@dataclass(slots=True)
class Multiline:
    """A text of several lines that is under way (draft/multiline)."""

    name: str
    target: str
    label: str | None
    verb: str = ""
    text: str = ""
    lines: int = 0


@verb("BATCH", 1)
def batch(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """The beginning or the end of a text of several lines."""
    name, under_way = params[0][1:], irc.multiline
    if params[0].startswith("+") and len(params) > 2 and params[1] == "draft/multiline" and under_way is None:
        irc.multiline = Multiline(name, params[2], asked.label)
        asked.quiet()
        return []
    if params[0].startswith("-") and under_way is not None and under_way.name == name:
        irc.multiline = None
        asked.label = under_way.label
        if under_way.lines:
            asked.command = under_way.verb
            how = "notice" if under_way.verb == "NOTICE" else None
            return say_to(irc, asked, under_way.target, under_way.text, how)
    irc.multiline = None
    irc.fail(asked, "MULTILINE_INVALID", [], "That is no text of several lines.")
    return []


def _more(irc: Irc, asked: Asked, params: list[str], held: Multiline) -> None:
    """One more line of it."""
    verb, text = asked.command, params[1] if len(params) > 1 else ""
    joint = "" if not held.lines or "draft/multiline-concat" in asked.tags else "\n"
    held.text += joint + text
    held.lines += 1
    asked.label = held.label
    if not params or params[0].lower() != held.target.lower() or held.verb not in ("", verb):
        irc.fail(asked, "MULTILINE_INVALID_TARGET", [held.target], "One text has one target.")
    elif len(held.text.encode("utf-8", "replace")) > ircnames.MULTILINE_BYTES:
        irc.fail(asked, "MULTILINE_MAX_BYTES", [str(ircnames.MULTILINE_BYTES)], "That text is too long.")
    elif held.lines > ircnames.MULTILINE_LINES:
        irc.fail(asked, "MULTILINE_MAX_LINES", [str(ircnames.MULTILINE_LINES)], "That text has too many lines.")
    else:
        held.verb = verb
        asked.quiet()
        return
    irc.multiline = None


@verb("TAGMSG")
def tagmsg(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Client-only tags are not carried (CLIENTTAGDENY), so nothing is left of it."""
    if not params or not params[0]:
        irc.numeric(asked, "461", ["TAGMSG"], "Not enough parameters")
    return []


@verb("AWAY")
def away(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Say that one is away, or back."""
    return [Call("away", {"text": params[0]} if params and params[0] else {})]


# -- who --------------------------------------------------------------------------------------------------------------


@verb("WHO")
def who(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who is in a group, or one person."""
    mask = params[0] if params else ""
    if is_group(mask):
        return [Call("roster", {}, mask)]
    if not mask or set(mask) & set("*?!@,"):
        irc.numeric(asked, "315", [mask or "*"], "End of WHO list")
        return []
    return [Call("whois", {"user": mask})]


@verb("WHOIS")
def whois(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """About one person; a server that is named first is this one."""
    name = params[1] if len(params) > 1 and params[1] else params[0] if params else ""
    if not name:
        irc.numeric(asked, "431", [], "No nickname given")
        return []
    asked.params = [_names(name)[0] if _names(name) else name]
    return [Call("whois", {"user": asked.params[0], "roles": "yes"})]


@verb("WHOWAS")
def whowas(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who is gone is told to nobody."""
    if not params or not params[0]:
        irc.numeric(asked, "431", [], "No nickname given")
        return []
    irc.numeric(asked, "406", [params[0]], "There was no such nickname")
    irc.numeric(asked, "369", [params[0]], "End of WHOWAS")
    return []


@verb("ISON", 1)
def ison(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who of these is online."""
    return _each(irc, asked, [name for param in params for name in param.split()])


@verb("USERHOST", 1)
def userhost(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Who these are, in short."""
    return _each(irc, asked, params[:5])


def _each(irc: Irc, asked: Asked, people: list[str]) -> list[Call]:
    asked.gathered = []
    asked.people = len(people[:20])
    return [Call("whois", {"user": name}) for name in people[:20]]


# -- about the server -------------------------------------------------------------------------------------------------


@verb("MOTD")
def motd(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """The message of the day."""
    if _elsewhere(irc, asked, params):
        return []
    for line in irc.motd():
        asked.put(line)
    return []


def _elsewhere(irc: Irc, asked: Asked, params: list[str]) -> bool:
    if params and params[0] and params[0].lower() not in (irc.server.lower(), irc.nick):
        irc.numeric(asked, "402", [params[0]], "No such server")
        return True
    return False


@verb("LUSERS")
def lusers(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """How many people there are."""
    return [Call("census", {})]


@verb("VERSION")
def version(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Which program this is."""
    if not _elsewhere(irc, asked, params):
        irc.numeric(asked, "351", [irc.software, irc.server], "groups and conversations")
        for line in irc.isupport():
            asked.put(line)
    return []


@verb("TIME")
def time_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """What time it is here."""
    if not _elsewhere(irc, asked, params):
        irc.numeric(asked, "391", [irc.server], f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    return []


@verb("INFO")
def info(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """About the program."""
    if not _elsewhere(irc, asked, params):
        for text in texts.reply("banner", {}):
            irc.numeric(asked, "371", [], text)
        irc.numeric(asked, "374", [], "End of INFO list")
    return []


@verb("HELP")
def help_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """What can be said here besides IRC's own verbs."""
    subject = params[0] if params and params[0] else "*"
    if subject != "*":
        irc.numeric(asked, "524", [subject], f"No help on this here; /msg {ircnames.SERVICE} help {subject}")
        return []
    irc.numeric(asked, "704", [subject], "IRC's verbs work as anywhere.")
    irc.numeric(asked, "705", [subject], f"All else: /msg {ircnames.SERVICE} help")
    irc.numeric(asked, "706", [subject], "End of /HELP.")
    return []


@verb("OPER", 2)
def oper(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Become an operator by the configured name and password."""
    return [Call("oper", {"name": params[0], "password": params[1]})]


# -- the past ---------------------------------------------------------------------------------------------------------


@verb("CHATHISTORY", 1)
def chathistory(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """draft/chathistory, from the log."""
    sub, *rest = params
    sub = sub.upper()
    marks = {"TARGETS": 2, "BETWEEN": 2, "BEFORE": 1, "AFTER": 1, "LATEST": 1, "AROUND": 1}.get(sub)
    if marks is None:
        irc.fail(asked, "INVALID_PARAMS", [sub], "Unknown command")
        return []
    about = [] if sub == "TARGETS" else rest[:1]
    if len(rest) < len(about) + marks + 1 or (sub != "TARGETS" and not rest[0]):
        irc.fail(asked, "NEED_MORE_PARAMS", [sub], "Missing parameters")
        return []
    typed = rest[len(about) : len(about) + marks]
    found = ["" if mark == "*" and sub == "LATEST" else _mark(mark) for mark in typed]
    count = rest[len(about) + marks]
    if None in found or not (count.isascii() and count.isdecimal() and len(count) < 10):
        irc.fail(asked, "INVALID_PARAMS", [sub, *about], "Invalid parameters")
        return []
    count = str(max(1, int(count)))
    if sub == "TARGETS":
        return [Call("talks", {"since": found[0], "until": found[1], "count": count})]
    room = rest[0] if is_group(rest[0]) else f"@{rest[0]}"
    args = {"way": sub.lower(), "one": found[0], "count": count}
    if marks == 2:
        args["other"] = found[1]
    if irc.has("draft/event-playback"):
        args["all"] = "yes"
    return [Call("past", args, room)]


def _mark(typed: str) -> str | None:
    """A place in the log, as our own command takes it."""
    match = REF.fullmatch(typed)
    if match is None:
        return None
    if match[1]:
        return match[1]
    try:
        return f"@{round(datetime.fromisoformat(match[2] + '+00:00').timestamp() * 1000)}"
    except ValueError:
        return None
