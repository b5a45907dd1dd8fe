"""A server that was restored from a backup has lost what was signed since: this device shows it what it has of that.

The rule: nothing is signed anew. Lists of devices and entries of groups go out as they were signed, each where it
continues what the server has; so a server that only says that it was restored learns and gains nothing by it. An entry
is shown by the device that signed it, since the server takes it from no other.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from client.answers import Refused
from client.crypto import encoding, roomlog
from client.outbox import new_mid

if TYPE_CHECKING:
    from client.courier import Courier
    from client.crypto.roomlog import Entry

LOST: Final = "lost", "seqs"
"""Which numbers of the log the server has said to have lost: [[first, last], …]."""
ABOUT: Final = {
    "add": "add",
    "remove": "kick",
    "ban": "ban",
    "unban": "unban",
    "promote": "promote",
    "demote": "demote",
    "transfer": "transfer",
}
"""An entry about somebody → the command that it belongs to."""


def lose(courier: Courier, first: int, last: int) -> None:
    """The server has said that these numbers are lost: what came under them may come again under others."""
    book = courier.keys.book
    with book.atomic():
        book.put(*LOST, [*(book.get(*LOST) or ()), [first, last]])


async def is_told_once(courier: Courier, number: int, entry: int, seq: int) -> bool:
    """Whether an entry of a group is told by this event for the first time, or again since the server had lost it."""
    book, where = courier.keys.book, f"{number} {entry}"
    told = book.get("told", where)
    if told == seq:
        return True
    if told is not None and not any(first <= told <= last for first, last in book.get(*LOST) or ()):
        return False
    with book.atomic(durable=False):
        book.put("told", where, seq)
    if told is not None:
        with contextlib.suppress(Refused):
            await give_entries(courier, number)  # what comes behind it may be ours
    return True


async def give_devices(courier: Courier) -> None:
    """Devices that were added since are so again, and those that were revoked stay revoked.

    @raise Refused: the server's refusal.
    """
    keys = courier.keys
    answer = await courier.ask({"do": "manifests", "people": [keys.account]})
    held = {given["manifest"] for given in answer["manifests"]}
    ours = keys.manifests
    lost = ours[max((number for number, raw in enumerate(ours, 1) if raw in held), default=0) :]
    if not lost:
        return
    try:
        for raw in lost:
            await courier.ask({"do": "publish", "manifest": raw})
    except Refused as refused:
        if refused.code != "STALE":  # it has others: nothing of ours continues those
            raise
    if (blob := keys.recovery_blob()) is not None:
        await courier.ask({"do": "vault", "blob": encoding.text(blob)})


async def give_entries(courier: Courier, number: int) -> bool:
    """What this device has changed in a group is done again, up to what another one has signed. Whether the server has
    gone on by that: one that does not is not asked again.

    @raise Refused: the server's refusal.
    """
    keys, first, before = courier.keys, 0, 0
    while True:
        log = courier.sealing.log(number, courier.now())
        head = str((await courier.ask({"do": "recipients", "room": number})).get("head"))
        heads = [] if log is None else [encoding.text(past) for past, _ in log.past]
        at = heads.index(head) + 1 if head in heads else 0
        first = first or at
        if at <= before or at == len(heads):
            return at > first
        entry = roomlog.read(proof := courier.sealing.proof(number, at + 1))
        if (entry.actor, entry.device) != (keys.account, keys.own.id):
            return at > first
        try:
            await courier.ask({**_call(entry), "room": number, "mid": new_mid(), "proofs": [encoding.text(proof)]})
        except Refused:  # the log has gone on meanwhile, or somebody is no more: it stays as it is
            return at > first
        before = at


def _call(entry: Entry) -> dict[str, Any]:
    """The call that an entry was signed for."""
    match entry.action:
        case "name":
            return {"do": "rename", "name": entry.value}
        case "door":
            return {"do": "door", "door": entry.value}
        case "join":
            return {"do": "join", "ak": encoding.text(entry.target_ak)}
        case action if action in ABOUT:
            return {"do": ABOUT[action], "user": entry.target}
    return {"do": entry.action}
