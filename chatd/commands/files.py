"""Files: who may send one where, who may fetch it, and what is told to the room once all of it is there.

The rule: an operation gives out a ticket and moves no bytes; the bytes come and go on a connection of their own
(raw.py), which redeems the ticket, and says here how far it has come. The room hears of a file only when it is whole.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chatd.command import command
from chatd.errors import Refusal
from chatd.limits import Limits
from chatd.model import DELETED, Account, Ask, Kind, Me, Reply, Role, Room
from chatd.rules import Needs

if TYPE_CHECKING:
    from chatd.store import ReadTx, Tx
    from chatd.store.files import File

DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_DAY: Final = 86_400_000
_LATELY: Final = 600_000
"""In ms. Every instance sweeps once a minute; what it misses for so long is found when it looks through the disk."""
LISTED: Final = 100
"""How many files /files shows."""
_UPLOAD: Final = "/upload <size>"
_DOWNLOAD: Final = "/download <file>"


class Claim(NamedTuple):
    """What a redeemed ticket stands for. `room` is its name for the log; `size` and `digest` are what is to come, or
    what there is; `digest` None: it follows the bytes. `changed`: the file is another one than that of which some has
    come; that is to go.
    """

    upload: bool
    file: int
    room: str
    sealed: bool
    account: Account
    name: str
    size: int
    digest: str | None
    start: int
    end: int
    changed: bool = False


# -- for people: a line to run, with a ticket in it -------------------------------------------------------------------


@command("/send [path...]", aliases=["/9"], needs=Needs.MEMBER, topic="Files", example="/send report.pdf")
def send(tx: Tx, me: Me, room: Room, path: str = "") -> Reply | Ask:
    """Send a file to the room. Outside of chat it answers a line for a shell, which sends the file by nc."""
    if room.sealed:
        raise Refusal("E2E_ONLY", room=room.name)
    if not path:
        return Ask("path", "send.path", {"room": room.name})
    return _offer(tx, me, room, path, None)


@command("/image [path] [caption...]", needs=Needs.MEMBER, topic="Files", example="/image cat.png our cat")
def image(tx: Tx, me: Me, room: Room, path: str | int = "", caption: str = "") -> Reply | Ask:
    """Send a picture to the room, with a few words under it."""
    if room.sealed:
        raise Refusal("E2E_ONLY", room=room.name)
    if not path:
        return Ask("path", "image.path", {"room": room.name})
    return _offer(tx, me, room, str(path), caption or None)


def _offer(tx: Tx, me: Me, room: Room, path: str, caption: str | None) -> Reply:
    """A person says what they want to send: how much that is, the line that they run will tell."""
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1] or path
    _check_texts(me, name, caption)
    begun = tx.unfinished_by_name(room.id, me.account, name)
    if begun is not None:
        number, got = begun.id, begun.got
    else:
        number, got = _begin(tx, me, room, name=name, caption=caption), 0
    fields = _ticket(tx, me, number, upload=True, start=got)
    return Reply("send_recipe", {**_where(room), **fields, "path": path, "name": name, "start": got, **_reach(me)})


@command("/get <file> [folder...]", topic="Files", example="/get 17")
def get(tx: Tx, me: Me, file: str | int, folder: str = "") -> Reply:
    """Fetch a file by its number. Outside of chat it answers a line for a shell, which fetches it by nc."""
    found, room = _find(tx, me, file)
    if room.sealed:
        raise Refusal("E2E_ONLY", room=room.name)
    fields = _ticket(tx, me, found.id, end=found.size or 0)
    return Reply(
        "get_recipe",
        {**_where(room), **fields, **_about(found), "folder": folder, **_reach(me)},
    )


@command("/files", needs=Needs.MEMBER, topic="Files", read=True)
def files(tx: ReadTx, me: Me, room: Room) -> Reply:
    """The files of the room: number, name, size, who sent it, when."""
    listed = [
        {**_about(file), "seq": file.seq, "at": at, "by": file.author_name, "by_id": file.author}
        for file, at in tx.files_in(room.id, me.account, LISTED)
    ]
    begun = [{**_about(file), "start": file.got} for file in tx.unfinished(room.id, me.account)]
    return Reply("files", {**_where(room), "files": listed, "unfinished": begun})


@command("/cancel <file>", topic="Files", example="/cancel 17")
def cancel(tx: Tx, me: Me, file: str | int) -> Reply:
    """Stop sending a file, or take back one that you sent: nobody can fetch it any more."""
    found = tx.file(_number(file, "/cancel <file>"))
    if found is None:
        raise Refusal("NO_FILE", file=_shown(file))
    if found.author != me.account:
        theirs, _ = _find(tx, me, file)
        raise Refusal("NOT_YOURS", file=theirs.id, name=theirs.author_name)
    tx.blank_file(found.id)
    drop(tx, found.id, "withdrawn")
    return Reply("cancelled", {"file": found.id, "name": found.name, "sent": bool(found.seq)})


# -- for programs -----------------------------------------------------------------------------------------------------


@command("/upload [size]", needs=Needs.MEMBER, topic="", optional=("name", "type", "digest", "caption", "file"))
def upload(tx: Tx, me: Me, room: Room, size: str | int = "", file: str | int = "", **told: str | int) -> Reply:
    """Begin to send a file of so many bytes, or go on with one (programs): answers a ticket for the raw connection."""
    if file != "":
        found = tx.file(_number(file, _UPLOAD))
        if found is None or found.author != me.account or found.room != room.id:
            raise Refusal("NO_FILE", file=_shown(file))
        return _go_on(tx, me, room, found)
    mid = tx.standing
    if mid is not None and (found := tx.file_by_mid(me.account, mid[0])) is not None:
        if found.call != mid[1]:
            raise Refusal("MID_REUSED", mid=mid[0])
        return _go_on(tx, me, room, found)
    texts = {key: str(value) for key, value in told.items()}
    number = _count(size, _UPLOAD)
    digest = texts.pop("digest", None)
    if (texts and room.sealed) or (digest is not None and not DIGEST.fullmatch(digest)):
        raise Refusal("BAD_USAGE", usage=_UPLOAD)
    if not room.sealed and not texts.get("name"):
        raise Refusal("BAD_USAGE", usage=_UPLOAD)
    _check_texts(me, texts.get("name", ""), texts.get("caption"), texts.get("type"))
    _check_room_for(tx, me.settings.limits, me.account, room.id, number)
    begun = _begin(tx, me, room, size=number, digest=digest, mid=mid, **texts)
    created = tx.file(begun)
    assert created is not None
    return _go_on(tx, me, room, created)


def _go_on(tx: Tx, me: Me, room: Room, file: File) -> Reply:
    """A ticket for the next attempt, or that none is needed."""
    if file.stored:
        return Reply("again", {"seq": file.seq} if file.seq else {"file": file.id, "digest": file.digest})
    fields = _ticket(tx, me, file.id, upload=True, start=file.got)
    return Reply("upload", {**_where(room), **fields, "size": file.size, "start": file.got})


@command("/download <file>", topic="", optional=("start", "end"))
def download(tx: Tx, me: Me, file: str | int, start: str | int = 0, end: str | int = "") -> Reply:
    """Fetch a file, or the bytes from start to end of it (programs): answers a ticket for the raw connection."""
    found, room = _find(tx, me, file)
    size = found.size or 0
    first = _count(start, _DOWNLOAD)
    last = size if end == "" else min(size, _count(end, _DOWNLOAD))
    if first > last:
        raise Refusal("BAD_USAGE", usage=_DOWNLOAD)
    fields = _ticket(tx, me, found.id, start=first, end=last)
    return Reply(
        "download",
        {
            **_where(room),
            **fields,
            **_about(found),
            "by": found.author_name,
            "by_id": found.author,
            "start": first,
            "end": last,
        },
    )


@command("/quota", needs=Needs.MEMBER, topic="", read=True)
def quota(tx: ReadTx, me: Me, room: Room) -> Reply:
    """How many bytes one file may have, and how many more you and the room may keep (programs)."""
    mine, here = _left(tx, me.settings.limits, me.account, room.id)
    return Reply("quota", {**_where(room), "file": me.settings.limits.file_bytes, "mine": mine, "here": here})


def announce(tx: Tx, me: Me, room: Room, file: str | int) -> dict[str, Any]:
    """The event that is appended next tells a sealed room of this file: the caller's own, complete and told to nobody.
    What the event says of it.

    @raise Refusal: NO_FILE.
    """
    found = tx.file(_number(file, "/say [text...]"))
    if found is None or (found.author, found.room) != (me.account, room.id) or not found.stored or found.seq:
        raise Refusal("NO_FILE", file=_shown(file))
    tx.announce_file(found.id, tx.last_seq() + 1)
    return {"file": found.id, "size": found.size}


# -- for the raw connection -------------------------------------------------------------------------------------------


def is_ticket(tx: ReadTx, ticket: str) -> bool:
    """Whether there is such a ticket: asked beside the writer, so that inventing tickets costs nobody else anything."""
    return tx.is_ticket(hash_ticket(ticket))


def redeem(tx: Tx, limits: Limits, ticket: str, size: int | None, digest: str | None) -> Claim:
    """Use a ticket up. `size` and `digest`: what a person's line tells only now.

    @raise Refusal: TICKET, NOT_MEMBER, NO_FILE, QUOTA, BAD_LINE.
    """
    taken = tx.take_ticket(hash_ticket(ticket))
    file = None if taken is None else tx.file(taken.file)
    if taken is None or file is None or (taken.upload and file.stored):
        raise Refusal("TICKET")
    account = tx.account_by_id(taken.account)
    room = tx.room(file.room, taken.account)
    if account is None or room is None or room.role is Role.NONE:
        raise Refusal("NOT_MEMBER", room="" if room is None else room.name)
    if taken.upload:
        changed = False
        if size is not None:
            changed = file.size is not None and file.got > 0 and (file.size, file.digest) != (size, digest)
            _check_room_for(tx, limits, account.id, room.id, size, file.id)
            tx.tell_file(file.id, size, digest)
        elif file.size is None:
            raise Refusal("BAD_LINE")
        else:
            size, digest = file.size, file.digest
        got = 0 if changed else file.got
        tx.touch_file(file.id, got)
        return Claim(True, file.id, room.name, room.sealed, account, file.name, size, digest, got, size, changed)
    if size is not None:
        raise Refusal("BAD_LINE")
    if not _hears(tx, account.id, room, file):
        raise Refusal("NO_FILE", file=file.id)
    return Claim(
        False, file.id, room.name, room.sealed, account, file.name, file.size or 0, file.digest, taken.start, taken.end
    )


def complete(tx: Tx, claim: Claim, digest: str) -> dict[str, Any]:
    """All bytes of a file have their place: tell the room. What is answered.

    @raise Refusal: NO_FILE (it is not wanted any more), CHECKSUM (another one is to come in its place), NOT_MEMBER.
    """
    file = tx.file(claim.file)
    if file is None:
        raise Refusal("NO_FILE", file=claim.file)
    fields: dict[str, Any] = {"file": file.id, "digest": digest}
    if file.stored:  # by another attempt, a moment ago
        return {**fields, "seq": file.seq} if file.seq else fields
    if (file.size, file.digest or digest) != (claim.size, digest):
        raise Refusal("CHECKSUM")
    if tx.role(file.room, file.author) is Role.NONE:
        raise Refusal("NOT_MEMBER", room=claim.room)
    tx.complete_file(file.id, digest)
    if claim.sealed:
        return fields
    if file.mid is not None and tx.by_mid(file.author, file.mid) is None:
        tx.under(file.mid, file.call)
    about = {"file": file.id, "name": file.name, "size": file.size, "digest": digest}
    if file.type:
        about["type"] = file.type
    seq = tx.append("file", file.room, file.author, text=file.caption or None, data=about)
    tx.announce_file(file.id, seq)
    return {**fields, "seq": seq}


def sweep(tx: Tx, limits: Limits) -> list[int]:
    """Files whose time is over go. The numbers of these, and of all that went lately: their bytes are to go once this
    is committed.
    """
    tx.drop_old_tickets()
    tx.forget_files(tx.steady - _DAY)
    for number in tx.overdue_files(tx.steady - limits.file_days * _DAY, tx.steady - limits.upload_hours * _DAY // 24):
        drop(tx, number, "expired")
    return tx.gone_files(tx.steady - _LATELY)


def drop(tx: Tx, number: int, how: str) -> None:
    """This file cannot be had any more, and who was told of it is told why: it was `withdrawn`, has `expired`, or its
    bytes are `lost`.
    """
    file = tx.file(number)
    if file is None:
        return
    if file.seq and tx.mark_gone(number, how):
        tx.append("gone", file.room, file.author, data={"file": number, "seq": file.seq, "how": how})
    tx.drop_file(number)


# -- what they share --------------------------------------------------------------------------------------------------


def hash_ticket(ticket: str) -> str:
    """What is kept of a ticket: it has 128 random bits, so a plain hash will do."""
    return hashlib.sha256(ticket.encode()).hexdigest()


def _ticket(tx: Tx, me: Me, file: int, *, upload: bool = False, start: int = 0, end: int = 0) -> dict[str, Any]:
    """A new ticket, as it is answered."""
    word = secrets.token_hex(16)
    until = tx.now + int(me.settings.limits.ticket_seconds * 1000)
    tx.add_ticket(
        hash_ticket(word),
        file,
        me.account,
        upload=upload,
        start=start,
        end=end,
        until=until,
        most=me.settings.limits.account_tickets,
    )
    return {"file": file, "ticket": word, "until": until}


def _begin(
    tx: Tx,
    me: Me,
    room: Room,
    *,
    size: int | None = None,
    digest: str | None = None,
    name: str | None = None,
    type: str | None = None,  # noqa: A002 - the field's name
    caption: str | None = None,
    mid: tuple[str, int] | None = None,
) -> int:
    if room.kind is Kind.INBOX:
        raise Refusal("NO_ROOM", sends=True)
    if room.name == f"@{DELETED}":
        raise Refusal("NO_USER", name=DELETED, near="")
    tx.drop_oldest_uploads(me.account, me.settings.limits.account_uploads - 1)
    return tx.add_file(room.id, me.account, size=size, digest=digest, name=name, type=type, caption=caption, mid=mid)


def _find(tx: ReadTx, me: Me, typed: str | int) -> tuple[File, Room]:
    """A file that this person may fetch, and its room.

    @raise Refusal: NO_FILE.
    """
    file = tx.file(_number(typed, "/get <file>"))
    room = None if file is None else tx.room(file.room, me.account)
    if file is None or room is None or not file.stored or not _hears(tx, me.account, room, file):
        raise Refusal("NO_FILE", file=_shown(typed))
    return file, room


def _hears(tx: ReadTx, account: int, room: Room, file: File) -> bool:
    """Whether somebody may fetch this file: is in the room and was when it was told, or sent it and told nobody yet."""
    if room.role is Role.NONE:
        return False
    return tx.may_hear(account, file.room, file.seq) if file.seq else file.author == account


def _about(file: File) -> dict[str, Any]:
    about: dict[str, Any] = {"file": file.id, "name": file.name, "size": file.size, "digest": file.digest}
    return {**about, "type": file.type} if file.type else about


def _reach(me: Me) -> dict[str, Any]:
    """How a shell gets here: a command that the operator has named, or the address that this connection came to."""
    host, port, secure = me.here
    return {"reach": me.settings.reach, "host": host, "port": port, "secure": secure}


def _where(room: Room) -> dict[str, Any]:
    return {"room": room.name, "room_id": room.id}


def _left(tx: ReadTx, limits: Limits, account: int, room: int, but: int = 0) -> tuple[int, int]:
    """How many more bytes this person and this room may keep."""
    mine = limits.account_file_bytes - tx.bytes_of(account, but)
    here = limits.room_file_bytes - tx.bytes_in(room, but)
    return max(0, mine), max(0, here)


def _check_room_for(tx: Tx, limits: Limits, account: int, room: int, size: int, but: int = 0) -> None:
    """@raise Refusal: QUOTA."""
    left = min(limits.file_bytes, *_left(tx, limits, account, room, but))
    if size > left:
        raise Refusal("QUOTA", size=size, left=left)


def _check_texts(me: Me, name: str, caption: str | None, kind: str | None = None) -> None:
    """@raise Refusal: TOO_LONG."""
    limits = me.settings.limits
    for text, most in (
        (name, limits.file_name_characters),
        (caption or "", limits.message_characters),
        (kind or "", limits.file_name_characters),
    ):
        if len(text) > most:
            raise Refusal("TOO_LONG", size=len(text), limit=most)


def _count(typed: str | int, usage: str) -> int:
    """A number of bytes. The bound keeps it within what the database can hold."""
    text = str(typed)
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise Refusal("BAD_USAGE", usage=usage)
    return int(text)


def _number(typed: str | int, usage: str) -> int:
    """A file's number, as it is typed: 17, #17 or (file 17) will do."""
    return _count(str(typed).strip("#()").removeprefix("file").strip(), usage)


def _shown(typed: str | int) -> str | int:
    return typed if isinstance(typed, int) else typed[:20]
