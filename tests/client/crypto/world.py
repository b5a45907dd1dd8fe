"""A small world for the tests of encryption: devices that are real, and a server that can be told to lie.

The rule: what a party does is what `chat` does (client/courier.py over a real store); the server is a model of the one
contract, in memory and synchronous, whose answers and deliveries a test may change on their way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from client.answers import Refused
from client.courier import Courier
from client.crypto import encoding, identity, message, roomlog
from client.crypto.vault import Vault, new_key
from client.findings import Opened, Warn
from client.keyring import Keyring
from client.outbox import new_mid
from client.sealing import Sealing
from client.store import Store

T = TypeVar("T")
KINDS = {
    "create": "created", "add": "joined", "join": "joined", "leave": "left", "remove": "removed", "ban": "removed",
    "unban": "unbanned", "promote": "promoted", "demote": "demoted", "transfer": "transferred", "name": "renamed",
    "door": "door",
}  # fmt: skip
"""What the event of an entry is called."""
TARGETS = frozenset({"add", "join", "remove", "ban", "unban", "promote", "demote", "transfer"})


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never has to wait."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class Server:
    """Stores and routes. `twist` may change any answer: (account, call, answer) -> answer."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000
        self.seq = 0
        self.names: dict[int, str] = {}
        self.manifests: dict[int, list[bytes]] = {}
        self.stock: dict[str, list[bytes]] = {}
        self.fallback: dict[str, bytes] = {}
        self.owner: dict[str, int] = {}
        self.rooms: dict[int, dict[str, Any]] = {}
        self.said: dict[tuple[int, str], int] = {}
        self.inbox: dict[str, int] = {}
        self.parties: list[Party] = []
        self.twist: Callable[[int, Mapping[str, Any], dict[str, Any]], dict[str, Any]] = lambda _, __, answer: answer
        self.lines: list[dict[str, Any]] = []

    # -- helpers ------------------------------------------------------------------------------------------------------

    def live(self, account: int) -> list[str]:
        """The devices of an account, as its newest manifest has them."""
        listed = self.manifests.get(account)
        return [encoding.text(device.id) for device in identity.read(listed[-1]).live] if listed else []

    def tell(self, room: int, line: dict[str, Any]) -> None:
        """An event for everybody in a room."""
        self.seq += 1
        line = {"seq": self.seq, "room_id": room, "at": self.now, **line}
        self.lines.append(line)
        for party in self.parties:
            if party.account in self.rooms[room]["members"] | line.pop("also", set()):
                party.queue.append(dict(line))

    def post(self, device: str, by: Party, envelope: str, seq: int | None, room: int | None) -> None:
        """An envelope for one device."""
        self.inbox[device] = self.inbox.get(device, 0) + 1
        line = {
            "ev": "envelope", "n": self.inbox[device], "seq": seq, "room_id": room, "by": by.name,
            "by_id": by.account, "device": encoding.text(by.keys.own.id), "at": self.now, "envelope": envelope,
        }  # fmt: skip
        for party in self.parties:
            if encoding.text(party.keys.own.id) == device:
                party.queue.append(line)

    def stale(self, room: int, head: str, devices: set[str], named: set[str]) -> None:
        """The compare-and-swap of a message, or an entry."""
        kept = self.rooms[room]["head"]
        if head != kept or devices != named:
            more = {"head": kept, "missing": sorted(devices - named), "extra": sorted(named - devices)}
            raise Refused({"code": "STALE", "text": "", "with": more})

    # -- calls --------------------------------------------------------------------------------------------------------

    def call(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        """One call, answered."""
        answer = getattr(self, f"do_{fields['do']}")(by, fields)
        return self.twist(by.account, fields, answer)

    def do_publish(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        raw = encoding.data(fields["manifest"])
        self.manifests.setdefault(by.account, []).append(raw)
        for device in identity.read(raw).devices:
            self.owner[encoding.text(device)] = by.account
        return {"manifest": len(self.manifests[by.account])}

    def do_manifest(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        listed = self.manifests.get(fields["user"], [])
        found = [self.given(fields["user"], raw) for raw in listed]
        return {"manifests": [one for one in found if one["seq"] > fields["since"]], "more": False}

    def do_manifests(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        known = [account for account in fields["people"] if self.manifests.get(account)]
        none = [account for account in fields["people"] if account not in known]
        return {"manifests": [self.given(account, self.manifests[account][-1]) for account in known], "none": none}

    def given(self, account: int, raw: bytes) -> dict[str, Any]:
        """A manifest in an answer."""
        found = identity.read(raw)
        about = {"account": account, "name": self.names[account], "seq": found.seq}
        return {**about, "hash": encoding.text(found.hash), "manifest": encoding.text(raw)}

    def do_stock(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        name = encoding.text(by.keys.own.id)
        self.stock.setdefault(name, []).extend(encoding.data(key) for key in fields.get("keys", ()))
        if fields.get("fallback"):
            self.fallback[name] = encoding.data(fields["fallback"])
        return {"left": len(self.stock[name])}

    def do_claim(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        keys = {}
        for name in fields["devices"]:
            if self.stock.get(name):
                keys[name] = {
                    "account": self.owner[name],
                    "key": encoding.text(self.stock[name].pop(0)),
                    "fallback": False,
                }
            elif name in self.fallback:
                keys[name] = {"account": self.owner[name], "key": encoding.text(self.fallback[name]), "fallback": True}
        return {"keys": keys, "none": [name for name in fields["devices"] if name not in keys]}

    def do_recipients(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        room = self.rooms[fields["room"]]
        members = []
        for account in sorted(room["members"]):
            newest = identity.read(self.manifests[account][-1])
            about = {"account": account, "name": self.names[account], "devices": self.live(account)}
            members.append({**about, "manifest": newest.seq, "hash": encoding.text(newest.hash)})
        return {"kind": room["kind"], "head": room["head"], "members": members}

    def do_roomlog(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        log = [{"n": n, "proof": encoding.text(proof)} for n, proof in enumerate(self.rooms[fields["room"]]["log"], 1)]
        return {"log": [entry for entry in log if entry["n"] > fields["since"]], "more": False}

    def do_create(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        number = len(self.rooms) + 1
        self.rooms[number] = {"kind": "group", "members": {by.account}, "log": [], "head": ""}
        for proof in fields["proofs"]:
            self.enter(number, by, encoding.data(proof))
        return {"room_id": number}

    def do_change(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        proof = encoding.data(fields["proofs"][0])
        self.stale(fields["room"], encoding.text(roomlog.read(proof).before), set(), set())
        self.enter(fields["room"], by, proof)
        return {"seq": self.seq}

    def enter(self, number: int, by: Party, proof: bytes) -> None:
        """An entry is taken as it is: this server believes everything."""
        room, entry = self.rooms[number], roomlog.read(proof)
        gone: set[int] = set()
        if entry.action in ("add", "join"):
            room["members"].add(entry.target)
        if entry.action in ("leave", "remove", "ban"):
            gone = {entry.actor if entry.action == "leave" else entry.target}
            room["members"] -= gone
        room["log"].append(proof)
        room["head"] = encoding.text(roomlog.entry_hash(proof))
        line = {
            "ev": KINDS[entry.action],
            "by": by.name,
            "by_id": by.account,
            "proof": encoding.text(proof),
            "also": gone,
        }
        if entry.action in TARGETS:
            line |= {"who": self.names[entry.target], "who_id": entry.target}
        door, _, name = entry.value.partition(" ")
        about = {"create": {"door": door, "name": name}, "door": {"door": door}, "ban": {"ban": True}}
        line |= {"data": about.get(entry.action), "text": entry.value if entry.action == "name" else None}
        self.tell(number, line)

    def do_say(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        if (by.account, fields["mid"]) in self.said:
            return {"seq": self.said[by.account, fields["mid"]]}
        room, own = self.rooms[fields["room"]], encoding.text(by.keys.own.id)
        _, header = message.from_wire(encoding.data(fields["sealed"]))
        head = encoding.text(header.head) if room["kind"] == "group" else room["head"]
        devices = {name for account in room["members"] for name in self.live(account)} - {own}
        self.stale(fields["room"], head, devices, {*fields["envelopes"], *fields["without"]})
        seq = self.seq + 1
        for device, envelope in fields["envelopes"].items():
            self.post(device, by, envelope, seq, fields["room"])
        line = {"ev": "say", "by": by.name, "by_id": by.account, "mid": fields["mid"], "sealed": fields["sealed"]}
        self.tell(fields["room"], line)
        self.said[by.account, fields["mid"]] = seq
        return {"seq": seq}

    def do_post(self, by: Party, fields: Mapping[str, Any]) -> dict[str, Any]:
        for device, envelope in fields["envelopes"].items():
            self.post(device, by, envelope, fields.get("seq"), None)
        return {}


class Party:
    """One device of somebody. `shown`: what a person sees, as (who, text, warning)."""

    def __init__(self, server: Server, account: int, name: str, *, first: bool = True) -> None:
        self.server = server
        self.account = account
        self.name = name
        self.queue: list[dict[str, Any]] = []
        self.shown: list[tuple[int, str | None, Warn | None]] = []
        self.told: list[Any] = []
        self.waiting: dict[int, dict[str, Any]] = {}
        self.vault = Vault(new_key())
        server.names[account] = name
        self.open(Store(":memory:"))
        server.parties.append(self)
        if first:
            with self.store.atomic():
                manifest, self.code = self.keys.begin(self.now())
            self.publish(manifest)
            self.refill()

    def open(self, store: Store) -> None:
        """Work on this store."""
        self.store = store
        store.unlock(self.vault, {"how": "test"})
        self.keys = Keyring(store.secrets(self.account), self.account)
        self.sealing = Sealing(self.keys)

        async def ask(fields: Mapping[str, Any]) -> dict[str, Any]:
            return self.server.call(self, fields)

        self.courier = Courier(self.sealing, ask, self.now, self.told.append)

    def now(self) -> int:
        """The time in ms."""
        return self.server.now

    def restart(self) -> None:
        """The process ends, and another one begins where it was."""
        self.open(self.copy())

    def copy(self) -> Store:
        """Everything this device has, stolen or restored."""
        other = Store(":memory:")
        self.store._db.backup(other._db)
        return other

    def publish(self, manifest: identity.Manifest) -> None:
        """Show everybody the new list of devices."""
        self.server.do_publish(self, {"manifest": encoding.text(manifest.raw)})
        with self.store.atomic():
            self.keys.learn(self.account, [manifest.raw])

    def refill(self) -> None:
        """Bring one-time keys."""
        name = encoding.text(self.keys.own.id)
        with self.store.atomic():
            keys, fallback = self.keys.own.stock(self.account, len(self.server.stock.get(name, ())), self.now())
        fields = {"keys": [encoding.text(key) for key in keys], "fallback": fallback and encoding.text(fallback)}
        self.server.do_stock(self, fields)
        with self.store.atomic():
            self.keys.own.stocked(self.now(), fallback=fallback is not None)

    # -- what a person does -------------------------------------------------------------------------------------------

    def dm(self, other: Party) -> int:
        """The sealed conversation with somebody."""
        pair = {self.account, other.account}
        for number, room in self.server.rooms.items():
            if room["kind"] == "direct" and room["members"] == pair:
                return number
        number = len(self.server.rooms) + 1
        self.server.rooms[number] = {"kind": "direct", "members": pair, "log": [], "head": ""}
        for party in (self, other):
            with party.store.atomic():
                party.keys.book.put("direct", str(number), (pair - {party.account}).pop())
        return number

    def create(self, name: str, *people: Party, door: str = "ask") -> int:
        """A sealed group."""
        accounts = [party.account for party in people]
        if accounts:
            run(self.courier.meet(accounts))
        proofs = self.sealing.creation(name, door, accounts, self.now())
        answer = self.server.call(self, {"do": "create", "proofs": [encoding.text(proof) for proof in proofs]})
        return int(answer["room_id"])

    def change(self, room: int, action: str, target: int = 0, value: str = "") -> None:
        """An admin's act, or one's own."""
        run(self.courier.change({"do": "change", "room": room}, room, action, target=target, value=value))

    def say(self, room: int, text: str) -> str:
        """A message; its mid."""
        mid = new_mid()
        run(self.courier.say(mid, room, {"text": text}))
        return mid

    def pump(self) -> None:
        """Hear what waits."""
        while self.queue:
            self.hear(self.queue.pop(0))
        run(self.courier.tend())

    def hear(self, line: Mapping[str, Any]) -> None:
        """One line of the server."""
        if line["ev"] == "envelope":
            came = run(self.courier.envelope(line))
            if came.warn is not None:
                self.shown.append((line["by_id"], None, came.warn))
            if came.seq in self.waiting:
                self.show(self.waiting.pop(came.seq), late=True)
        elif line["ev"] == "say":
            self.show(line)
        elif (warn := run(self.courier.entry(line))) is not None:
            self.shown.append((line["by_id"], None, warn))

    def show(self, line: Mapping[str, Any], *, late: bool = False) -> None:
        """A message, as far as it may be seen."""
        opened: Opened = run(self.courier.event(line, late=late))
        if opened.warn is Warn.WAITING:
            self.waiting[line["seq"]] = dict(line)
        text = None if opened.content is None or opened.warn is Warn.CHANGED else opened.content["text"]
        self.shown.append((line["by_id"], text, opened.warn))

    @property
    def texts(self) -> list[str]:
        """What of it is words, without one's own."""
        return [text for by, text, _ in self.shown if text is not None and by != self.account]

    @property
    def warns(self) -> list[Warn]:
        """What of it is warnings."""
        return [warn for _, _, warn in self.shown if warn is not None]


def settle(*parties: Party) -> None:
    """Let everybody hear until nothing is left to hear."""
    while any(party.queue for party in parties):
        for party in parties:
            party.pump()


def trio() -> tuple[Server, Party, Party, Party]:
    """A server, alice, bob and carol, who have met."""
    server = Server()
    return server, Party(server, 1, "alice"), Party(server, 2, "bob"), Party(server, 3, "carol")
