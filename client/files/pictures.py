"""Pictures in one chat: looked at before they are sent, drawn where they arrive.

The rule: what somebody else sent is drawn by itself only where it is small, in the room before one's eyes, and not a
stranger's; a picture that cannot be drawn is not sent as one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred

from chatd.filenames import saved_as
from client import sentences
from client.files import fetching
from client.files.ability import Way
from client.files.preview import Preview, Undrawable, preview
from client.files.transfer import Transfer
from client.formatting import clean

if TYPE_CHECKING:
    from client.files.desk import Files

GLANCE: Final = 5_000_000
"""Pictures up to so many bytes are shown by themselves, but for a stranger's."""


class Failed(Exception):
    """A command about files cannot be done. The rows say why."""

    def __init__(self, *rows: str) -> None:
        super().__init__(*rows)
        self.rows = rows


class Pictures:
    """What one chat does about pictures."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._drawn: dict[str, Preview] = {}
        """Mine that are on their way, by the `mid` of the event that will tell of them."""

    async def send(self, room: int, path: Path, caption: str) -> None:
        """`/image`: look at it, then send it.

        @raise Failed: it is none, or cannot be drawn.
        """
        look = self._files.chat.face.look()
        try:
            with path.open("rb") as file:
                made: Preview = await self._files.in_thread(preview, file, look)
        except OSError as error:
            raise Failed(sentences.not_sent_file(clean(path.name), (error.strerror or "").lower())) from None
        except Undrawable as error:
            raise Failed(sentences.not_sent_file(clean(path.name), str(error))) from None
        key = self._files.send(room, path, caption)
        if look.way is not Way.WORDS:
            self._drawn[self._files.told_by(key)] = made

    def forget(self, mid: str) -> None:
        """It was not sent."""
        self._drawn.pop(mid, None)

    def heard(self, fields: Mapping[str, Any], data: Mapping[str, Any], *, live: bool) -> None:
        """A file was sent: draw it, if it is a picture that is to be drawn."""
        mine = self._drawn.pop(fields.get("mid") or "", None)
        if mine is not None:
            self._files.chat.transcript.picture(mine.rows)
        elif live and self._to_be_shown(fields, data):
            Deferred.fromCoroutine(self._glance(data, fields)).addErrback(lambda _: None)

    def _to_be_shown(self, fields: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
        return (
            str(data.get("type", "")).startswith("image/")
            and isinstance(size := data.get("size"), int)
            and size <= GLANCE
            and fields["room_id"] == self._files.chat.view.current
            and fields.get("by_id") != self._files.chat.view.account
            and self._files.chat.face.look().way is not Way.WORDS
            and not self._files.stranger(fields.get("by_id", 0), fields["room_id"])
        )

    async def _glance(self, data: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        """Fetch a small picture to look at; nothing of it stays here."""
        record = self._files.wanted({**data, "mid": fields.get("mid")}, self._files.spool())
        transfer = Transfer(record["key"], saved_as(record["name"]), record["size"], False, self._files, record["file"])
        where = await fetching.fetch(self._files, transfer, record)
        try:
            with where.open("rb") as file:
                made: Preview = await self._files.in_thread(preview, file, self._files.chat.face.look())
        finally:
            where.unlink(missing_ok=True)
        self._files.chat.transcript.picture(made.rows)
