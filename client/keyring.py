"""Whose keys are whose: this device's and this account's own, and what is believed of everybody else's.

The rule: nothing about keys is believed because the server says so. It shows signed lists; what follows from them is
decided in crypto/identity.py, kept here, and told to the person where it is news.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from client.crypto import encoding, identity, people, prekeys
from client.crypto.encoding import Forged, Malformed
from client.crypto.identity import AccountKey, Alarm, Device, Manifest, News, Person, Trust
from client.crypto.message import End
from client.crypto.ratchets import Book, OwnDevice, Ratchets

MINE: Final = "key", "own"
KEPT: Final = 50
"""How many of the own manifests are kept: for a server that has lost the newest."""


class Unknown(Exception):
    """The manifests of this account must be fetched. `whole`: from the very first one."""

    def __init__(self, account: int, *, whole: bool = False) -> None:
        super().__init__(account)
        self.account = account
        self.whole = whole


class Keyring:
    """The keys of one account, as this device has them. Writing takes a transaction of the book."""

    def __init__(self, book: Book, account: int) -> None:
        self.book = book
        self.account = account
        with book.atomic():
            self.own = OwnDevice(book)
        self.ratchets = Ratchets(book, self.own)
        self.version = 0
        """Grows with whatever is newly believed of anybody."""
        self._people: dict[int, Person] = {}
        book.when_undone(self._people.clear)

    # -- this account's own -------------------------------------------------------------------------------------------

    @property
    def account_key(self) -> AccountKey | None:
        """The account key, if this is a primary device."""
        kept = self.book.get(*MINE)
        return None if kept is None else AccountKey(encoding.data(kept["seed"]))

    @property
    def listed(self) -> bool:
        """Whether this device stands in the account's manifest, and is not revoked."""
        me = self.person(self.account)
        device = None if me is None else me.device(self.own.id)
        return device is not None and not device.revoked

    @property
    def manifests(self) -> list[str]:
        """The newest manifests of this account that were seen here, as they were signed, the oldest first."""
        return list(self.book.get("own", "manifests") or ())

    def begin(self, now: int, before: Manifest | None = None) -> tuple[Manifest, str]:
        """The first keys of an account: its manifest, to be published, and the recovery code, to be shown once.

        `before`: the manifest of earlier keys that are lost; everybody will see "changed".
        """
        key = AccountKey()
        entry = identity.entry(self.own, self.account, key.public, now)
        manifest = key.sign(self.account, before, [entry], now)
        code, recovery = people.recovery_code()
        self._become_primary(key, recovery)
        self.book.put("unshown", "manifest", encoding.text(manifest.raw))
        self._put(Person(manifest))
        return manifest, code

    def abandon(self) -> None:
        """The keys that were begun here never came to be: another device was first."""
        self.book.put(*MINE, None)
        self.book.put("unshown", "manifest", None)
        self.book.put("person", str(self.account), None)
        self.book.put("own", "manifests", None)
        self._people.pop(self.account, None)

    def recover(self, typed: str, blob: bytes, before: Manifest, now: int) -> Manifest:
        """This device is a primary one again, by the recovery code: the manifest with it in, to be published.

        @raise Malformed: no code. @raise Forged: another code, or not the key of this account.
        """
        recovery = people.recovery_key(typed)
        content = people.open_recovery(recovery, self.account, blob)
        key = AccountKey(encoding.data(content["seed"]))
        if key.public != before.ak:
            raise Forged("another account key")
        for raw, verified in content["pins"].values():
            self._remember(identity.read(encoding.data(raw)), verified=verified)
        self._become_primary(key, recovery)
        manifest = key.with_device(before, identity.entry(self.own, self.account, key.public, now), now)
        self._put(Person(manifest))
        return manifest

    def _remember(self, known: Manifest, *, verified: bool) -> None:
        """What was believed of somebody on a lost device stands before what the server has shown to this one."""
        person = self.person(known.account)
        if person is None:
            self._put(Person(known, verified))
        elif person.offered is not None and person.offered.ak == known.ak:
            self._put(Person(person.offered, verified))
        elif person.under(known.ak) is None:
            self._put(Person(known, verified, person.newest))
        elif verified and person.manifest.ak == known.ak:
            self._put(replace(person, verified=True))

    def _become_primary(self, key: AccountKey, recovery: bytes) -> None:
        self.book.put(*MINE, {"seed": encoding.text(key.seed), "recovery": encoding.text(recovery)})

    def recovery_blob(self) -> bytes | None:
        """What the server keeps for who has the code; None: this is no primary device."""
        kept = self.book.get(*MINE)
        if kept is None:
            return None
        known = {account: self.person(account) for account in self.book.get("people", "all") or ()}
        pins = {
            str(account): [encoding.text(person.manifest.raw), person.verified]
            for account, person in list(known.items())[-200:]
            if person is not None and account != self.account
        }
        content = {"seed": kept["seed"], "pins": pins}
        return people.lock_recovery(encoding.data(kept["recovery"]), self.account, content)

    def entry(self, ak: bytes, now: int) -> tuple[bytes, str]:
        """A new device's own entry, to be linked, and the code to tell the primary one."""
        raw = identity.entry(self.own, self.account, ak, now).entry()
        return raw, people.device_code(self.account, ak, raw)

    def link(self, typed: str, entry: bytes, now: int) -> Manifest | None:
        """The manifest with another device in it; None: the code is not this entry's.

        @raise Forged: the device did not sign it so. @raise Malformed: it is no entry.
        """
        key, me = self.account_key, self.person(self.account)
        if (
            key is None
            or me is None
            or not people.same_code(typed, people.device_code(self.account, key.public, entry))
        ):
            return None
        device = identity.read_entry(entry, self.account, key.public)
        return key.with_device(me.manifest, device._replace(added=device.added), now)

    def revoke(self, device: bytes, now: int) -> Manifest | None:
        """The manifest in which this device of mine is revoked; None: this is no primary device."""
        key, me = self.account_key, self.person(self.account)
        return None if key is None or me is None else key.without_device(me.manifest, device, now)

    # -- everybody's --------------------------------------------------------------------------------------------------

    def person(self, account: int) -> Person | None:
        """What is believed of an account."""
        if account not in self._people:
            kept = self.book.get("person", str(account))
            if kept is None:
                return None
            self._people[account] = identity.person(kept)
        return self._people[account]

    def _put(self, person: Person) -> None:
        account = person.manifest.account
        if self.book.get("person", str(account)) is None:
            self.book.put("people", "all", [*(self.book.get("people", "all") or ()), account])
        self.book.put("person", str(account), person.kept())
        self._people[account] = person
        self.version += 1
        if account == self.account:
            newest = encoding.text(person.newest.raw)
            self.book.put("own", "manifests", [*(raw for raw in self.manifests if raw != newest), newest][-KEPT:])

    def learn(self, account: int, manifests: Iterable[bytes]) -> list[News]:
        """The server has shown these manifests of an account, oldest first. A revoked device's sessions end."""
        before = self.person(account)
        after, news = identity.follow(before, account, manifests)
        if after is not None and after is not before:
            self._put(after)
        for item in news:
            if item.what is identity.Change.REVOKED:
                self.ratchets.forget(item.device)
        return news

    def learn_whole(self, account: int, manifests: Iterable[bytes]) -> list[News]:
        """All manifests of an account, from the first: somebody signed for a key that was before the one known here.

        Who was not verified is believed from that first key on, so that a later one is a change, to be accepted.
        """
        known = self.person(account)
        first, news = identity.follow(None, account, manifests)
        if first is None or known is None or known.verified or known.was or known.offered is not None:
            return []
        if first.newest.raw != known.manifest.raw or first.offered is None:
            return []
        self._put(first)
        return [item for item in news if item.what is identity.Change.KEY]

    def seen(self, account: int, seq: int, head: bytes) -> Alarm | None:
        """Somebody else says that this is the head of an account's manifests: what is wrong with that.

        @raise Unknown: it is newer than what is known here.
        """
        person = self.person(account)
        if person is None or seq > person.newest.seq:
            raise Unknown(account)
        if seq == person.newest.seq:
            return None if head == person.newest.hash else Alarm.FORKED
        return None

    def device(self, account: int, ak: bytes, device: bytes) -> Device:
        """A device of an account under the key that a room log names, or under the one that is believed in instead.

        @raise Unknown: the account's manifests are not known here, or not from so early, or not the one with this
            device.
        """
        person = self.person(account)
        if person is None:
            raise Unknown(account)
        manifest = person.under(ak)
        if manifest is None:
            raise Unknown(account, whole=True)
        found = manifest.devices.get(device) or person.device(device)
        if found is None:
            raise Unknown(account)
        return found

    def named(self, account: int, name: str) -> bool:
        """Whether this account is called so. Names never pass to another account; the first one heard is believed."""
        known, holder = self.book.get("name", str(account)), self.book.get("account", name)
        if known is None and holder is None:
            with self.book.atomic():
                self.book.put("name", str(account), name)
                self.book.put("account", name, account)
            return True
        return bool(known == name and holder == account)

    def end(self, account: int, device: bytes) -> End | None:
        """One end of an envelope: a device that stands in the account's newest manifest, accepted or not."""
        person = self.person(account)
        found = None if person is None else person.newest.devices.get(device) or person.device(device)
        return None if found is None else End(account, found)

    def me(self) -> End:
        """This end."""
        end = self.end(self.account, self.own.id)
        assert end is not None, "this device is not listed"
        return end

    def trust(self, account: int) -> Trust | None:
        """How far an account's key is believed; None: it is not known."""
        person = self.person(account)
        return None if person is None else person.trust

    def safety(self, account: int) -> str | None:
        """The safety number with somebody, of the key that they show now; None: theirs or mine is not known."""
        me, person = self.person(self.account), self.person(account)
        if me is None or person is None:
            return None
        return people.safety_number(self.account, me.manifest.ak, account, person.newest.ak)

    def verify(self, account: int, typed: str) -> bool:
        """The person has compared the number: whether it is this one. It accepts a changed key, too."""
        number, person = self.safety(account), self.person(account)
        if number is None or person is None or not people.same_number(typed, number):
            return False
        after = person.accepted()
        self._put(Person(after.manifest, True, None, after.was))
        return True

    def accept(self, account: int) -> bool:
        """The changed key is taken without comparing; False: it was verified once, so only `verify` will do."""
        person = self.person(account)
        if person is None or person.offered is None:
            return True
        if person.verified:
            return False
        self._put(person.accepted())
        return True

    # -- one-time keys ------------------------------------------------------------------------------------------------

    def lacking(self, devices: Iterable[End]) -> list[End]:
        """Those that nothing can be sent to before a one-time key of theirs is claimed."""
        return [end for end in devices if not self.ratchets.has_session(end.device.id)]

    def claimed(self, ends: Iterable[End], answer: Mapping[str, Mapping[str, Any]]) -> list[End]:
        """Begin sessions with these devices, by the keys of `claim`'s answer; those whose key is not theirs."""
        wrong = []
        for end in ends:
            given = answer.get(encoding.text(end.device.id))
            if given is None:
                continue
            kind = prekeys.FALLBACK if given.get("fallback") else prekeys.ONE_TIME
            try:
                key = prekeys.checked(encoding.data(given["key"]), end.account, end.device, kind)
                self.ratchets.start(end.device, key)
            except (Malformed, Forged, KeyError, ValueError):
                wrong.append(end)
        return wrong


def folded(typed: str) -> str:
    """The name of an account as the server has it.

    >>> folded("@Bob")
    'bob'
    """
    return unicodedata.normalize("NFKC", typed.removeprefix("@")).lower()
