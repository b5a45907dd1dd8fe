"""The table of commands: declared by @command, bound from a line or from fields, performed inside a transaction.

The rule: the usage line is the parser, the help line, the completion data and the json field names; there is no
second list. Login, arity, room and role are checked here, once, from the table; a command's function is the operation
alone. It knows no socket, no dialect and no sentence.

A usage line reads

    /kick <user> [reason...]           a word that must be there, then the rest of the line
    /create [--open|--sealed] <room> [people...]    flags; a plural in `...` is a list of words; commas will do
    /history [count] [since AGE] [on DATE]          keyworded arguments, in any order

A command that is about a room (needs Member or more) takes `#room` as its first word, or the current room.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from chatd import rules
from chatd.errors import Refusal
from chatd.limits import Limits
from chatd.model import Account, Ask, Bounds, Call, Door, Kind, Me, Reply, Role, Room
from chatd.names import LONGEST, fold_account, fold_group, nearest
from chatd.passwords import Policy
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx

Outcome = Reply | Ask | Refusal
"""A Refusal may be returned, too: then what the operation has counted stays."""
Operation = Callable[..., Outcome]
F = TypeVar("F", bound=Callable[..., Any])

LISTS: Final = frozenset({"people"})
"""The names of arguments in `...` that are lists of words; the others are the rest of the line."""
GROUP_NAMES: Final = frozenset({"name"})
"""Of a room's command the arguments that are a group's name themselves: `/rename #dev` names no room, it needs two."""
SENDS: Final = frozenset({"say", "send", "image", "upload"})
"""The commands that send something to a room."""
LONGEST_ID: Final = 20
LONGEST_NAME: Final = LONGEST
"""The characters a name may have, for dialects that announce it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration that operations see.

    `server`: what it is called; `software`: the program and its version; `motd`: the message of the day, by line.
    `guests`: people may come in without an account. `door_password`: asked of whoever brings none of their own ("":
    none is). `oper`: a name and a password that make an operator of a session ("": none do). `sts`: the port to which
    clients in clear text are to come back by TLS, and for how many seconds they are to remember it (0: they are not).
    `reach`: the command by which a shell reaches this server ("": nc, or openssl, and where the connection came to).
    `keep`: how long messages are kept at most.
    """

    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    bcrypt_cost: int = 12
    registration: str = "open"
    """"open", "closed", or "invited"."""
    autocreate: bool = True
    default_door: Door = Door.ASK
    operators: frozenset[str] = frozenset()
    server: str = "chatd"
    software: str = "chatd"
    motd: tuple[str, ...] = ()
    banner: str = ""
    guests: bool = False
    door_password: str = ""
    oper: tuple[str, str] = ("", "")
    sts: tuple[int, int] = (0, 0)
    reach: str = ""
    keep: Bounds = Bounds()  # noqa: RUF009 - a frozen record


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument of a usage line."""

    name: str
    shape: Literal["word", "rest", "list", "keyword", "flag"]
    required: bool


@dataclass(frozen=True, slots=True)
class Slow:
    """Work that a command does on the password thread before its transaction; the result comes to it as `slow`."""

    run: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One row of the table. `help` is the docstring's text; `topic` the heading it stands under in /help."""

    verb: str
    usage: str
    args: tuple[Arg, ...]
    aliases: tuple[str, ...]
    needs: Needs
    topic: str
    help: str
    example: str
    run: Operation
    read: bool
    level: bool
    scans: Callable[[Mapping[str, Any]], bool]
    local: bool
    light: bool
    prepare: Callable[..., Slow | Ask] | None
    after: Callable[..., dict[str, Any]] | None
    optional: frozenset[str]
    about_room: bool
    shapes: Mapping[str, str]


TABLE: Final[dict[str, Command]] = {}
ALIASES: Final[dict[str, str]] = {}

_TOKEN: Final = re.compile(
    r"\[(?P<flags>--[a-z-]+(?:\|--[a-z-]+)*)\]|\[(?P<key>[a-z]+) (?P<value>[A-Z]+)\]"
    r"|<(?P<need>[a-z]+)(?P<needmore>\.\.\.)?>|\[(?P<may>[a-z]+)(?P<maymore>\.\.\.)?\]"
)


def parse_usage(usage: str) -> tuple[str, tuple[Arg, ...]]:
    """The verb and the arguments of a usage line."""
    head, _, tail = usage.partition(" ")
    args: list[Arg] = []
    for match in _TOKEN.finditer(tail):
        if match["flags"]:
            args += [Arg(flag[2:].replace("-", "_"), "flag", False) for flag in match["flags"].split("|")]
        elif match["key"]:
            args.append(Arg(match["key"], "keyword", False))
        else:
            name = match["need"] or match["may"]
            more = match["needmore"] or match["maymore"]
            shape: Literal["word", "rest", "list"] = "word" if not more else "list" if name in LISTS else "rest"
            args.append(Arg(name, shape, match["need"] is not None))
    if _TOKEN.sub("", tail).strip():
        raise ValueError(f"unreadable usage: {usage}")
    return head.lstrip("/"), tuple(args)


def command(
    usage: str,
    *,
    aliases: Iterable[str] = (),
    needs: Needs = Needs.LOGIN,
    topic: str,
    example: str = "",
    read: bool = False,
    level: bool = False,
    scans: Callable[[Mapping[str, Any]], bool] = lambda args: False,
    local: bool = False,
    light: bool = False,
    prepare: Callable[..., Slow | Ask] | None = None,
    after: Callable[..., dict[str, Any]] | None = None,
    optional: Iterable[str] = (),
) -> Callable[[F], F]:
    """Put an operation in the table.

    @param read: it only reads, and runs beside the writer.
    @param level: of what only reads: the answer continues with the events that come after it, so it must not be older
        than those that came before it.
    @param scans: of what only reads: whether with these arguments it may look through all of a room. Those wait for one
        another, so that they never keep anybody else from reading.
    @param local: it needs no transaction at all; `tx` is None.
    @param light: it checks, then appends at most: no savepoint, and many of one session may share a commit.
    @param prepare: runs first, on a snapshot: asks, refuses, or names the slow work to do before the transaction.
    @param after: once somebody is in, reads what more is to be answered, beside the writer.
    @param optional: arguments that only a question or a program brings, and that the usage line does not show; `name`
        or `name:shape`, where the shape is one of a usage line's, or `map`, of texts by text.
    """
    verb, args = parse_usage(usage)
    more = {name: shape or "word" for name, _, shape in (part.partition(":") for part in optional)}

    def enter(run: F) -> F:
        names = [verb, *(alias.lstrip("/") for alias in aliases)]
        for name in names:
            if name in TABLE or name in ALIASES:
                raise ValueError(f"/{name} is declared twice")
        if not run.__doc__:
            raise ValueError(f"/{verb} has no docstring: it is the help text")
        ALIASES.update(dict.fromkeys(names[1:], verb))
        TABLE[verb] = Command(
            verb=verb,
            usage=usage,
            args=args,
            aliases=tuple(names[1:]),
            needs=needs,
            topic=topic,
            help=" ".join(run.__doc__.split()),
            example=example,
            run=run,
            read=read,
            level=level,
            scans=scans,
            local=local,
            light=light,
            prepare=prepare,
            after=after,
            optional=frozenset(more),
            about_room=needs.room,
            shapes={arg.name: arg.shape for arg in args} | more,
        )
        return run

    return enter


def lookup(name: str) -> Command:
    """The command of this name or alias, without its slash.

    @raise Refusal: UNKNOWN_CMD, with the nearest name there is of those that people use.
    """
    found = TABLE.get(ALIASES.get(name, name))
    if found is None:
        raise unknown(name)
    return found


def unknown(name: str) -> Refusal:
    """That there is no such command, with the nearest one of those that people use."""
    shown = [verb for verb, entry in TABLE.items() if entry.topic]
    near = nearest(name, [*shown, *(alias for alias in ALIASES if alias.isalpha())])
    return Refusal("UNKNOWN_CMD", command=f"/{name}", near=f"/{near}" if near else "")


def bind(name: str, line: str) -> Call:
    """The call that `/name line` asks for. What is missing stays missing: `perform` asks for it.

    @raise Refusal: UNKNOWN_CMD, or BAD_USAGE when there is more than the usage line takes, or a flag that it has not.
    """
    entry = lookup(name)
    args: dict[str, Any] = {}
    room: str | None = None
    rest = line.strip()
    if entry.needs.room and rest.startswith("#"):
        word, _, tail = rest.partition(" ")
        if tail.strip() or not entry.args or entry.args[0].name not in GROUP_NAMES:
            room, rest = word, tail
    flags = {arg.name for arg in entry.args if arg.shape == "flag"}
    keywords = {arg.name for arg in entry.args if arg.shape == "keyword"}
    places = [arg for arg in entry.args if arg.shape in ("word", "rest", "list")]
    while rest := rest.lstrip():
        word, _, tail = rest.partition(" ")
        if word.startswith("--") and word[2:].replace("-", "_") in flags:
            args[word[2:].replace("-", "_")] = True
        elif word.lower() in keywords and word.lower() not in args and tail.strip():
            value, _, tail = tail.lstrip().partition(" ")
            args[word.lower()] = value
        elif not places or (flags and word.startswith("--")):
            raise Refusal("BAD_USAGE", usage=entry.usage)
        elif places[0].shape == "word":
            args[places.pop(0).name] = word
        elif places[0].shape == "list":
            args.setdefault(places[0].name, []).extend(word.replace(",", " ").split())
        else:
            args[places.pop(0).name] = rest.rstrip()
            tail = ""
        rest = tail
    return Call(entry.verb, args, room)


def check_fields(entry: Command, args: Mapping[str, Any]) -> None:
    """Whether a program's fields are those of the usage line, each of the right type.

    @raise Refusal: BAD_USAGE.
    """
    for name, value in args.items():
        shape = entry.shapes.get(name)
        if value.__class__ is str and shape in ("word", "rest", "keyword"):
            continue
        good: bool
        if shape == "list":
            good = isinstance(value, list) and all(type(word) in (str, int) for word in value)
        elif shape == "flag":
            good = isinstance(value, bool)
        elif shape == "map":
            good = isinstance(value, dict) and all(type(part) is str for part in value.values())
        else:
            good = shape is not None and isinstance(value, str | int) and not isinstance(value, bool)
        if not good:
            raise Refusal("BAD_USAGE", usage=entry.usage)


def perform(tx: Tx, me: Me, call: Call, slow: Any = None) -> Outcome:
    """Check what the table asks for, then do it. `tx` is a ReadTx for commands that only read.

    @raise Refusal: nothing was changed.
    """
    entry = TABLE[call.verb]
    if me.login and not entry.local and not tx.stands(me.login):
        raise Refusal("NOT_LOGGED_IN")  # it was ended a moment ago, and the session has not heard of that yet
    if call.mid is not None and me.account and not (entry.read or entry.local):
        # Before anything else: who has left a group, and asks again whether that was done, is not in it any more.
        digest = fingerprint(call)
        before = tx.by_mid(me.account, call.mid)
        if before is not None:
            if before[1] != digest:
                raise Refusal("MID_REUSED", mid=call.mid)
            return Reply("again", {"seq": before[0]})
        tx.under(call.mid, digest)
    room = admit(tx, me, call, entry)
    args = fill(tx, me, call, entry, room)
    if not isinstance(args, dict):
        return args
    if room is not None:
        args["room"] = room
    if slow is not None:
        args["slow"] = slow
    return entry.run(tx, me, **args)


def prepare(tx: ReadTx, me: Me, call: Call) -> Slow | Ask:
    """What is to be asked, or done slowly, before `perform`."""
    entry = TABLE[call.verb]
    room = admit(tx, me, call, entry)
    assert entry.prepare is not None
    args = fill(tx, me, call, entry, room)
    if not isinstance(args, dict):
        return args
    return entry.prepare(tx, me, call, **args)


def admit(tx: ReadTx, me: Me, call: Call, entry: Command) -> Room | None:
    """Whether this person may give this command here; the room it is about."""
    if entry.needs >= Needs.LOGIN and not me.account:
        raise Refusal("NOT_LOGGED_IN")
    if entry.needs is Needs.OPERATOR and not me.operator:
        raise Refusal("OPERATORS_ONLY", command=f"/{entry.verb}")
    if not entry.about_room:
        return None
    room = find_room(tx, me, call.room, sends=entry.verb in SENDS)
    code = rules.may_command(entry.needs, room.role)
    if code is not None and not (entry.needs is Needs.HEARD and tx.was_in(room.id, me.account)):
        refuse_role(tx, code, room, f"/{entry.verb}")
    return room


def find_room(tx: ReadTx, me: Me, named: str | int | None, *, sends: bool) -> Room:
    """The room that a call names, or the current one, with the caller's role in it.

    @raise Refusal: NO_ROOM, NO_GROUP, NO_USER. Not being a member is the rules' to refuse.
    """
    if isinstance(named, str) and named.startswith("@"):
        other = find_user(tx, named)
        direct = tx.direct(me.account, other.id, sealed=False)
        if direct is None:
            raise Refusal("NO_GROUP", room=named, near="")
        named = direct
    if isinstance(named, str):
        name = fold_group(named)
        group = tx.group(name)
        if group is None:
            raise Refusal("NO_GROUP", room=name, near="")
        return Room(group.id, group.kind, group.name, group.sealed, tx.role(group.id, me.account), group.door)
    number = me.room if named is None else named
    if named is None and not number:
        raise Refusal("NO_ROOM", sends=sends)
    room = tx.room(number, me.account) if is_id(number) else None
    if room is None or not room.name or (room.role is Role.NONE and room.kind is not Kind.GROUP):
        raise Refusal("NO_GROUP", room=str(number)[:LONGEST_ID], near="")  # closed, an inbox, or others' conversation
    return room


def find_group(tx: ReadTx, me: Me, named: str | int) -> Room:
    """The group that a call names, with the caller's role in it, whether or not that is any.

    @raise Refusal: NO_GROUP.
    """
    found: Room | None
    if isinstance(named, int):
        found = tx.room(named, me.account) if is_id(named) else None
        if found is None or found.kind is not Kind.GROUP or not found.name:
            raise Refusal("NO_GROUP", room=str(named)[:LONGEST_ID], near="")
    else:
        name = fold_group(named)
        found = tx.group(name)
        if found is None:
            raise Refusal("NO_GROUP", room=name, near="")
    return found._replace(role=tx.role(found.id, me.account))


def is_id(number: int) -> bool:
    """Whether a program's number can be the id of anything: the database has 63 bits."""
    return 0 < number < 1 << 63


def find_user(tx: ReadTx, typed: str | int) -> Account:
    """The account of this name (or id, from a program).

    @raise Refusal: NO_USER.
    """
    if isinstance(typed, int):
        found = tx.account_by_id(typed) if is_id(typed) else None
        if found is None:
            raise Refusal("NO_USER", name=str(typed)[:LONGEST_ID], near="")
        return found
    name = typed.removeprefix("@")
    try:
        name = fold_account(name)
    except Refusal:
        raise Refusal("NO_USER", name=name, near="") from None
    found = tx.account(name)
    if found is None:
        raise Refusal("NO_USER", name=name, near="")
    return found


NEAR: Final = {"NO_USER": "name", "NO_GROUP": "room"}
"""Refusals that may name something near what was typed, and the field that was typed."""


def suggest(tx: ReadTx, refusal: Refusal) -> Refusal:
    """The same refusal with the nearest name there is: looked for beside the writer, never under its lock."""
    typed = str(refusal.fields[NEAR[refusal.code]])
    names = tx.account_names() if refusal.code == "NO_USER" else tx.group_names()
    return Refusal(refusal.code, **(refusal.fields | {"near": nearest(typed, names)}))


def refuse_role(tx: ReadTx, code: str, room: Room, verb: str) -> None:
    """Refuse with the names of those who could have done it."""
    if code == "NOT_MEMBER":
        raise Refusal("NOT_MEMBER", room=room.name)
    admins = tx.admins(room.id)
    if code == "ONLY_OWNER":
        owner = next((member.account.name for member in admins if member.role is Role.OWNER), "")
        raise Refusal("ONLY_OWNER", command=verb, room=room.name, owner=owner)
    raise Refusal(code, command=verb, room=room.name, admins=[member.account.name for member in admins])


def fill(tx: ReadTx, me: Me, call: Call, entry: Command, room: Room | None) -> dict[str, Any] | Ask:
    """The operation's arguments: accounts looked up, and the first missing one asked for.

    A list that may be left out is asked for, too, where something else has been.
    """
    args: dict[str, Any] = {}
    for arg in entry.args:
        value = call.args.get(arg.name)
        if value is None or value == "" or value == []:
            if arg.required or (arg.shape == "list" and call.asked and arg.name not in call.asked):
                where = room.name if room is not None else ""
                return Ask(arg.name, f"{entry.verb}.{arg.name}", {"room": where}, many=arg.shape == "list")
            continue
        if arg.shape == "rest":
            value = str(value)
        elif arg.name == "user":
            value = find_user(tx, value)
        args[arg.name] = value
    for name in entry.optional:
        if call.args.get(name) is not None:
            args[name] = call.args[name]
    if "confirmed" in entry.optional:
        args["confirmed"] = call.confirmed
    return args


def fingerprint(call: Call) -> int:
    """What a `mid` stands for: a checksum of the call's content as sent, so that a mistaken reuse is seen.

    It defends a sender against its own bugs and nobody against anybody, so it need not be a cryptographic hash.
    """
    args = call.args
    parts = [call.verb, str(call.room)]
    for name in sorted(args) if len(args) > 1 else args:
        if args[name].__class__ is not dict:  # envelopes: made anew from the same content they are others
            parts += (name, str(args[name]))
    content = "\x00".join(parts).encode("utf-8", "replace")
    return len(content) << 32 | zlib.crc32(content)


def table() -> list[dict[str, Any]]:
    """The table for programs: what `hello` sends."""
    return [
        {
            "do": entry.verb,
            "usage": entry.usage,
            "aliases": [f"/{alias}" for alias in entry.aliases],
            "needs": entry.needs.name.lower(),
            "topic": entry.topic,
            "help": entry.help,
            "example": entry.example,
            "args": [{"name": arg.name, "shape": arg.shape, "required": arg.required} for arg in entry.args],
        }
        for entry in TABLE.values()
    ]
