"""What could not be opened on this device, and what is done about it (E2E.md §5).

The rule: a message whose envelope has not come is on disk here until it is opened, and its sender is asked for it, each
time after twice as long, for as long as anybody could answer. Who has sent what opens with nothing is sent a word over
a new session first, at most one in RETRY_MS. What was asked is noted down when the word is out: who is killed between
the two asks once more.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from client.crypto import encoding
from client.crypto.message import End
from client.crypto.ratchets import Book
from client.crypto.thread import MISSING_MOST

KEPT_MS: Final = 30 * 24 * 3_600_000
"""How long what was sent can be asked for again, and an envelope waits for its event."""
LOST_MS: Final = 15_000
"""So long after an event its envelope is late, and is asked for."""
RETRY_MS: Final = 10 * 60_000
"""At most one new session with a device in that time, because something of its could not be opened; and the time after
which a message is asked for again, doubled with each further one."""
MIDS_MOST: Final = 100
"""How many messages a word asks for."""


class Missing(NamedTuple):
    """A message that is here without its envelope. `what` names its key's row; it is asked for at `due` (ms)."""

    account: int
    device: str
    mid: str
    seq: int
    what: str
    due: int
    asked: int = 0


class Wound(NamedTuple):
    """What is to be healed with a device: these messages are asked for; `broken`: over a new session."""

    account: int
    device: bytes
    mids: tuple[str, ...]
    broken: bool


class Healing:
    """What waits to be healed. Writing takes a transaction of the book."""

    def __init__(self, book: Book) -> None:
        self.book = book

    def broken(self, end: End, now: int) -> bool:
        """No session opens what this device has sent. Whether that is news: said once, until it is healed."""
        name = f"{end.account} {encoding.text(end.device.id)}"
        kept = self.book.get("wound", name) or {"asked": 0, "said": False}
        self.book.put("wound", name, {"asked": kept["asked"], "said": True}, now + KEPT_MS)
        wounds = self.book.get("wounds", "all") or []
        if name not in wounds:
            self.book.put("wounds", "all", [*wounds, name])
        return not kept["said"]

    def waits(self, missing: Missing) -> None:
        """This message is here, and its envelope is not. What came before this device was known was not for it."""
        kept = self.book.get("missing", "all") or []
        if missing.seq > (self.book.get("bound", "seq") or 0) and all(row[4] != missing.what for row in kept):
            self.book.put("missing", "all", [*kept, list(missing)][-MISSING_MOST:])

    def missing(self) -> list[tuple[Missing, Any]]:
        """What still waits, each with its key, if that has come meanwhile."""
        rows = [Missing(*row) for row in self.book.get("missing", "all") or ()]
        return [(row, self.book.get("key", row.what)) for row in rows if self.book.get("waiting", row.what) is not None]

    def wounds(self, now: int) -> list[Wound]:
        """What is to be healed now."""
        broken = set()
        for name in self.book.get("wounds", "all") or ():
            kept = self.book.get("wound", name)
            if kept is not None and now - kept["asked"] >= RETRY_MS:
                broken.add(name)
        asked: dict[str, list[str]] = {name: [] for name in sorted(broken)}
        for row, key in self.missing():
            name = f"{row.account} {row.device}"
            if key is None and (row.due <= now or name in broken):
                asked.setdefault(name, []).append(row.mid)
        ends = [name.split(" ") for name in asked]
        return [
            Wound(int(account), encoding.data(device), tuple(mids[:MIDS_MOST]), f"{account} {device}" in broken)
            for (account, device), mids in zip(ends, asked.values(), strict=True)
        ]

    def asked(self, wound: Wound, now: int) -> None:
        """The word is out."""
        account, device = wound.account, encoding.text(wound.device)
        if wound.broken:
            name = f"{account} {device}"
            self.book.put("wound", name, {"asked": now, "said": False}, now + KEPT_MS)
            self.book.put("wounds", "all", [other for other in self.book.get("wounds", "all") if other != name])
        rows = []
        for row, _ in self.missing():
            if (row.account, row.device) == (account, device) and row.mid in wound.mids:
                row = row._replace(due=now + (RETRY_MS << row.asked), asked=row.asked + 1)
            rows.append(list(row))
        self.book.put("missing", "all", rows)
