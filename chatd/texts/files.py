"""Files, as people read of them, and the lines for a shell that bring and fetch one without our client.

The rule: in a line for a shell whatever came from people is quoted, and a file that is fetched is called by its last
part alone, never over one that is there.
"""

from __future__ import annotations

import shlex
from typing import Final

from chatd.filenames import saved_as
from chatd.model import Event
from chatd.texts.words import BLANK, CLOSED, Fields, Sentence, clean, clock, minute, size, stamp

NAMELESS: Final = "(encrypted)"
GONE: Final = {"withdrawn": "taken back", "expired": "no longer kept", "lost": "lost"}
"""Why a file cannot be had any more."""
CANNOT: Final = "cannot be had any more"
BRIEF: Final = 60
"""Bytes of a name in a line that fetches."""


def sent(name: str, amount: int, room: str, number: int) -> str:
    """`report.pdf 2.1 MB sent to #ops (file 17)`"""
    return f"{clean(name) or NAMELESS} {size(amount)} sent to {room} (file {number})"


def on_file(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    """A file, to who sent it and to the others: `14:02 <bob> report.pdf 2.1 MB (file 17: /get 17)`."""
    caption = f": {clean(event.text)}" if event.text else ""
    if event.data is not None and event.by == viewer and "gone" not in event.data:
        name, amount, number = _about(event.data)
        return [sent(name, amount, room or CLOSED, number) + caption]
    where = "" if current or room[:1] == "@" else f"{room or CLOSED} "
    who = f"[{event.by_name}]" if room[:1] == "@" else f"<{event.by_name}>"
    return [f"{minute(event.at // 60_000)} {where}{who} {offered(event, '/get')}"]


def offered(event: Event, get: str) -> str:
    """A file, and how to have it: `report.pdf 2.1 MB (file 17: /get 17)`."""
    return about(event.data, event.text, get)


def about(data: Fields | None, text: str | None, get: str) -> str:
    """The same, of what its event says: `report.pdf 2.1 MB (file 17: no longer kept)` where it cannot be had."""
    if data is None:
        return BLANK
    name, amount, number = _about(data)
    caption = f": {clean(text)}" if text else ""
    what = f"{name} {size(amount)} " if "size" in data else ""
    how = GONE.get(str(data["gone"]), CANNOT) if "gone" in data else f"{get} {number}"
    return f"{what}(file {number}: {how}){caption}"


def on_gone(event: Event, room: str, viewer: int, current: bool) -> list[str]:
    """A file was taken back. Of the other ways in which one goes people are told where they look at it."""
    data = event.data or {}
    if event.by == viewer or data.get("how") != "withdrawn":
        return []
    where = "" if room[:1] == "@" else f" in {room or CLOSED}"
    return [f"{event.by_name} took back file {int(data.get('file', 0))}{where}."]


def _about(data: Fields) -> tuple[str, int, int]:
    """Name, size and number."""
    return clean(str(data.get("name", NAMELESS))), int(data.get("size", 0)), int(data.get("file", 0))


# -- lines for a shell ------------------------------------------------------------------------------------------------


def _nc(fields: Fields) -> str:
    """The command that connects a shell to this server."""
    host, port = fields["host"], fields["port"]
    if fields["reach"]:
        return str(fields["reach"])
    if not port:
        return f"nc -U {shlex.quote(host)}"
    if fields["secure"]:
        return f"openssl s_client -quiet -connect {f'[{host}]' if ':' in host else host}:{port}"
    return f"nc {host} {port}"


def _path(typed: str) -> str:
    """A path for a shell; `~` at its beginning stays what it is."""
    head, slash, tail = typed.partition("/")
    if slash and head == "~":
        return f"~/{shlex.quote(tail)}" if tail else "~/"
    return shlex.quote(typed)


def _send_recipe(fields: Fields) -> str:
    rest = f'tail -c +{fields["start"] + 1} <"$f"' if fields["start"] else 'cat <"$f"'
    on = f", from byte {fields['start']:,} on" if fields["start"] else ""
    return (
        f"To send {fields['name']}{on}, run this in a shell before {clock(fields['until'])}:\n"
        f'f={_path(fields["path"])}; h="$(wc -c <"$f") $(sha256sum <"$f")";'
        f" {{ echo RAW {fields['ticket']} {fields['start']} $h; {rest}; }} | {_nc(fields)}\n"
        f"Cut? /send {fields['path']} again goes on where it stopped."
    )


def _brief(name: str) -> str:
    """A name that leaves room for the rest of the line in the 512 bytes that IRC has for it."""
    if len(name.encode()) <= BRIEF:
        return name
    stem, dot, suffix = name.rpartition(".")
    suffix = dot + suffix if stem and len(suffix.encode()) < BRIEF // 2 else ""
    return (stem or name).encode()[: BRIEF - len(suffix.encode())].decode("utf-8", "ignore") + suffix


def _get_recipe(fields: Fields) -> str:
    name = _brief(saved_as(fields["name"]))
    folder = f"{fields['folder'].rstrip('/')}/" if fields["folder"] else ""
    again = f"/get {fields['file']} {fields['folder']}".rstrip()
    return (
        f"To fetch {name} ({size(fields['size'])}), run this in a shell before {clock(fields['until'])}:\n"
        f'f={_path(folder + name)}; touch "$f.part"; echo RAW {fields["ticket"]} $(wc -c <"$f.part") | {_nc(fields)} |'
        ' while read -r l; do case $l in OK) cat >>"$f.part";; *) echo "$l";; esac; done;'
        f' echo "{fields["digest"]}  $f.part" | sha256sum -c && mv -n "$f.part" "$f"\n'
        f"Cut? {again} again goes on where it stopped."
    )


# -- other answers ----------------------------------------------------------------------------------------------------


def _files(fields: Fields) -> str:
    lines = [
        f"{each['file']} {each['name'] or NAMELESS} {size(each['size'])} {each['by']} {stamp(each['at'])[:-3]}"
        for each in fields["files"]
    ]
    for each in fields["unfinished"]:
        whole = f" of {size(each['size'])}" if each["size"] is not None else ""
        lines.append(f"{each['file']} {each['name'] or NAMELESS} {size(each['start'])}{whole} sent so far")
    return "\n".join(lines) or f"No files in {fields['room']}."


def _cancelled(fields: Fields) -> str:
    name = fields["name"] or NAMELESS
    return f"{name} is taken back." if fields["sent"] else f"{name} is not sent."


REPLIES: Final[dict[str, Sentence]] = {
    "send_recipe": _send_recipe,
    "get_recipe": _get_recipe,
    "files": _files,
    "cancelled": _cancelled,
    "upload": "",
    "download": "",
    "quota": "",
}

FINDINGS: Final[dict[str, Sentence]] = {
    "orphan": "{path}: no file is known for these bytes.",
    "missing": "File {file}: its bytes are gone.",
    "size": "File {file}: its bytes are not as many as were sent.",
    "digest": "File {file}: its bytes are not those that were sent.",
}
"""What `chatctl check` says of a difference between disk and database (blobs.Finding)."""


def finding(kind: str, file: int, path: str) -> str:
    """One difference between disk and database."""
    return str(FINDINGS[kind]).format(file=file, path=clean(path))
