"""Files of sealed rooms (E2E.md §7): sealed into a spool before they are sent, opened from it when all is here.

The rule: the server gets ciphertext and its length class. Name, type, size, key and hash travel in the sealed message.
The spool is 0600, and what is opened stands under a name of ours until the last byte is known to be good.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from client.crypto import stream
from client.crypto.stream import Opener, Torn

DIGEST: Final = re.compile("[0-9a-f]{64}")
ID_BYTES: Final = 16
ROOM_BYTES: Final = 32
MOST: Final = 1 << 53
"""No file is said to have so many bytes: what is kept here holds no larger numbers."""


def seal_file(
    source: Path, size: int, spool: Path, room: bytes, mid: str, step: Callable[[int], object] = id
) -> dict[str, Any]:
    """Seal a file into `spool`, under a key of its own. It takes long, so it is for a thread.

    @param room: the room's id of the signed chain; `mid`: of the message that will speak of it.
    @return: `key`, `id`, `sealed` (bytes of ciphertext), `digest` (its SHA-256): the file's part of that message.
    @raise Changed: the file became longer or shorter meanwhile. @raise OSError: the disk.
    """
    key, number = stream.new_key(), os.urandom(ID_BYTES)
    fd = os.open(spool, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as target, source.open("rb") as plain:
        digest = stream.seal(plain, size, target, key, _place(room, mid, number), step)
    return {"key": _text(key), "id": _text(number), "sealed": stream.sealed_size(size), "digest": digest}


def is_whole(spool: Path, about: Mapping[str, Any]) -> bool:
    """Whether an earlier run's spool is what it sealed: it is not flushed, and the machine may have stopped since."""
    try:
        with spool.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == about["digest"]
    except OSError:
        return False


def opener(target: int, size: int, held: Mapping[str, Any], mid: str) -> Opener:
    """What opens a file as it comes, writing to the descriptor `target`. It takes long, so it is for a thread.

    @param held: what `opened` found in the message.
    @raise Torn: that does not say how.
    """
    try:
        room, key, number = (b64decode(held[name], validate=True) for name in ("room", "key", "id"))
        where = _place(room, mid, number)
    except (KeyError, TypeError, ValueError):
        raise Torn("the message does not say how to open it") from None

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(target, rest) :]

    return Opener(size, write, key, where)


def opened(fields: Mapping[str, Any], content: Mapping[str, Any], room: bytes) -> dict[str, Any] | None:
    """The event of a sealed message that brings a file, as that of an open room: kind `file`, with its data.

    None where the content is none that we understand: it is then shown as such.
    """
    try:
        about, number = content["file"], (fields.get("data") or {})["file"]
        held = {"room": _text(room), "key": str(about["key"]), "id": str(about["id"]), "size": int(about["sealed"])}
        size = int(about["size"])
        gone = (fields.get("data") or {}).get("gone")
        data: dict[str, Any] = {
            "file": int(number),
            "name": str(about["name"]),
            "type": str(about.get("type") or ""),
            "size": size,
            "digest": str(about["digest"]),
            "sealed": held,
        } | ({"gone": str(gone)} if gone else {})
        caption = about.get("caption")
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not 0 <= size < MOST or held["size"] != stream.sealed_size(size) or not DIGEST.fullmatch(data["digest"]):
        return None
    return {**fields, "ev": "file", "text": None if caption is None else str(caption), "data": data}


def _place(room: bytes, mid: str, number: bytes) -> bytes:
    return stream.place(room, uuid.UUID(mid).bytes, number)


def _text(data: bytes) -> str:
    return b64encode(data).decode()
