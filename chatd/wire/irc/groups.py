"""Groups are channels: entering and leaving them, who is in, what they are."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from chatd import texts
from chatd.model import Call, Door
from chatd.wire.irc import terms
from chatd.wire.irc.answers import Fields, answer, refusal
from chatd.wire.irc.line import LINE, Line, packed
from chatd.wire.irc.people import who_lines
from chatd.wire.irc.presence import marked
from chatd.wire.irc.verbs import is_group, listed, verb

if TYPE_CHECKING:
    from chatd.wire.irc.asked import Asked
    from chatd.wire.irc.dialect import Irc


def _group(irc: Irc, asked: Asked, name: str) -> bool:
    """Whether a parameter names a group; if not, that is said."""
    if is_group(name):
        return True
    irc.numeric(asked, "403", [name or "*"], terms.PLAIN_WORDS["403"])
    return False


@verb("JOIN", 1)
def join(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Go into groups, or ask to be let in; keys mean nothing here. JOIN 0 leaves them all."""
    if params[0] == "0":
        return [Call("groups", {})]
    return [Call("join", {"room": name}) for name in listed(params[0]) if _group(irc, asked, name)]


@verb("PART", 1)
def part(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Leave groups."""
    args = {"reason": params[1]} if len(params) > 1 and params[1] else {}
    return [Call("leave", dict(args), name) for name in listed(params[0]) if _group(irc, asked, name)]


@verb("KICK", 2)
def kick(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """Put people out of a group."""
    people = listed(params[1])
    if not _group(irc, asked, params[0]):
        return []
    if len(people) > terms.TARGETS:
        irc.numeric(asked, "407", [params[1]], f"At most {terms.TARGETS} targets")
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
    return [Call("roster", {}, name) for name in listed(params[0]) if _group_or_end(irc, asked, name)]


def _group_or_end(irc: Irc, asked: Asked, name: str) -> bool:
    if is_group(name):
        return True
    irc.numeric(asked, "366", [name], "End of /NAMES list")
    return False


@verb("LIST")
def list_(irc: Irc, asked: Asked, params: list[str]) -> list[Call]:
    """The groups there are: all, or those that are named, match a mask (behind !: do not), or are so large."""
    return [Call("directory", {})]


def _is_listed(wanted: list[str], room: str, members: int) -> bool:
    """Whether LIST's conditions hold (ELIST=MNU): any of the names and masks, and all of the others."""
    names = [word for word in wanted if word[0] not in "!<>"]
    for word in wanted:
        sign, rest = word[0], word[1:]
        if sign == "!" and fnmatchcase(room, rest):
            return False
        if sign in "<>" and rest.isascii() and rest.isdecimal() and len(rest) < 9:
            bound = int(rest)
            if (members >= bound) if sign == "<" else (members <= bound):
                return False
    return not names or any(fnmatchcase(room, word) for word in names)


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
        if len(calls) >= terms.MODES:
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
        elif letter in terms.MODE_DOORS:
            door = terms.MODE_DOORS[letter] if adding else "open"
            calls.append(Call("door", {"door": str(door)}, room))
        elif letter in terms.ALWAYS:
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


@answer("now_in", "autocreated")
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


@answer("groups")
def _all_left(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """JOIN 0: every group one is in, one after the other."""
    if asked.command != "JOIN":
        return [irc.by_service(text) for text in texts.reply("groups", fields)]
    asked.left += len(fields["rooms"])
    irc.wants += [Call("leave", {}, room["room_id"], ref=asked) for room in fields["rooms"]]
    return []


@answer("asked")
def _asked(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    found = texts.reply("asked", fields)
    if irc.has("standard-replies"):
        return [irc.line(f"NOTE JOIN PENDING {fields['room']} :{found[0]}")]
    return [irc.by_service(text) for text in found]


@answer("roster")
def _roster(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    room = fields["room"]
    match asked.command:
        case "WHO":
            return who_lines(irc, asked, room, fields["members"])
        case "MODE":
            modes = terms.ALWAYS + terms.DOOR_MODES[Door(fields["door"])]
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
    if asked.command == "JOIN" and irc.has("draft/read-marker"):
        lines.append(marked(irc, room, fields["marker"]))
    return [*lines, irc.numbered("366", [room], "End of /NAMES list")]


@answer("topic")
def _topic(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    if not fields["topic"]:
        return [irc.numbered("331", [fields["room"]], "No topic is set")]
    return [irc.numbered("332", [fields["room"]], fields["topic"])]


@answer("directory")
def _directory(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    wanted = [word.lower().replace("[", "[[]") for word in listed(asked.params[0])] if asked.params else []
    lines = [irc.numbered("321", ["Channel"], "Users  Name")]
    lines += [
        irc.numbered("322", [room["room"], str(room["members"])], room["topic"])
        for room in fields["rooms"]
        if _is_listed(wanted, room["room"], room["members"])
    ]
    return [*lines, irc.numbered("323", [], "End of /LIST")]


@answer("bans")
def _bans(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    room = fields["room"]
    lines = [irc.numbered("367", [room, f"{entry['name']}!*@*", entry["by"]]) for entry in fields["bans"]]
    return [*lines, irc.numbered("368", [room], "End of channel ban list")]


@answer("door")
def _door(irc: Irc, asked: Asked, call: Call, fields: Fields) -> list[Line]:
    """It was so already."""
    return []


@refusal("NAMES")
def _refused_names(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    if code in ("NO_GROUP", "NOT_MEMBER", "BAD_NAME"):
        return [irc.numbered("366", [str(fields.get("room") or asked.params[0])], "End of /NAMES list")]
    return None


@refusal("JOIN")
def _refused_joined(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """Nobody is told who is in a group that they have left meanwhile."""
    return [] if code == "NOT_MEMBER" else None


@refusal("MODE")
def _refused_mode(irc: Irc, asked: Asked, code: str, fields: Fields, text: str) -> list[Line] | None:
    """What is so already needs no word; and clients ask for the bans of every group they come to."""
    if code == "ONLY_ADMIN" and fields["command"] == "/bans":
        return [irc.numbered("368", [str(fields["room"])], "End of channel ban list")]
    return [] if code in ("SAME_ROLE", "NOT_BANNED", "IS_BANNED") else None
