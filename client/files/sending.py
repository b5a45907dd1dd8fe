"""A file goes out: sealed first where the room is, then byte by byte, with the sentence for each way it can end.

The rule: the server's word decides. What it has stored is sent; what it refused for good is not, and is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client import sentences
from client.answers import Refused
from client.crypto import stream
from client.files import sealed
from client.files.source import Changed, Source, Unsendable
from client.files.transfer import Transfer, upload
from client.outbox import Entry, new_mid

if TYPE_CHECKING:
    from client.files.desk import Files


class NotSent(Exception):
    """It was not, and will not be. The rows say why."""

    def __init__(self, *rows: str) -> None:
        super().__init__(*rows)
        self.rows = rows


async def send(
    files: Files, transfer: Transfer, record: dict[str, Any], keep: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Send what the record says; what the server said last: `file`, and `seq` where the room was told.

    @raise NotSent: for good.
    """
    source: Source | None = None
    try:
        source = Source(Path(record["path"]), mark=record["mark"])
        call: dict[str, Any] = {"do": "upload", "room": record["room"], "mid": record["mid"]}
        if record["message"] is None:
            call |= {"size": source.size, "name": record["name"], "type": record["type"]}
            if record["caption"]:
                call["caption"] = record["caption"]
        else:
            source = await _sealed(files, transfer, record, source, keep)
            call |= {"mid": record["mid"], "size": source.size, "digest": record["about"]["digest"]}
            transfer.total = source.size
        transfer.reach(0)
        return await upload(transfer, source, call)
    except Unsendable as error:
        raise NotSent(sentences.not_sent_file(transfer.name, str(error))) from None
    except (Changed, stream.Changed):
        raise NotSent(sentences.not_sent_file(transfer.name, sentences.CHANGED)) from None
    except Refused as error:
        why = (f"{sentences.NOT_SENT}{transfer.name}", error.error["text"], *error.error.get("help", "").splitlines())
        raise NotSent(*why) from None
    except OSError as error:
        raise NotSent(sentences.not_sent_file(transfer.name, (error.strerror or "the disk").lower())) from None
    finally:
        if source is not None:
            source.close()


async def _sealed(
    files: Files, transfer: Transfer, record: dict[str, Any], source: Source, keep: Callable[[dict[str, Any]], None]
) -> Source:
    """The sealed file, made now if no earlier run has made it."""
    spool = files.spool() / f"{record['key']}.sealed"
    source.close()
    if record["about"] is not None and not await files.in_thread(sealed.is_whole, spool, record["about"]):
        record |= {"about": None, "mid": new_mid(), "message": new_mid()}  # other bytes are another upload
    if record["about"] is None:
        record["spool"] = sorted({*record["spool"], spool.name})
        keep(record)
        transfer.waits = True
        room = await files.crypto_room(record["room"])
        transfer.waits = False
        transfer.phase = sentences.SEALING

        def step(done: int) -> None:
            transfer.done = done
            if transfer.stopped:
                raise InterruptedError

        record["about"] = await files.in_thread(
            sealed.seal_file, source.path, source.size, spool, room, record["message"], step
        )
        Source(source.path, mark=record["mark"]).close()  # else it is not what was measured
        keep(record)
        transfer.phase = ""
    return Source(spool, digest=record["about"]["digest"])


def message(record: Mapping[str, Any], file: int, at: int) -> Entry:
    """The sealed message that tells the room of a file: where it is, and how it is opened."""
    about = {**record["about"], "name": record["name"], "type": record["type"], "size": record["mark"][0]}
    if record["caption"]:
        about["caption"] = record["caption"]
    return Entry(
        record["message"],
        record["account"],
        "say",
        record["room"],
        record["caption"] or record["name"],
        at,
        {"file": file, "content": {"file": about}},
    )
