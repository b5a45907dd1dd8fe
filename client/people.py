"""Whose keys are whose, as a person asks and decides it: safety numbers, devices, a new device, recovery (E2E.md §8).

The rule: what is decided here was typed by the person in front of the screen. The server brings lists and requests;
none of them is acted on before somebody has compared a number or a code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from client import sentences
from client.answers import Refused
from client.conversation import Call, Question

if TYPE_CHECKING:
    from client.chat import Chat
    from client.crypto.identity import Manifest, Person
    from client.keyring import Keyring

COMMANDS: Final = frozenset({"safety", "verify", "accept", "keys", "devices", "device", "recover"})
"""What this file does of the client's own commands."""
LINKING: Final = "linking", "entry"
"""Where a new device keeps the entry that it asks to be listed with."""
DIGITS: Final = 60
"""Of a safety number."""
ROUNDS: Final = 3
"""How often a manifest is signed anew where another device was faster."""


class People:
    """One chat's dealings with keys, by hand."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.asking = 0
        """How many commands are under way: the next line may be an answer to what they ask."""

    @property
    def _keys(self) -> Keyring:
        return self.chat.sealed.keys

    def command(self, do: str, fields: Mapping[str, Any]) -> None:
        """One of `COMMANDS`."""
        if not self.chat.inside:
            self._bad(sentences.NOT_NOW)
        elif not self.chat.sealed.usable:
            self._bad(sentences.NO_KEYS_SERVER)
        else:
            work: dict[str, Callable[[Mapping[str, Any]], Coroutine[Any, Any, None]]] = {
                "safety": self._safety,
                "verify": self._verify,
                "accept": self._accept,
                "keys": self._keys_of,
                "devices": self._devices,
                "device": self._device,
                "recover": self._recover,
            }
            self.asking += 1
            self.chat.sealed.run(work[do](fields)).addBoth(lambda _: self._asked())

    def _asked(self) -> None:
        self.asking -= 1
        self.chat.typist.go_on()
        self.chat.face.refresh()

    def _say(self, *rows: str) -> None:
        self.chat.notice(*rows)

    def _bad(self, *rows: str) -> None:
        self.chat.notice(*rows, style="class:error")

    async def _ask(self, do: str, **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await self.chat.link.call({"do": do, **fields})
        return answer

    def _ask_person(self, do: str, fields: dict[str, Any], field: str, text: str, *, secret: bool = False) -> None:
        """Have the person say what is missing; the command is then done again with it."""
        self.chat.talk.question = Question(Call(do, fields), field, text, secret=secret)
        self.chat.face.refresh()

    # -- others -------------------------------------------------------------------------------------------------------

    async def _who(self, do: str, fields: Mapping[str, Any]) -> tuple[str, Person] | None:
        """The person who is meant, or the other one of this conversation, as their keys stand now."""
        place = self.chat.view.place
        typed = str(fields.get("user") or (place.name if place is not None and place.kind == "direct" else ""))
        if not typed:
            self._bad(sentences.WHOSE.format(do=do))
            return None
        keys, courier = self._keys, self.chat.sealed.courier
        found = await courier.whom(typed)
        if found is None:
            who = await self._ask("whois", user=typed.removeprefix("@"))  # is there such a person?
            self._bad(sentences.NO_KEYS.format(name=who["name"]))
            return None
        account, name = found
        await courier.learn(account)
        person = keys.person(account)
        if person is None:
            return None
        return name, person

    async def _safety(self, fields: Mapping[str, Any]) -> None:
        """Show the number to compare."""
        from client.crypto import people

        who = await self._who("safety", fields)
        if who is None:
            return
        name, person = who
        account = person.manifest.account
        if account == self._keys.account:
            self._bad(sentences.OWN_NUMBER)
            return
        number = self._keys.safety(account)
        if number is None:
            self._bad(sentences.UNLINKED_YET)
            return
        state = sentences.TRUST[str(self._keys.trust(account))].format(name=name)
        halves = [people.grouped(number[at : at + 20]) for at in (0, 20, 40)]
        rows = [sentences.SAFETY.format(name=name, state=state), *(f"  {row}" for row in halves)]
        if not self.chat.face.ascii_only and self.chat.face.keep:
            rows += picture(number)
        self._say(*rows, sentences.COMPARE.format(name=name))

    async def _verify(self, fields: Mapping[str, Any]) -> None:
        """The person has compared the number."""
        fields = named(fields)
        who = await self._who("verify", fields)
        if who is None:
            return
        name, person = who
        typed = fields["digits"]
        if not typed:
            self._ask_person("verify", {"user": name}, "digits", sentences.DIGITS.format(name=name))
            return
        keys, account = self._keys, person.manifest.account
        if not typed.isdecimal() or len(typed) != DIGITS:
            self._bad(sentences.NO_DIGITS.format(count=sum(map(str.isdecimal, typed))))
            return
        with keys.book.atomic():
            right = account != keys.account and keys.verify(account, typed)
        if not right:
            self._bad(sentences.OTHER_DIGITS.format(name=name))
            return
        self._say(sentences.IS_VERIFIED.format(name=name))
        await self._taken(account)

    async def _accept(self, fields: Mapping[str, Any]) -> None:
        """The person takes a changed key as it is."""
        from client.crypto.identity import Trust

        who = await self._who("accept", fields)
        if who is None:
            return
        name, person = who
        keys, account = self._keys, person.manifest.account
        if keys.trust(account) is not Trust.CHANGED:
            self._say(sentences.NOT_CHANGED.format(name=name))
            return
        with keys.book.atomic():
            taken = keys.accept(account)
        if not taken:
            self._bad(sentences.WAS_VERIFIED.format(name=name))
            return
        self._say(sentences.ACCEPTED.format(name=name))
        await self._taken(account)

    async def _taken(self, account: int) -> None:
        """What waited for the key goes on: lines that were held are shown, lines that were not sent go out."""
        self.chat.opening.release(account)
        self.chat.sender.pump()
        await self._keep()

    async def _keep(self) -> None:
        """What the server keeps for a lost device is what is believed now."""
        from client.crypto import encoding

        blob = self._keys.recovery_blob()
        if blob is not None:
            await self._ask("vault", blob=encoding.text(blob))

    async def _keys_of(self, fields: Mapping[str, Any]) -> None:
        """How somebody's keys stand."""
        who = await self._who("keys", fields)
        if who is not None:
            name, person = who
            state = sentences.TRUST[str(person.trust)].format(name=name)
            self._say(sentences.KEYS.format(name=name, state=state), *map(listed, person.newest.live))

    # -- one's own devices --------------------------------------------------------------------------------------------

    async def _mine(self) -> Manifest | None:
        """This account's newest manifest."""
        await self.chat.sealed.courier.learn(self._keys.account)
        me = self._keys.person(self._keys.account)
        return None if me is None else me.newest

    async def _devices(self, fields: Mapping[str, Any]) -> None:
        """List them, and those that ask to be listed."""
        me = await self._mine()
        if me is None:
            return
        rows = []
        for number, device in enumerate(me.live, 1):
            here = sentences.THIS_DEVICE if device.id == self._keys.own.id else ""
            rows.append(f"{number}{listed(device)}{here}")
        self._say(*rows)
        if self.chat.sealed.unlinked:
            await self.ask_to_be_linked()
        elif (await self._ask("links"))["links"]:
            self._say(sentences.ASKS)

    async def _device(self, fields: Mapping[str, Any]) -> None:
        """Add a device by its code, or revoke one by its number."""
        what, which = str(fields.get("what", "")), str(fields.get("which", "")).strip()
        if what == "add" and which:
            await self._add(which)
        elif what == "revoke" and which.isdecimal():
            await self._revoke(which, confirmed=bool(fields.get("confirmed")))
        else:
            self._bad(sentences.DEVICE_USAGE)

    async def _add(self, typed: str) -> None:
        from client.crypto import encoding
        from client.crypto.encoding import Forged, Malformed

        keys = self._keys
        if keys.account_key is None:
            self._bad(sentences.NOT_PRIMARY)
            return
        for _ in range(ROUNDS):
            if await self._mine() is None:
                return
            made: Manifest | None = None
            for given in (await self._ask("links"))["links"]:
                try:
                    made = made or keys.link(typed, encoding.data(given["entry"]), self.chat.now())
                except (Forged, Malformed, ValueError):
                    continue  # an entry that its device has not signed so: whoever put it there
            if made is None:
                self._bad(sentences.NO_SUCH_CODE)
                return
            if await self._publish(made):
                self._say(sentences.ADDED)
                return

    async def _revoke(self, which: str, *, confirmed: bool) -> None:
        keys = self._keys
        if keys.account_key is None:
            self._bad(sentences.NOT_PRIMARY)
            return
        for _ in range(ROUNDS):
            me = await self._mine()
            if me is None or not 0 < int(which) <= len(me.live):
                self._bad(sentences.NO_SUCH_DEVICE.format(number=which))
                return
            device = me.live[int(which) - 1]
            if device.id == keys.own.id:
                self._bad(sentences.NOT_THIS_ONE)
                return
            if not confirmed:
                text = sentences.REVOKE.format(device=listed(device).strip())
                self.chat.talk.ask_first("device", {"what": "revoke", "which": which}, text)
                self.chat.face.refresh()
                return
            made = keys.revoke(device.id, self.chat.now())
            if made is not None and await self._publish(made):
                self._say(sentences.REVOKED.format(device=listed(device).strip()))
                return

    async def _publish(self, manifest: Manifest) -> bool:
        """Have the server show this list of my devices; False: another one was first, and is known now."""
        from client.crypto import encoding

        keys = self._keys
        try:
            await self._ask("publish", manifest=encoding.text(manifest.raw))
        except Refused as refused:
            if refused.code != "STALE":
                raise
            return False
        with keys.book.atomic():
            keys.learn(keys.account, [manifest.raw])
        await self._keep()
        return True

    # -- a new device -------------------------------------------------------------------------------------------------

    async def ask_to_be_linked(self) -> None:
        """This device is none of the account's: ask, and show the code that the first device is to be told."""
        from client.crypto import encoding

        keys = self._keys
        me = keys.person(keys.account)
        if me is None:
            return
        kept = keys.book.get(*LINKING)
        ak = encoding.text(me.newest.ak)
        if kept is None or kept["ak"] != ak:
            entry, code = keys.entry(me.newest.ak, self.chat.now())
            kept = {"ak": ak, "entry": encoding.text(entry), "code": code}
            with keys.book.atomic():
                keys.book.put(*LINKING, kept)
        await self._ask("link", device=encoding.text(keys.own.id), entry=kept["entry"])
        self._say(*sentences.LINK.format(code=kept["code"]).splitlines())

    def asked(self, line: Mapping[str, Any]) -> None:
        """A device asks to become this account's."""
        from client.crypto import encoding

        if line.get("data", {}).get("device") != encoding.text(self._keys.own.id) and not self.chat.sealed.unlinked:
            self._say(sentences.ASKS)

    async def _recover(self, fields: Mapping[str, Any]) -> None:
        """By the recovery code this device becomes a first one; without it, `new` keys can be made."""
        from client.crypto import encoding
        from client.crypto.encoding import Forged, Malformed

        keys = self._keys
        if str(fields.get("how", "")) == "new":
            await self._anew(confirmed=bool(fields.get("confirmed")))
            return
        code = str(fields.get("code", "")).strip()
        if fields.get("how"):
            self._bad(sentences.CODE_IN_LINE)
            return
        if not code:
            self._ask_person("recover", {}, "code", sentences.CODE, secret=True)
            return
        me, kept = await self._mine(), (await self._ask("vault"))["blob"]
        if me is None or kept is None:
            self._bad(sentences.NO_VAULT)
            return
        try:
            with keys.book.atomic():
                made = keys.recover(code, encoding.data(kept), me, self.chat.now())
                keys.book.put("unshown", "manifest", encoding.text(made.raw))
        except (Forged, Malformed, ValueError, KeyError):
            self._bad(sentences.WRONG_CODE)
            return
        self._say(sentences.RECOVERED)
        self.chat.sealed.resettle()

    async def _anew(self, *, confirmed: bool) -> None:
        """The code is lost, and every device: begin again, which everybody will see."""
        keys = self._keys
        if not confirmed:
            self.chat.talk.ask_first("recover", {"how": "new"}, sentences.ANEW)
            self.chat.face.refresh()
            return
        me = await self._mine()
        with keys.book.atomic():
            _, code = keys.begin(self.chat.now(), me)
        self._say(sentences.RECOVERY.format(code=code))
        self.chat.sealed.resettle()


def named(fields: Mapping[str, Any]) -> dict[str, str]:
    """Whose number it is, and the number: where no name stands before it, the first digits are none. A name can be of
    digits, too.

    >>> named({"user": "12345", "digits": "67890 12345"})
    {'user': '', 'digits': '123456789012345'}
    >>> named({"user": "12345", "digits": "67890" * 12})["user"]
    '12345'
    """
    user, digits = str(fields.get("user", "")), "".join(str(fields.get("digits", "")).split())
    number = user + digits
    if number.isdecimal() and len(digits) != DIGITS and (digits or len(user) == DIGITS):
        return {"user": "", "digits": number}
    return {"user": user, "digits": digits}


def listed(device: Any) -> str:
    """A device, as it stands in a list: the beginning of its id, and since when it is one."""
    name = device.id.hex()[:8]
    return f"  {name[:4]}-{name[4:]}  since {time.strftime('%Y-%m-%d', time.localtime(device.added / 1000))}"


def picture(number: str) -> list[str]:
    """The number as a QR code, two rows of it in a line: light on dark, as cameras see it on a dark screen."""
    import segno

    code = segno.make(number, error="l", micro=False)
    rows = [bytes(row) for row in code.matrix_iter(border=2)]
    rows += [bytes([0] * len(rows[0]))] * (len(rows) % 2)
    cells = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    return [
        "".join(cells[bool(up), bool(low)] for up, low in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]
