"""Coming in and going: capabilities, who one is, making an account, pings.

The rule: a client is in once it has said all that it has to say; only then is anything asked of the server.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from chatd import texts
from chatd.command import LONGEST_NAME
from chatd.model import Call, Kind
from chatd.wire.irc import terms
from chatd.wire.irc.answers import Fields, answer, refusal
from chatd.wire.irc.line import Line, packed
from chatd.wire.irc.presence import watch
from chatd.wire.irc.server import counts
from chatd.wire.irc.verbs import verb

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


CHUNK: Final = 400
"""How much of a SASL answer one line holds."""


LONGEST_SASL: Final = 16 * CHUNK


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
            names = [name for name in irc.offered() if name != "sts"]  # its value is all of it
            asked.put(irc.line(f"CAP {irc.me} LS :{' '.join(names)}"))
    elif sub == "LIST":
        asked.put(irc.line(f"CAP {irc.me} LIST :{' '.join(sorted(irc.caps))}"))
    elif sub == "REQ":
        if not irc.registered:
            irc.negotiating = True
        words = rest.split()
        wanted = {word for word in words if not word.startswith("-")}
        unwanted = {word[1:] for word in words if word.startswith("-")}
        fixed = {"cap-notify"} if irc.version >= 302 else set()
        good = wanted <= irc.offered().keys() - {"sts"} and unwanted <= irc.offered().keys() - fixed
        asked.put(irc.line(f"CAP {irc.me} {'ACK' if good else 'NAK'} :{rest}"))
        if good:
            before = irc.caps
            irc.negotiate((irc.caps | wanted) - unwanted)
            watch(irc, before)
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
        if wanted.lower() == irc.nick:
            return []
        if irc.census.get("guest"):
            return [Call("nick", {"name": wanted})]
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
    elif settings.guests:
        call = Call("guest", {"name": irc.nick, "password": irc.password or "", **client})
    elif not opened:
        irc.numeric(asked, "464", [], _no_password(irc))
        irc.wants.append(Call("quit", {}, ref=irc.silent()))
        return []
    else:
        if irc.has("standard-replies"):
            asked.put(irc.line(f"FAIL * ACCOUNT_REQUIRED_TO_CONNECT :{texts.REFUSALS['NOT_LOGGED_IN']}"))
        irc.numeric(asked, "464", [], "Log in with SASL PLAIN, or with the server password name:password")
        asked.put(irc.line(f"NOTICE {irc.me} :No account yet? /quote REGISTER {irc.nick} * PASSWORD"))
        return []
    asked.command = "CONNECT"
    return [Call("census", {}), call]


def _no_password(irc: Irc) -> str:
    return "Password incorrect" if irc.password else "This server asks for a password"


@verb("AUTHENTICATE", 1, early=True)
def authenticate(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """SASL PLAIN, or EXTERNAL by a client certificate."""
    word = params[0]
    if irc.registered or irc.token:
        irc.numeric(asked, "907", [], "You have already authenticated")
    elif word == "*":
        irc.sasl = None
        irc.numeric(asked, "906", [], "SASL authentication aborted")
    elif irc.sasl is None:
        if word.upper() in irc.mechanisms():
            irc.sasl, irc.mechanism = "", word.upper()
            asked.put(Line("AUTHENTICATE +"))
        else:
            irc.numeric(asked, "908", [",".join(irc.mechanisms())], "are available SASL mechanisms")
            irc.numeric(asked, "904", [], "SASL authentication failed")
    elif len(word) > CHUNK or len(irc.sasl) > LONGEST_SASL:
        irc.sasl = None
        irc.numeric(asked, "905", [], "SASL message too long")
    else:
        irc.sasl += "" if word == "+" else word
        if len(word) < CHUNK:
            held, irc.sasl = irc.sasl, None
            return _plain(irc, asked, held) if irc.mechanism == "PLAIN" else _external(irc, asked, held)
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


def _external(irc: Irc, asked: Asked, held: str) -> list[Call]:
    """[authzid] (RFC 4422, appendix A)."""
    try:
        name = base64.b64decode(held, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        irc.numeric(asked, "904", [], "SASL authentication failed")
        return []
    return [Call("external", {"name": name, "client": "irc", "later": "yes"})]


@verb("REGISTER", 3, early=True)
def register(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """draft/account-registration. We keep no addresses: in their place stands the invitation, where one is needed."""
    name = irc.nick if params[0] == "*" else params[0]
    if irc.registered or irc.token:
        irc.fail(asked, "ALREADY_AUTHENTICATED", [name or "*"], "You have an account already.")
        return []
    if not name:
        irc.fail(asked, "NEED_NICK", ["*"], "Say NICK first.")
        return []
    asked.params = [name, *params[1:]]
    args = {"name": name, "password": params[2], "client": "irc", "later": "yes"}
    if irc.settings.registration == "invited" and params[1] != "*":
        args["code"] = params[1]
    return [Call("register", args)]


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


GUEST: Final[Fields] = {"guest": True}


ACCOUNT: Final[Fields] = {}
"""What is kept of the greeting, one for all connections."""


@answer("welcome", "hello")
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
        number("004", [server, irc.software, "o", f"Abi{terms.ALWAYS}o"]),
        *irc.isupport(),
        *counts(irc, irc.census),
        *irc.motd(),
    ]
    irc.census = GUEST if guest else ACCOUNT
    watch(irc)
    extended = f" {irc.account_word} :{nick}" if irc.has("extended-join") else ""
    for room in fields["rooms"]:
        if room["kind"] == Kind.GROUP:
            lines.append(irc.line(f"JOIN {room['room']}{extended}", source=nick))
            irc.wants.append(Call("roster", {}, room["room_id"], ref=irc.silent("JOIN", room["room"])))
    if fields["missed"] and (fields["long_absence"] or irc.has("draft/chathistory")):
        lines.append(irc.by_service(texts.away_summary(fields["missed"])))
    lines += [irc.by_service(texts.asks(each["name"], each["room"], False)) for each in fields["requests"]]
    return lines


@answer("vouched")
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


@answer("bye")
def _bye(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [Line(f"ERROR :Closing link: ({irc.farewell or 'bye'})")]


@answer("logged_out", "logged_out_all")
def _logged_out(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """A connection is one login: without it, it ends."""
    irc.wants.append(Call("quit", {}, ref=irc.silent()))
    return []


@answer("pong")
def _pong(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    return [irc.line(f"PONG {irc.server} :{fields['token']}")]


@refusal("CONNECT")
def _refused_connect(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """Not in: a guest may take another name; whoever brought something that is not right is put out."""
    if code in ("NAME_TAKEN", "BAD_NAME"):
        nick, irc.nick = irc.nick, ""
        number = "433" if code == "NAME_TAKEN" else "432"
        return [irc.line(f"{number} * {nick} :{text}")]
    if code == "NOT_LOGGED_IN" and not irc.token:
        text = _no_password(irc)
    irc.token = ""
    irc.wants = [call for call in irc.wants if call.ref is not asked]
    irc.wants.append(Call("quit", {}, ref=irc.silent()))
    irc.farewell = text
    if code in ("BAD_LOGIN", "THROTTLED", "CODE_NEEDED", "NOT_LOGGED_IN"):
        return [irc.numbered("464", [], text)]
    irc.fail(held := irc.silent("*"), code, [], text)
    return held.lines


@refusal("AUTHENTICATE")
def _refused_sasl(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    return [irc.numbered("904", [], text)]


@refusal("REGISTER")
def _refused_register(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    word = {"NAME_TAKEN": "ACCOUNT_EXISTS", "BAD_NAME": "BAD_ACCOUNT_NAME", "BAD_PASSWORD": "WEAK_PASSWORD"}.get(code)
    irc.fail(held := irc.silent("REGISTER"), word or "TEMPORARILY_UNAVAILABLE", asked.params[:1], text)
    return held.lines
