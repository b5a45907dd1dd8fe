"""The commands there are: the server's table, as `hello` sent it, and the few that only a client can have.

The rule: a usage line is declared once, by the server or here, and everything (parsing, help, completion) reads it. A
command of the client has the form of the server's, so that nothing else needs to know which is which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import takewhile
from typing import Any, Final

from chatd.errors import Refusal


def _local(
    usage: str, topic: str, help_: str, example: str, *args: tuple[str, str, bool], needs: str = "nothing"
) -> dict[str, Any]:
    return {
        "do": usage.split()[0].removeprefix("/"),
        "usage": usage,
        "aliases": [],
        "needs": needs,
        "topic": topic,
        "help": help_,
        "example": example,
        "args": [{"name": name, "shape": shape, "required": required} for name, shape, required in args],
    }


LOCAL: Final = [
    _local(
        "/switch [place]", "Talk", "Look at another of your rooms; without a name, at the next unread one.",
        "/switch #ops", ("place", "word", False),
    ),
    _local(
        "/notify [level]", "You", "Ring for all lines of this room, for mentions (as at first), or for none.",
        "/notify all", ("level", "word", False),
    ),
    _local("/theme [name]", "You", "How chat looks: dark, light, classic or none.", "/theme light",
           ("name", "word", False)),
    _local("/edit", "Talk", "Write a long text in your $EDITOR.", "/edit"),
    _local("/send [path]", "Files", "Send a file to this room, of any size, through any cut.", "/send report.pdf",
           ("path", "rest", False), needs="member"),
    _local("/image [path] [caption...]", "Files", "Send a picture, shown small where the terminal can.",
           "/image cat.png asleep again", ("path", "rest", False), needs="member"),
    _local("/get <file> [folder]", "Files", "Fetch a file, into this folder or another. Nothing is written over.",
           "/get 17 ~/Downloads", ("file", "word", True), ("folder", "rest", False), needs="login"),
    _local("/export [path...]", "Past", "Write all that you may read here to a file: text, JSON lines or HTML.",
           "/export ops.html", ("path", "rest", False), needs="heard"),
    _local("/safety [user]", "Keys", "The number that you and somebody compare, to know that nobody is in between.",
           "/safety bob", ("user", "word", False), needs="login"),
    _local("/verify [user] [digits...]", "Keys", "You have compared the safety number with somebody: it is this one.",
           "/verify bob", ("user", "word", False), ("digits", "rest", False), needs="login"),
    _local("/accept <user>", "Keys", "Take somebody's changed key, without comparing numbers.", "/accept bob",
           ("user", "word", True), needs="login"),
    _local("/keys [user]", "Keys", "How far somebody's keys are believed, and their devices.", "/keys bob",
           ("user", "word", False), needs="login"),
    _local("/devices", "Keys", "Your devices, by number, and those that ask to be added.", "/devices", needs="login"),
    _local("/device [what] [which...]", "Keys", "Add a device by the code that it shows, or revoke one by its number.",
           "/device add ABCD-EFGH-IJKL-MNOP", ("what", "word", False), ("which", "rest", False), needs="login"),
    _local("/recover [how]", "Keys", "Get your keys back by the recovery code, or (new) make new ones.", "/recover",
           ("how", "word", False), needs="login"),
    _local("/cancel [file]", "Files", "Stop a transfer, or take back a file of yours.", "/cancel 17",
           ("file", "word", False), needs="login"),
]  # fmt: skip
BEFORE: Final = [
    _local("/quit", "You", "Leave. Your groups keep you; what is said meanwhile waits for you.", "/quit"),
]
"""What is known of the server's commands before it has ever sent its table."""
OURS: Final = frozenset(row["do"] for row in LOCAL)
"""What the client does itself. Of a command that the server has, too, the server's aliases stay."""
GROUP_NAMES: Final = frozenset({"name"})
"""Arguments that are a group's name: `/rename #dev` is not about #dev (the server reads it so, too)."""
SECRET: Final = frozenset({"password", "old", "new"})
"""Arguments that are never typed in a line."""


class Commands:
    """The table."""

    def __init__(self, server: Sequence[Mapping[str, Any]] = ()) -> None:
        self.server = list(server)
        """The table as it was sent."""
        ours = {local["do"]: local for local in LOCAL}
        theirs = {row["do"]: row for row in server or BEFORE}
        kept = [_as_typed(row) for row in theirs.values() if row["do"] not in ours]
        own = [{**local, "aliases": theirs.get(name, local)["aliases"]} for name, local in ours.items()]
        self.rows: list[Mapping[str, Any]] = [*kept, *own]
        self._by_name: dict[str, Mapping[str, Any]] = {}
        for row in self.rows:
            for name in (f"/{row['do']}", *row["aliases"]):
                self._by_name.setdefault(name, row)

    @property
    def known(self) -> bool:
        """Whether the server has sent its table, now or ever."""
        return bool(self.server)

    def lookup(self, name: str) -> Mapping[str, Any]:
        """The row of this name or alias, with its slash.

        @raise Refusal: UNKNOWN_CMD, with the nearest name that Tab offers.
        """
        found = self._by_name.get(name.lower())
        if found is None:
            near = get_close_matches(name.lower(), [word for word, _ in self.names()], 1, 0.6)
            raise Refusal("UNKNOWN_CMD", command=name, near=near[0] if near else "")
        return found

    def knows(self, name: str) -> bool:
        """Whether this is a command's name or alias, with its slash."""
        return name.lower() in self._by_name

    def is_local(self, row: Mapping[str, Any]) -> bool:
        """Whether the client does it itself."""
        return row["do"] in OURS

    def names(self) -> Iterable[tuple[str, str]]:
        """What Tab offers: (name, help)."""
        return sorted((f"/{row['do']}", row["help"]) for row in self.rows if row["topic"])


def _as_typed(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of the server's, whose usage ends before the first secret: what comes from there on is asked for."""
    words = row["usage"].split()
    shown = takewhile(lambda word: word.strip("[]<>") not in SECRET, words)
    return {**row, "usage": " ".join(shown)}


def about_room(row: Mapping[str, Any]) -> bool:
    """Whether a command is about a room."""
    return row["needs"] in ("heard", "member", "admin", "owner")


def bind(row: Mapping[str, Any], rest: str) -> dict[str, Any]:
    """The fields that a line gives; "room" where it names one.

    @raise Refusal: BAD_USAGE when there is more than the usage line takes, or a flag that it has not.
    """
    fields: dict[str, Any] = {}
    rest = rest.strip()
    if about_room(row) and rest.startswith("#"):
        word, _, tail = rest.partition(" ")
        if tail.strip() or not row["args"] or row["args"][0]["name"] not in GROUP_NAMES:
            fields["room"], rest = word, tail
    shapes = {arg["name"]: arg["shape"] for arg in row["args"]}
    places = [arg["name"] for arg in row["args"] if arg["shape"] in ("word", "rest", "list")]
    while rest := rest.lstrip():
        word, _, tail = rest.partition(" ")
        flag = word[2:].replace("-", "_") if word.startswith("--") else ""
        if shapes.get(flag) == "flag":
            fields[flag] = True
        elif shapes.get(word.lower()) == "keyword" and word.lower() not in fields and tail.strip():
            value, _, tail = tail.lstrip().partition(" ")
            fields[word.lower()] = value
        elif not places or (flag and "flag" in shapes.values()):
            raise Refusal("BAD_USAGE", usage=row["usage"])
        elif shapes[places[0]] == "list":
            fields.setdefault(places[0], []).extend(word.replace(",", " ").split())
        elif shapes[places[0]] == "word":
            fields[places.pop(0)] = word
        else:
            fields[places.pop(0)] = rest.rstrip()
            tail = ""
        rest = tail
    return fields
