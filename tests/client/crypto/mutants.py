"""Each defence taken out, one at a time: a test must fail. `python -m tests.client.crypto.mutants`.

The rule: a mutant is one replacement in one file, in a copy of the tree; who changes a defence changes its line here.
"""

# ruff: noqa: E501 - lines of the program stand here as they are

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]
DISHONEST, RATCHETS, PEOPLE = (f"tests.client.crypto.test_{name}" for name in ("dishonest", "ratchets", "people"))
CHATS, WITHHELD, SEALED = (f"tests.client.test_{name}" for name in ("dishonest", "withheld", "sealed"))


class Mutant(NamedTuple):
    """A defence, where it stands, and what is left when it is taken out."""

    defence: str
    file: str
    line: str
    instead: str
    tests: str = DISHONEST


MUTANTS = [
    Mutant("one-time keys are signed by their device", "crypto/prekeys.py",
           'record = signed(f"chatd/{kind}/1", device.dks, raw)', "record = raw[:-64]"),
    Mutant("a one-time key names its device", "crypto/prekeys.py",
           "if (by, signer, named) != (account, device.id, kind):", "if False:"),
    Mutant("a manifest is signed by its account key", "crypto/identity.py",
           "unpack(_MANIFEST, signed(MANIFEST, raw[_AK], raw))", "unpack(_MANIFEST, raw[:-SIGNATURE])",
           "tests.client.crypto.test_identity"),
    Mutant("a device signs its own entry", "crypto/identity.py",
           "verify(DEVICE, device.dks, _claim(device, account, ak), device.signature)", "pass"),
    Mutant("a lower manifest is an alarm", "crypto/identity.py",
           "if after.seq < before.seq:\n        return Alarm.ROLLED_BACK", "if after.seq < before.seq:\n        return None",
           "tests.client.crypto.test_identity"),
    Mutant("the server's word on manifests is held against what is known", "courier.py",
           "elif seq < person.newest.seq:", "elif False:"),
    Mutant("two manifests of one number are an alarm", "courier.py",
           'elif encoding.data(member["hash"]) != person.newest.hash:', "elif False:"),
    Mutant("another account key is not believed by itself", "courier.py",
           "if room.direct and room.why.get(room.direct) is Warn.CHANGED:", "if False:"),
    Mutant("a changed key gets nothing", "sealing.py",
           "elif person.trust is Trust.CHANGED:", "elif False:", PEOPLE),
    Mutant("what a changed key says is held", "sealing.py",
           "if self.keys.trust(account) is Trust.CHANGED:\n            return Opened(plain.content, Warn.CHANGED)",
           "if False:\n            pass", PEOPLE),
    Mutant("a revoked device gets nothing", "sealing.py",
           "if account in why or device is None or device.revoked:", "if account in why or device is None:"),
    Mutant("a message names the sender's manifest", "sealing.py",
           "if self.keys.seen(account, plain.manifest_seq, plain.manifest) is not None:", "if False:"),
    Mutant("who is in no signed entry gets nothing", "sealing.py",
           "if member is None and (log is not None or account not in (self.keys.account, direct)):", "if False:"),
    Mutant("a change of a group is signed", "courier.py",
           "return known and proof is not None and entries.says(line, roomlog.read(proof))", "return True"),
    Mutant("an event says what its entry says", "courier.py",
           "return known and proof is not None and entries.says(line, roomlog.read(proof))", "return known", CHATS),
    Mutant("only an admin adds", "crypto/roomlog.py",
           "def _needs(role: Role, least: Role) -> None:\n    if role < least:", "def _needs(role: Role, least: Role) -> None:\n    if False:"),
    Mutant("nobody joins a door that is not open", "crypto/roomlog.py",
           "if log.door is not Door.OPEN or entry.actor in log.banned:", "if False:"),
    Mutant("a log that is not the one known stops sending", "courier.py",
           'if log is None or encoding.text(log.head) != answer.get("head"):', "if log is None:"),
    Mutant("an entry follows the one before it", "crypto/roomlog.py",
           "if (entry.room, entry.before, entry.seq) != (log.room, log.head, log.seq + 1):", "if False:",
           "tests.client.crypto.test_roomlog"),
    Mutant("a message names the head it was sent on", "sealing.py",
           "if header.log_seq > log.seq or log.head_at(header.log_seq) != header.head:", "if header.log_seq > log.seq:"),
    Mutant("the welcome names the head", "logs.py",
           "return None if known is not None and encoding.text(known) == head else Warn.FORK", "return None"),
    Mutant("what was opened is not opened again", "sealing.py",
           "if given == OPENED:\n            return Opened(warn=Warn.AGAIN)", "if False:\n            pass"),
    Mutant("one's own message is there once", "sealing.py",
           'if kept["seq"] not in (0, seq):', "if False:"),
    Mutant("an ended session is not begun again", "crypto/ratchets.py",
           'if first.session_id() in state["tombs"]:', "if False:"),
    Mutant("an envelope is taken once", "sealing.py", "if n <= self.received:", "if False:"),
    Mutant("messages are counted", "crypto/thread.py",
           "return after, Place.GAP if left_out and not explained else Place.NEXT", "return after, Place.NEXT"),
    Mutant("what is lost is asked for again", "courier.py",
           'if came.kind == "retry":\n            await self._again(came.fields)', 'if came.kind == "retry":\n            pass'),
    Mutant("sender and header agree", "sealing.py",
           "if (header.account, header.mid) != (by, mid):", "if False:"),
    Mutant("a name belongs to one account", "courier.py",
           'if line["by"] != DELETED and not self.keys.named(by, str(line["by"])):', "if False:"),
    Mutant("a header names its room", "sealing.py",
           "if log is None or header.room != log.room:", "if log is None:"),
    Mutant("an envelope names its body", "crypto/message.py",
           'if body != sealed.digest:\n        raise Forged("another body")', "pass"),
    Mutant("the header commits to the key", "crypto/message.py",
           'if digest("chatd-commit", key) != header.commitment:', "if False:"),
    Mutant("an envelope is bound to its ends", "crypto/message.py",
           'if bind != _bind("chatd-bind", sealed.header, sender, recipient):', "if False:"),
    Mutant("an envelope is the header's sender's", "crypto/message.py",
           "if (header.account, header.device) != (sender.account, sender.device.id):", "if False:"),
    Mutant("a word is bound to its ends", "crypto/message.py",
           'if bind != _bind("chatd-control", payload, sender, recipient):', "if False:"),
    Mutant("a room's messages do not go back behind an entry", "sealing.py",
           'if header.log_seq < kept["floor"] and not late:', "if False:"),
    Mutant("a stranger is not heard", "sealing.py",
           "if not log.was_in(header.log_seq, header.account):", "if False:"),
    Mutant("a revoked device is not heard", "sealing.py", "if end.device.revoked:", "if False:"),
    Mutant("a revoked device signs nothing more", "crypto/roomlog.py",
           "if signer.revoked and entry.time >= signer.revoked:", "if False:", PEOPLE),
    Mutant("a verified key is not simply replaced", "keyring.py", "if person.verified:\n            return False", "pass", PEOPLE),
    Mutant("a code is of one device", "keyring.py",
           "not people.same_code(typed, people.device_code(self.account, key.public, entry))", "False", PEOPLE),
    Mutant("who only listens writes now and then", "crypto/ratchets.py",
           'return bool(state["received"] >= HEARTBEAT_AFTER or late)', "return False", RATCHETS),
    Mutant("a message's key is forgotten", "sealing.py",
           'self.book.put("key", what, OPENED, now + KEPT_MS)\n            self.book.put("waiting"', 'self.book.put("waiting"', RATCHETS),
    Mutant("a device that is not known is asked about", "keyring.py",
           "if found is None:\n            raise Unknown(account)", "pass", PEOPLE),
    Mutant("what came without its envelope is asked for", "healing.py",
           "if key is None and (row.due <= now or name in broken):", "if False:", RATCHETS),
    Mutant("what was asked for is asked for again", "healing.py",
           "row = row._replace(due=now + (RETRY_MS << row.asked), asked=row.asked + 1)", "continue", WITHHELD),
    Mutant("what was opened is kept with its key", "opening.py",
           "self.chat.store.keep(Held(fields[\"seq\"], fields[\"room_id\"], weight, fields))", "pass", SEALED),
    Mutant("what is stored is not sent again", "courier.py",
           "if seq := self.sealing.stored_as(mid):", "if seq := 0:", RATCHETS),
    Mutant("a name is whose it was", "courier.py",
           "if name != folded(typed) or not self.keys.named(account, name):", "if False:", CHATS),
    Mutant("a group is no conversation of two", "courier.py",
           'return said == "direct" and self.sealing.log(room, self.now()) is None', 'return said == "direct"'),
    Mutant("a conversation of two has no log", "courier.py",
           "return Warn.FORK  # a conversation of two has no log", "pass"),
    Mutant("a welcome waits for its log", "courier.py",
           'if (waiting := self.keys.book.get("welcome", origin)) is not None:', "if (waiting := None) is not None:"),
    Mutant("what was sealed stays so", "sealed.py",
           "place.sealed = place.sealed or place.id in pinned", "pass", CHATS),
    Mutant("a sealed room is called as was signed", "sealed.py",
           "if not place.sealed:\n            return\n", "return\n", CHATS),
    Mutant("what a script sends by name is sealed", "sealed.py",
           "if isinstance(entry.room, str) and self.hides(entry.room):", "if False:", CHATS),
    Mutant("a conversation is nobody else's room", "sealed.py",
           "if not self._free_for(number, account):", "if False:", CHATS),
    Mutant("a sealed line is something said", "opening.py",
           "return sealed_line(line)", "return line", CHATS),
    Mutant("a group that nobody knows borrows no name", "opening.py",
           "sealed = self.sealed.is_sealed(line.get(\"room_id\", 0)) or self._borrows(line)",
           "sealed = self.sealed.is_sealed(line.get(\"room_id\", 0))", CHATS),
    Mutant("pages of the past are of the room asked for", "past.py",
           'return {**line, "ev": kind, "room": place.name, "room_id": place.id}',
           'return {"ev": kind, "room": place.name, "room_id": place.id, **line}', CHATS),
    Mutant("a token is one person's", "chat.py",
           'if inside and fields["account"] != known[1]:', "if False:", CHATS),
    Mutant("names reach no terminal as they are", "view.py",
           'by_name=clean(str(fields.get("by") or ""))', 'by_name=str(fields.get("by") or "")', CHATS),
]  # fmt: skip


def survives(mutant: Mutant) -> bool:
    """Whether no test notices."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("client", "chatd", "tests"):
            shutil.copytree(
                ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__", "bench", "_trial*")
            )
        path = Path(folder, "client", mutant.file)
        text = path.read_text("utf-8")
        if text.count(mutant.line) != 1:
            raise SystemExit(f"{mutant.file}: {mutant.line!r} stands there {text.count(mutant.line)} times")
        path.write_text(text.replace(mutant.line, mutant.instead), "utf-8")
        command = [sys.executable, "-m", "twisted.trial", "-x", mutant.tests]
        return (
            subprocess.run(
                command, cwd=folder, env={**os.environ, "PYTHONPATH": folder}, capture_output=True
            ).returncode
            == 0
        )


def main() -> None:
    """Take each out, and say which no test has noticed."""
    alive = []
    for mutant in MUTANTS:
        lives = survives(mutant)
        alive += [mutant] * lives
        print(f"{'NOT NOTICED' if lives else 'noticed    '}  {mutant.defence}", flush=True)
    print(f"{len(MUTANTS) - len(alive)} of {len(MUTANTS)} noticed")
    sys.exit(bool(alive))


if __name__ == "__main__":
    main()
