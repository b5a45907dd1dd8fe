"""Files in one chat: what `/send`, `/image`, `/get` and `/cancel` do, what is on its way, and what is said of it.

The rule: a transfer is on disk here (sealed, in the profile) before its first byte moves, so it goes on after a cut, on
another node, and after this program was killed. What was asked for by a person ends with a sentence; nothing that
somebody else does fetches anything large, or from a stranger.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred

from chatd import texts
from chatd.errors import Refusal
from client import sentences
from client.answers import Lost, Refused
from client.conversation import Call
from client.files import fetching, progress, sending
from client.files.pictures import Failed, Pictures
from client.files.source import Source, Unsendable
from client.files.transfer import Transfer, sleep
from client.formatting import clean
from client.outbox import new_mid

if TYPE_CHECKING:
    from twisted.internet.protocol import Protocol as Wire

    from client.chat import Chat

LARGE: Final = 100_000_000
"""Above so many bytes it is asked before a file is fetched."""
TICK: Final = 0.25
"""Seconds between two drawings of the lines of progress."""
DIGEST: Final = re.compile("[0-9a-f]{64}")
WRITTEN: Final = 500
"""Among so many last lines of a conversation it is looked for one of mine: without, the other is a stranger."""


class Files:
    """What one chat has on its way. It is what a Transfer needs of its chat (transfer.Host), too."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.under_way: list[Transfer] = []
        self.asking = 0
        """How many answers are awaited before the next line can be understood."""
        self._records: dict[str, dict[str, Any]] = {each["key"]: each for each in chat.store.get("transfers", [])}
        self._waiting: list[Deferred[None]] = []
        self.pictures = Pictures(self)
        self._tidy()

    # -- what a transfer needs ----------------------------------------------------------------------------------------

    def call(self, fields: Mapping[str, Any]) -> Deferred[dict[str, Any]]:
        """Make a call on the chat's own connection."""
        return self.chat.link.call(fields)

    async def crypto_room(self, room: int) -> bytes:
        """A sealed room's id in its signed chain.

        @raise Refused: this device cannot send to it.
        """
        while True:
            await self.connected()
            try:
                return (await self.chat.sealed.room(room)).id
            except Lost:
                await sleep(self, 1.0)

    def open(self, wire: Callable[[], Wire]) -> Deferred[Any]:
        """Open another connection to the same server."""
        return self.chat.link.beside(wire)

    def connected(self) -> Deferred[None]:
        """Wait until the server hears us."""
        waiting: Deferred[None] = Deferred(lambda deferred: self._waiting.remove(deferred))
        self._waiting.append(waiting)
        if self.chat.inside and self.chat.link.connected:
            self.chat.later("files", 0.0, self._wake)
        return waiting

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)

    def later(self, seconds: float, do: Callable[[], None]) -> Any:
        """Do it in a while."""
        return self.chat.reactor.callLater(seconds, do)

    def in_thread(self, do: Callable[..., Any], *args: object) -> Deferred[Any]:
        """Do it beside."""
        from twisted.internet.threads import deferToThread

        return deferToThread(do, *args)

    def now(self) -> float:
        """The time in s."""
        return self.chat.clock()

    def changed(self) -> None:
        """A line of progress would read differently."""
        self.chat.later("progress", TICK, self._tick)

    def _tick(self) -> None:
        self.chat.face.refresh()
        if self.under_way:
            self.changed()

    def spool(self) -> Path:
        """The profile's own folder for bytes, 0700."""
        folder = self.chat.store.folder
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    # -- beginning and end --------------------------------------------------------------------------------------------

    def resume(self) -> None:
        """The server hears us: what waits goes on, and so does what an earlier run left."""
        self._wake()
        running = {transfer.key for transfer in self.under_way}
        for key, record in list(self._records.items()):
            if key not in running and record["account"] == self.chat.view.account and self.chat.face.resumes(record):
                self._start(record)

    def _tidy(self) -> None:
        """What lies in the spool and belongs to no transfer any more goes."""
        folder = self.chat.store.folder
        wanted = {part for record in self._records.values() for part in record["spool"]}
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name not in wanted:
                path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Whoever is here goes; what is under way goes on next time."""
        for transfer in list(self.under_way):
            if transfer.running is not None:
                transfer.running.cancel()

    def _keep(self, record: dict[str, Any]) -> None:
        self._records[record["key"]] = record
        self.chat.store.put(transfers=list(self._records.values()))

    def _forget(self, record: dict[str, Any]) -> None:
        self._records.pop(record["key"], None)
        self.chat.store.put(transfers=list(self._records.values()))
        for part in record["spool"]:
            (self.chat.store.folder / part).unlink(missing_ok=True)

    # -- what is typed ------------------------------------------------------------------------------------------------

    def command(self, do: str, fields: Mapping[str, Any]) -> None:
        """`/send`, `/image`, `/get` or `/cancel` was typed."""
        try:
            if do == "send":
                self.send(fields["room"], Path(fields["path"].strip().strip("'\"")).expanduser())
            elif do == "image":
                path, caption = split(fields["path"])
                self.run_asking(self.pictures.send(fields["room"], path, caption))
            elif do == "get":
                self.run_asking(self._get(fields))
            else:
                self._cancel(fields.get("file"))
        except Failed as failed:
            self.chat.notice(*failed.rows, style="class:error")

    def send(
        self,
        room: int,
        path: Path,
        caption: str = "",
        *,
        name: str | None = None,
        mid: str | None = None,
        spooled: bool = False,
    ) -> str:
        """Send this file to a room of mine; the transfer's key. `spooled`: the file is ours, and goes when it is sent.

        @raise Failed: there is no such file.
        """
        shown = clean(name or path.name)
        try:
            source = Source(path)
            source.close()
        except Unsendable as error:
            raise Failed(sentences.not_sent_file(shown or str(path), str(error))) from None
        place = self.chat.view.places.get(room)
        mid = mid or new_mid(self.chat.now())
        record = {
            "key": mid,
            "way": "up",
            "account": self.chat.view.account,
            "mid": mid,
            "room": room,
            "path": str(path.resolve()),
            "name": name or path.name,
            "type": guess_type(path.name)[0] or "application/octet-stream",
            "caption": caption,
            "mark": source.mark,
            "message": new_mid(self.chat.now()) if place is not None and place.sealed else None,
            "about": None,
            "spool": [path.name] if spooled else [],
        }
        self._keep(record)
        self._start(record)
        return mid

    def told_by(self, key: str) -> str:
        """The `mid` of the event that will tell of a file that I send."""
        record = self._records[key]
        return str(record["message"] or record["mid"])

    def known(self, key: str) -> bool:
        """Whether there is such a transfer, of this run or an earlier one."""
        return key in self._records

    def send_text(self, room: int, text: str, name: str, *, mid: str | None = None) -> str:
        """Send a text as a file of this name."""
        mid = mid or new_mid(self.chat.now())
        path = self.spool() / f"{mid}.txt"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return self.send(room, path, name=name, mid=mid, spooled=True)

    async def _get(self, fields: Mapping[str, Any]) -> None:
        """Ask what it is, then whether it is wanted, then fetch it."""
        number, folder = str(fields["file"]), Path(fields.get("folder") or ".").expanduser()
        try:
            about = await self.call({"do": "download", "file": int(number) if number.isdecimal() else number})
        except Refused as error:
            raise Failed(error.error["text"], *error.error.get("help", "").splitlines()) from None
        except Lost:
            raise Failed(sentences.NOT_NOW) from None
        if number.isdecimal() and about["file"] != int(number):
            raise Failed(sentences.not_fetched(f"file {number}", sentences.TORN))
        record = self.wanted(about, folder)
        told = self.chat.store.get(f"file:{number}") or {}
        about = {**about, **{part: told[part] for part in ("by", "by_id", "room_id") if part in told}}
        name, size = clean(record["name"]), texts.size(record["size"])
        if not fields.get("confirmed"):
            question = ""
            if self.stranger(about["by_id"], about["room_id"]):
                question = sentences.TAKE_STRANGER.format(by=clean(about["by"]), name=name, size=size)
            elif record["size"] > LARGE:
                question = sentences.TAKE_LARGE.format(name=name, size=size)
            if question:
                if not self.chat.talk.ask_first("get", dict(fields), question):
                    raise Failed(sentences.ASK_AGAIN.format(file=number))
                return
        self.fetch(record)

    def wanted(self, about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """The record of a file to be fetched, from the server's answer and, for a sealed one, from its message.

        @raise Failed: its message was never opened here.
        """
        told = self.chat.store.get(f"file:{about['file']}") or about
        place = self.chat.view.places.get(about.get("room_id", 0))
        if told is about and place is not None and place.sealed and not about.get("sealed"):
            raise Failed(sentences.NO_KEY.format(file=about["file"]))
        number, digest = int(about["file"]), str(told["digest"])
        if not DIGEST.fullmatch(digest):  # it becomes part of a name here
            raise Failed(sentences.not_fetched(f"file {number}", sentences.TORN))
        record: dict[str, Any] = {
            "key": f"get {number} {folder.resolve()}",
            "way": "down",
            "account": self.chat.view.account,
            "file": number,
            "folder": str(folder.resolve()),
            "name": str(told.get("name") or f"file-{number}"),
            "size": int(told["size"]),
            "type": told.get("type") or "",
            "digest": digest,
            "held": told.get("sealed"),
            "mid": told.get("mid"),
            "spool": [],
        }
        if record["held"]:
            record["spool"] = [fetching.part(record)]
        return record

    def fetch(self, record: dict[str, Any]) -> None:
        """Fetch it, unless it is being fetched.

        @raise Failed: it is.
        """
        if any(transfer.key == record["key"] for transfer in self.under_way):
            raise Failed(sentences.UNDER_WAY.format(name=clean(record["name"])))
        self._keep(record)
        self._start(record)

    def _cancel(self, file: str | None) -> None:
        running = [each for each in self.under_way if file is None or str(each.file) == file]
        if file is None and len(running) != 1:
            numbers = " ".join(str(each.file) for each in running)
            raise Failed(sentences.NAME_ONE.format(files=numbers) if running else sentences.NOTHING_UNDER_WAY)
        for transfer in running:
            transfer.stopped = True
            if transfer.running is not None:
                transfer.running.cancel()
        if not running and file is not None:
            call = Call("cancel", {"file": file}, mid=new_mid(self.chat.now()), text=f"/cancel {file}")
            self.chat.sender.call(call)

    # -- transfers ----------------------------------------------------------------------------------------------------

    def _start(self, record: dict[str, Any]) -> None:
        up = record["way"] == "up"
        size = record["mark"][0] if up else record["size"]
        transfer = Transfer(record["key"], clean(record["name"]), size, up, self, record.get("file", 0))
        self.under_way.append(transfer)
        self.changed()
        run = self._upload(transfer, record) if up else self._download(transfer, record)
        transfer.running = Deferred.fromCoroutine(run)
        transfer.running.addErrback(self._broken)

    def _broken(self, failure: Any) -> None:
        """A mistake of ours: it is not to be swallowed."""
        if failure.check(CancelledError) is None:
            self.chat.notice(sentences.not_sent_file("", failure.getErrorMessage()), style="class:error")

    async def _upload(self, transfer: Transfer, record: dict[str, Any]) -> None:
        try:
            done = await sending.send(self, transfer, record, self._keep)
        except CancelledError:
            if transfer.stopped:
                self._over(transfer, record, None, [sentences.stopped(transfer.name)])
                if transfer.file:
                    self.call({"do": "cancel", "file": transfer.file}).addErrback(lambda _: None)
            else:
                self.under_way.remove(transfer)
        except sending.NotSent as error:
            self._over(transfer, record, None, error.rows)
        else:
            if record["message"] is not None:
                self.chat.sender.queue(sending.message(record, done["file"], self.chat.now()))
            self._over(transfer, record, None, [])

    async def _download(self, transfer: Transfer, record: dict[str, Any]) -> None:
        try:
            where = await fetching.fetch(self, transfer, record)
        except CancelledError:
            if transfer.stopped:
                fetching.drop(self, record)
                self._over(transfer, record, None, [sentences.stopped(transfer.name)])
            else:
                self.under_way.remove(transfer)
        except fetching.NotFetched as error:
            fetching.drop(self, record)
            self._over(transfer, record, None, [sentences.not_fetched(transfer.name, str(error))])
        else:
            self.chat.notice(sentences.saved(transfer.name, texts.size(record["size"]), clean(str(where))))
            self._over(transfer, record, where, [])

    def _over(self, transfer: Transfer, record: dict[str, Any], where: Path | None, fault: Iterable[str]) -> None:
        """A transfer has ended for good."""
        self.under_way.remove(transfer)
        self._forget(record)
        rows = list(fault)
        if rows:
            self.pictures.forget(record["message"] or record["mid"] if record["way"] == "up" else "")
            self.chat.notice(*rows, style="class:error")
        self.chat.face.filed(record["key"], where, rows)
        self.chat.face.refresh()

    def run_asking(self, asking: Any) -> None:
        """Do something whose outcome the next line may depend on."""
        self.asking += 1

        def done(result: Any) -> None:
            self.asking -= 1
            if result is not None:
                if result.check(Failed, Refusal) is None:
                    result.raiseException()
                self.chat.notice(*result.value.args, style="class:error")
            self.chat.face.refresh()

        Deferred.fromCoroutine(asking).addBoth(done)

    # -- what is shown ------------------------------------------------------------------------------------------------

    def lines(self, columns: int) -> list[str]:
        """A line for each transfer, in the order begun."""
        several = len(self.under_way) > 1
        now = self.now()
        return [
            progress.waiting(transfer.name, transfer.size, columns, transfer.file if several else 0)
            if transfer.waits and not transfer.done
            else progress.line(
                transfer.shown, transfer.done, transfer.total, transfer.rate(now), columns,
                transfer.file if several else 0, transfer.size,
            )
            for transfer in self.under_way
        ]  # fmt: skip

    def stranger(self, by: int, room: int) -> bool:
        """Whether somebody is one to whom I have never written, and with whom I am in no group that this came to."""
        place = self.chat.view.places.get(room)
        me = self.chat.view.account
        if by == me or (place is not None and place.kind == "group"):
            return False
        return not any(fields.get("by_id") == me for fields in self.chat.store.last(room, WRITTEN))

    def heard(self, fields: Mapping[str, Any], *, live: bool) -> None:
        """A file was sent: keep how it is opened, and show it where it is a picture."""
        data = fields.get("data")
        if not data:
            return
        if data.get("sealed") and fields.get("e2e"):
            self._told(fields, data)
        self.pictures.heard(fields, data, live=live)

    def _told(self, fields: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Keep how a sealed file is opened. Two that the server gives one number are none: who knows which is meant?"""
        name = f"file:{data['file']}"
        known = self.chat.store.get(name)
        told = {part: data.get(part) for part in ("name", "size", "type", "digest", "sealed")}
        told |= {part: fields.get(part) for part in ("mid", "by", "by_id", "room_id")}
        if known is not None and known["mid"] != told["mid"]:
            told |= {"digest": "", "mid": None}
        self.chat.store.put(**{name: told})

    def named(self, files: Iterable[dict[str, Any]]) -> None:
        """Files of an answer, with what the server cannot know of sealed ones."""
        for each in files:
            told = self.chat.store.get(f"file:{each['file']}")
            if told is not None:
                each.update(name=told["name"], size=told["size"], type=told["type"])


def split(typed: str) -> tuple[Path, str]:
    """A path, perhaps in quotes or with spaces in it, and what follows: the longest beginning that is a file.

    >>> split("'/no such/cat.png' asleep again")
    (PosixPath('/no such/cat.png'), 'asleep again')
    >>> split("/nowhere/cat.png asleep")
    (PosixPath('/nowhere/cat.png'), 'asleep')
    """
    typed = typed.strip()
    if typed[:1] in ("'", '"'):
        quote = typed.find(typed[0], 1)
        if quote > 0:
            return Path(typed[1:quote]).expanduser(), typed[quote + 1 :].strip()
    words = typed.split(" ")
    for count in range(len(words), 0, -1):
        path = Path(" ".join(words[:count])).expanduser()
        if path.is_file():
            return path, " ".join(words[count:]).strip()
    return Path(words[0]).expanduser(), " ".join(words[1:]).strip()
