"""Sealed rooms on the server: signed logs, sealed messages; what it takes and what it hands to whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatd.ctl.acts import user_delete
from tests.memory import Client, instances
from tests.sealed import Base
from tests.sealing import ZEROS, Chain, Device, Keys, b64, bind, body, envelopes, equip, found, publish

E2E_ONLY = "#deep is end-to-end encrypted; this connection cannot decrypt. Use chat."
MID = "019a0000-0000-7000-8000-00000000000"


class CreateTests(Base):
    """Making a sealed group: every step signed, all of it or nothing."""

    def test_created(self) -> None:
        """The log's first entry names the group; each event carries its own entry, and all can be read again."""
        _, chain = found(self.alice, self.a, "#more", [self.b])
        created, joined = self.alice.events()
        self.assertEqual((created["ev"], created["data"]["sealed"]), ("created", True))
        self.assertEqual((joined["ev"], joined["data"]["sealed"], joined["who"]), ("joined", True, "bob"))
        log = self.bob.call(do="roomlog", room="#more")["ok"]
        self.assertEqual([one["proof"] for one in log["log"]], [created["proof"], joined["proof"]])
        self.assertEqual([(one["n"], one["kind"]) for one in log["log"]], [(1, "created"), (2, "joined")])
        self.assertEqual((log["origin"], log["head"], log["entries"]), (b64(chain.room), b64(chain.head), 2))

    def test_nobody_without_a_device(self) -> None:
        """From a session that cannot sign no sealed group is made, and no open one instead."""
        erin = self.server.person("erin")
        self.assertEqual(erin.type("/create --sealed #safe"), [E2E_ONLY.replace("deep", "safe")])
        self.assertEqual(self.server.resume("alice").code(do="create", room="#safe", sealed=True), "E2E_ONLY")
        self.assertEqual(self.server.sql("SELECT 1 FROM room WHERE name = '#safe'"), [])

    def test_all_or_nothing(self) -> None:
        """Somebody who does not exist, has no keys, is in too many groups or named twice: nothing is made."""
        self.server.program("erin")
        chain = Chain()
        proofs = chain.extend(self.a, "create", self.a.account, self.a.public, "ask #x")
        proofs += chain.extend(self.a, "add", self.b.account, self.b.public)
        for people, code in (
            (["nobody"], "NO_USER"),
            (["erin"], "NO_KEYS"),
            (["alice"], "BAD_PROOF"),
            ([], "BAD_PROOF"),
            (["bob", "bob"], "BAD_PROOF"),
            (["carol"], "BAD_PROOF"),
        ):
            fields = {"do": "create", "room": "#x", "sealed": True, "people": people, "proofs": proofs}
            self.assertEqual(self.refused(self.alice, **fields)[0], code, people)
        self.assertEqual(self.server.sql("SELECT 1 FROM room WHERE name = '#x'"), [])
        self.assertEqual(self.alice.code(do="create", room="#x", sealed=True, people=["bob"], proofs=proofs), "ok")

    def test_what_the_first_entry_says(self) -> None:
        """The name and the door in it are the group's."""
        for value in ("ask #other", "open #x", "#x", ""):
            proof = Chain().entry(self.a, "create", self.a.account, self.a.public, value)
            refused = self.refused(self.alice, do="create", room="#x", sealed=True, proofs=[proof])
            self.assertEqual(refused, ("BAD_PROOF", {"what": "value"}))

    def test_open_groups_have_none(self) -> None:
        """An open group takes no proofs, and says what it is."""
        self.assertEqual(self.alice.code(do="create", room="#x", proofs=["AAAA"]), "BAD_USAGE")
        self.assertFalse(self.alice.call(do="create", room="#x", people=["bob"])["ok"]["sealed"])
        self.assertEqual(self.alice.code(do="kick", room="#x", user="bob", proofs=["AAAA"]), "BAD_PROOF")
        self.assertIsNone(self.alice.call(do="recipients", room="#x")["ok"]["head"])


class LogTests(Base):
    """Every change of a sealed group is a signed entry that follows the newest one."""

    def change(
        self, client: Client, keys: Keys, verb: str, action: str, target: Keys | None = None, **more: Any
    ) -> None:
        """A change that is done, its proof in its event and in the log."""
        value = more.pop("value", "")
        number, public = (0, ZEROS) if target is None else (target.account, target.public)
        proofs = self.chain.extend(keys, action, number, public, value)
        fields = {"user": number} if target is not None and "who" not in more else {}
        answer = client.call(do=verb, room=self.room, proofs=proofs, **fields, **more)
        self.assertIn("ok", answer, (verb, answer))
        (event,) = [line for line in self.alice.events() if line.get("seq") == answer["ok"]["seq"]]
        self.assertEqual(event["proof"], proofs[0], verb)
        log = self.server.sql("SELECT head, entries FROM room WHERE id = ?", self.room)
        self.assertEqual(log, [(b64(self.chain.head), self.chain.entries)], verb)

    def test_every_change(self) -> None:
        """Adding, removing, banning, ranks, door, name, leaving: each with one entry, each in the log."""
        self.change(self.alice, self.a, "add", "add", self.d)
        self.change(self.alice, self.a, "promote", "promote", self.b)
        self.change(self.bob, self.b, "remove", "remove", self.d)
        self.change(self.bob, self.b, "ban", "ban", self.d)
        self.change(self.bob, self.b, "unban", "unban", self.d)
        self.change(self.bob, self.b, "add", "add", self.d)
        self.change(self.bob, self.b, "ban", "ban", self.d)
        self.change(self.alice, self.a, "demote", "demote", self.b)
        self.change(self.alice, self.a, "door", "door", door="open", value="open")
        self.change(self.alice, self.a, "rename", "name", name="#deeper", value="#deeper")
        self.change(self.bob, self.b, "leave", "leave")
        self.change(self.alice, self.a, "transfer", "transfer", self.c, confirmed=True)
        self.change(self.carol, self.c, "kick", "remove", self.a)

    def test_read_again(self) -> None:
        """The log is read from any entry on, by members; by others only where they might walk in anyway."""
        self.change(self.alice, self.a, "promote", "promote", self.b)
        log = self.carol.call(do="roomlog", room="#deep", since=3)["ok"]
        self.assertEqual([(one["n"], one["kind"]) for one in log["log"]], [(4, "promoted")])
        self.assertEqual(self.refused(self.dave, do="roomlog", room="#deep"), ("NOT_MEMBER", {"room": "#deep"}))
        self.change(self.alice, self.a, "door", "door", door="open", value="open")
        self.assertEqual(len(self.dave.call(do="roomlog", room=self.room)["ok"]["log"]), 5)
        self.change(self.alice, self.a, "ban", "ban", self.d)
        self.assertEqual(self.dave.code(do="roomlog", room="#deep"), "NOT_MEMBER")

    def test_compare_and_swap(self) -> None:
        """Of two admins who sign at the same moment one is told what the newest entry is, and signs again."""
        self.change(self.alice, self.a, "promote", "promote", self.b)
        theirs = self.chain.entry(self.b, "add", self.d.account, self.d.public)
        self.change(self.alice, self.a, "door", "door", door="invite", value="invite")
        code, fields = self.refused(self.bob, do="add", room="#deep", user="dave", proofs=[theirs])
        self.assertEqual((code, fields), ("STALE", {"head": b64(self.chain.head), "missing": [], "extra": []}))
        self.change(self.bob, self.b, "add", "add", self.d)

    def test_what_does_not_fit(self) -> None:
        """An entry for another room, by another, about another, of another kind, or badly signed is refused."""
        target = (self.d.account, self.d.public)
        forged = Device()
        forged.raw, forged.id = self.a.devices[0].raw, self.a.devices[0].id
        for what, proof in (
            ("room", self.chain.entry(self.a, "add", *target, room=b"x" * 32)),
            ("actor", self.chain.entry(self.a, "add", *target, actor=self.b.account)),
            ("device", self.chain.entry(self.a, "add", *target, device=self.b.devices[0])),
            ("action", self.chain.entry(self.a, "remove", *target)),
            ("target", self.chain.entry(self.a, "add", self.b.account, self.b.public)),
            ("value", self.chain.entry(self.a, "add", *target, value="x")),
            ("signature", self.chain.entry(self.a, "add", *target, device=forged)),
            ("form", b64(b"x" * 200)),
            ("base64", "x"),
        ):
            refused = self.refused(self.alice, do="add", room="#deep", user="dave", proofs=[proof])
            self.assertEqual(refused, ("BAD_PROOF", {"what": what}))
        for proofs in ([], [self.chain.entry(self.a, "add", *target)] * 2):
            refused = self.refused(self.alice, do="add", room="#deep", user="dave", proofs=proofs)
            self.assertEqual(refused, ("BAD_PROOF", {"what": "count"}))
        self.assertEqual(
            self.refused(self.alice, do="add", room="#deep", user="dave", proofs=["A" * 5000])[0], "TOO_LONG"
        )

    def test_who_may_comes_first(self) -> None:
        """A good signature gives no rights: what a role may not, it may not."""
        target = (self.c.account, self.c.public)
        kick = self.chain.entry(self.b, "remove", *target)
        self.assertEqual(self.refused(self.bob, do="kick", room="#deep", user="carol", proofs=[kick])[0], "ONLY_ADMIN")
        add = self.chain.entry(self.d, "add", self.d.account, self.d.public)
        self.assertEqual(self.refused(self.dave, do="add", room="#deep", user="dave", proofs=[add])[0], "NOT_MEMBER")
        leave = self.chain.entry(self.a, "leave")
        self.assertEqual(self.refused(self.alice, do="leave", room="#deep", proofs=[leave])[0], "OWNER_STAYS")

    def test_a_session_without_a_device(self) -> None:
        """The same person on telnet, or as a program that is no device, changes nothing, and reads who is in."""
        telnet, program = self.server.back("alice"), self.server.resume("alice")
        telnet.lines(), program.events()
        before = self.newest()
        for line in (
            "/add #deep dave",
            "/kick #deep bob",
            "/ban #deep bob",
            "/ban #deep dave",
            "/promote #deep bob",
            "/door #deep open",
            "/rename #deep #shallow",
            "/topic #deep secrets",
            "/say #deep hi",
            "/search #deep hi",
        ):
            self.assertEqual(telnet.type(line), [E2E_ONLY], line)
        telnet.type("/transfer #deep bob")
        self.assertEqual(telnet.type("y")[-1:], [E2E_ONLY])
        bob = self.server.back("bob")
        bob.lines()
        self.assertEqual(bob.type("/leave #deep"), [E2E_ONLY])
        for fields in (
            {"do": "add", "user": "dave", "proofs": [self.chain.entry(self.a, "add", self.d.account)]},
            {"do": "topic", "text": "x"},
            self.sealed(self.b, self.c),
        ):
            self.assertEqual(program.code(**{"room": "#deep"} | fields), "E2E_ONLY", fields)
        self.assertEqual(self.newest(), before)
        self.assertEqual(telnet.type("/members #deep"), ["#deep 3: alice (owner) bob carol"])
        self.assertEqual(telnet.type("/topic #deep"), ["#deep has no topic."])

    def test_topic(self) -> None:
        """The topic is no secret and no entry: a device sets it, and the server can read it."""
        self.assertEqual(self.alice.code(do="topic", room="#deep", text="about"), "ok")
        self.assertEqual(self.chain.entries, 3)

    def test_proofs_stay(self) -> None:
        """An event that carries a proof is never blanked, by whatever statement."""
        before = self.server.sql("SELECT * FROM event WHERE proof IS NOT NULL")
        self.assertEqual(len(before), 3)
        self.server.sql("UPDATE event SET text = NULL, data = NULL, sealed = NULL, proof = NULL, author = 1")
        self.assertEqual(self.server.sql("SELECT * FROM event WHERE proof IS NOT NULL"), before)


class JoinTests(Base):
    """Coming into a sealed group."""

    def test_request(self) -> None:
        """Who asks says which account key they have; the admins see it, and sign it when they approve."""
        key = b64(self.d.public)
        self.dave.call(do="join", room="#deep", ak=key)["ok"]
        (asked,) = self.heard(self.alice, "asked")
        self.assertEqual(asked["data"], {"room": self.room, "name": "#deep", "ak": key})
        (request,) = self.alice.call(do="requests", room="#deep")["ok"]["requests"]
        self.assertEqual(request["ak"], key)
        self.assertEqual(self.server.resume("alice").welcome["requests"][0]["ak"], key)
        proofs = self.chain.extend(self.a, "add", self.d.account, self.d.public)
        self.assertEqual(self.alice.code(do="approve", room="#deep", who="dave", proofs=proofs), "ok")
        (joined,) = self.heard(self.dave, "joined")
        self.assertEqual((joined["proof"], joined["data"]["how"]), (proofs[0], "approved"))

    def test_no_request_without_a_key(self) -> None:
        """Whoever has no device, or says no key, cannot ask; an open group keeps none."""
        self.assertEqual(self.refused(self.dave, do="join", room="#deep"), ("BAD_PROOF", {"what": "base64"}))
        self.assertEqual(self.refused(self.dave, do="join", room="#deep", ak="AAAA"), ("BAD_PROOF", {"what": "ak"}))
        self.assertEqual(self.server.person("erin").type("/join #deep"), [E2E_ONLY])
        self.alice.call(do="create", room="#open")
        self.quiet()
        self.assertEqual(self.dave.code(do="join", room="#open", ak=b64(ZEROS)), "ok")
        (asked,) = self.heard(self.alice, "asked")
        self.assertNotIn("ak", asked["data"])

    def test_one_at_a_time(self) -> None:
        """Each approval is an entry of its own: all at once is not approved."""
        erin = self.server.program("erin")
        e = equip(erin)
        for client, keys in ((self.dave, self.d), (erin, e)):
            client.call(do="join", room="#deep", ak=b64(keys.public))["ok"]
        proof = self.chain.entry(self.a, "add", self.d.account, self.d.public)
        refused = self.refused(self.alice, do="approve", room="#deep", who="all", proofs=[proof])
        self.assertEqual(refused, ("BAD_PROOF", {"what": "count"}))
        self.assertEqual(self.server.back("alice").type("/approve #deep dave")[-1], E2E_ONLY)

    def test_denied_by_anybody(self) -> None:
        """To say no nothing needs to be signed."""
        self.dave.call(do="join", room="#deep", ak=b64(self.d.public))["ok"]
        self.assertEqual(self.server.resume("alice").code(do="deny", room="#deep", who="dave"), "ok")

    def test_open_door(self) -> None:
        """Through an open door one comes with an entry of one's own, and with none one does not."""
        proofs = self.chain.extend(self.a, "door", value="open")
        self.alice.call(do="door", room="#deep", door="open", proofs=proofs)["ok"]
        self.assertEqual(self.server.person("erin").type("/join #deep"), [E2E_ONLY])
        self.assertEqual(self.refused(self.dave, do="join", room="#deep"), ("BAD_PROOF", {"what": "count"}))
        own = self.chain.extend(self.d, "join", self.d.account, self.d.public)
        self.assertEqual(self.dave.code(do="join", room="#deep", proofs=own), "ok")
        (joined,) = self.heard(self.bob, "joined")
        self.assertEqual((joined["proof"], joined["data"]["how"]), (own[0], "open"))

    def test_by_joining(self) -> None:
        """What does not exist is made by joining it: sealed by who brings a first entry, which all others ignore."""
        chain = Chain()
        (proof,) = chain.extend(self.a, "create", self.a.account, self.a.public, "ask #new")
        answer = self.alice.call(do="join", room="#new", proofs=[proof], ak=b64(self.a.public))
        self.assertEqual((answer["as"], answer["ok"]["sealed"]), ("autocreated", True))
        proof = Chain().entry(self.b, "create", self.b.account, self.b.public, "ask #new")
        answer = self.bob.call(do="join", room="#new", proofs=[proof], ak=b64(self.b.public))
        self.assertEqual(answer["as"], "asked")
        self.alice.call(do="door", room="#new", door="open", proofs=chain.extend(self.a, "door", value="open"))["ok"]
        fields = {"do": "join", "room": "#new", "proofs": [proof], "ak": b64(self.b.public)}
        self.assertEqual(self.refused(self.bob, **fields)[1]["head"], b64(chain.head))
        self.assertFalse(self.server.resume("dave").call(do="join", room="#plain")["ok"]["sealed"])
        self.server.sql("UPDATE room SET door = 'open' WHERE name = '#plain'")
        self.assertEqual(self.bob.code(**fields | {"room": "#plain"}), "ok")

    def test_nobody_without_keys(self) -> None:
        """Who has no keys cannot be in: nothing could be sealed for them."""
        self.server.program("erin")
        proof = self.chain.entry(self.a, "add", 5)
        self.assertEqual(
            self.refused(self.alice, do="add", room="#deep", user="erin", proofs=[proof]), ("NO_KEYS", {"name": "erin"})
        )

    def test_full(self) -> None:
        """A sealed group has room for so many devices."""
        self.limit(sealed_devices=3)
        proof = self.chain.entry(self.a, "add", self.d.account, self.d.public)
        self.assertEqual(self.refused(self.alice, do="add", room="#deep", user="dave", proofs=[proof])[0], "LIMIT")


class SayTests(Base):
    """A sealed message: one body for all, an envelope for each device."""

    def test_each_its_own(self) -> None:
        """Everybody gets the event, each device its own envelope, and nobody else's."""
        fields = self.sealed(self.b, self.c)
        seq = self.alice.call(**fields, mid=MID + "1")["ok"]["seq"]
        for client, keys in ((self.bob, self.b), (self.carol, self.c)):
            lines = client.events()
            (event,) = [line for line in lines if line["ev"] == "say"]
            self.assertEqual((event["seq"], event["sealed"], event["mid"]), (seq, fields["sealed"], MID + "1"))
            self.assertNotIn("text", event)
            (envelope,) = [line for line in lines if line["ev"] == "envelope"]
            self.assertEqual(envelope["envelope"], fields["envelopes"][keys.devices[0].id])
            self.assertEqual((envelope["seq"], envelope["room_id"]), (seq, self.room))
            self.assertEqual((envelope["by"], envelope["by_id"]), ("alice", self.a.account))
            self.assertEqual(envelope["device"], self.a.devices[0].id)
        self.assertEqual([line["ev"] for line in self.alice.events()], ["say"])
        self.assertEqual(self.dave.events(), [])

    def test_one_body(self) -> None:
        """The body stands once in the database, and what everybody gets of it is one and the same object."""
        self.alice.call(**self.sealed(self.b, self.c))["ok"]
        self.assertEqual(self.server.sql("SELECT count(*) FROM event WHERE sealed IS NOT NULL"), [(1,)])
        (run,) = [run for run in self.server.feed._ring if run.events[0].sealed]
        self.assertEqual([key[2] for key in run.whole], [0])

    def test_stale(self) -> None:
        """Sealed for another state of the room than is true now, it is refused, with what is missing and too much."""
        bob, carol = (keys.devices[0].id for keys in (self.b, self.c))
        head = b64(self.chain.head)
        for fields, missing, extra in (
            (self.sealed(self.b), [carol], []),
            (self.sealed(self.b, self.c, self.d), [], [self.d.devices[0].id]),
            (self.sealed(self.a, self.b, self.c), [], [self.a.devices[0].id]),
            (self.sealed(), [bob, carol], []),
            (self.sealed(self.b, self.c, head=self.chain.room), [], []),
            (self.sealed(self.b, self.c, head=ZEROS), [], []),
        ):
            code, said = self.refused(self.alice, **fields)
            self.assertEqual((code, said["head"], said["extra"]), ("STALE", head, extra))
            self.assertEqual(sorted(said["missing"]), sorted(missing))
        self.assertEqual(self.server.sql("SELECT count(*) FROM envelope"), [(0,)])

    def test_same_mid_after_stale(self) -> None:
        """A message that was refused as stale goes out under the same mid, sealed anew."""
        self.assertEqual(self.alice.code(**self.sealed(self.b), mid=MID + "1"), "STALE")
        fields = self.sealed(self.b, self.c)
        first = self.alice.call(**fields, mid=MID + "1")["ok"]
        self.assertEqual(self.alice.call(**fields, mid=MID + "1")["ok"], first)
        self.assertEqual(self.alice.code(**self.sealed(self.b, self.c), mid=MID + "1"), "MID_REUSED")
        self.assertEqual(len(self.heard(self.bob, "envelope")), 1)

    def test_without(self) -> None:
        """Who is left out is named: a device whose key the sender does not take, for instance."""
        left = [self.c.devices[0].id]
        self.assertEqual(self.alice.code(**self.sealed(self.b), without=left), "ok")
        self.assertEqual([line["ev"] for line in self.carol.events()], ["say"])
        self.assertEqual(self.alice.code(**self.sealed(self.b, self.c), without=[Device().id]), "STALE")

    def test_own_other_devices(self) -> None:
        """What one writes on one device is sealed for one's others, too."""
        second = Device()
        self.a.devices.append(second)
        publish(self.alice, self.a)
        laptop = self.server.resume("alice")
        bind(laptop, self.a, second)
        laptop.events()
        code, said = self.refused(self.alice, **self.sealed(self.b, self.c))
        self.assertEqual((code, said["missing"]), ("STALE", [second.id]))
        fields = self.sealed(self.b, self.c)
        fields["envelopes"] |= envelopes(second)
        self.assertEqual(self.alice.code(**fields), "ok")
        self.assertEqual([line["ev"] for line in laptop.events()].count("envelope"), 1)

    def test_recipients(self) -> None:
        """Whoever wants to write is told for which devices, and where the log stands."""
        answer = self.alice.call(do="recipients", room=self.room)["ok"]
        self.assertEqual((answer["origin"], answer["head"]), (b64(self.chain.room), b64(self.chain.head)))
        self.assertEqual((answer["entries"], answer["sealed"], answer["kind"]), (3, True, "group"))
        self.assertEqual(
            [(one["name"], one["role"], one["manifest"], one["hash"], one["devices"]) for one in answer["members"]],
            [
                (name, role, 1, b64(keys.hash), [keys.devices[0].id])
                for name, role, keys in (
                    ("alice", "owner", self.a),
                    ("bob", "member", self.b),
                    ("carol", "member", self.c),
                )
            ],
        )
        self.assertEqual(self.dave.code(do="recipients", room=self.room), "NOT_MEMBER")

    def test_text_is_refused(self) -> None:
        """No text comes into a sealed room, by whatever way, and it is never an open one."""
        for fields in ({"text": "x"}, {}, {"text": "x", "sealed": body(self.chain.head)}):
            self.assertEqual(self.refused(self.alice, do="say", room="#deep", **fields)[0], "E2E_ONLY")
        erin = self.server.person("erin")
        self.assertEqual(erin.type("/say #deep x"), ["You are not in #deep. /join #deep"])
        self.alice.call(do="create", room="#open")
        for fields in ({"sealed": "AAAA"}, {"text": "x", "envelopes": {"x": "AAAA"}}, {"text": "x", "without": ["x"]}):
            self.assertEqual(self.refused(self.alice, do="say", room="#open", **fields)[0], "BAD_USAGE")

    def test_what_is_none(self) -> None:
        """A body without a header, an envelope that is none, too long ones: refused."""
        good = self.sealed(self.b, self.c)
        for sealed in ("", "AAAA", "not base64", 7, good["sealed"] + "\n"):
            self.assertEqual(self.refused(self.alice, **good | {"sealed": sealed}), ("BAD_PROOF", {"what": "sealed"}))
        for envelope in ("", "not base64", "AAAA\n"):
            bad = dict.fromkeys(good["envelopes"], envelope)
            self.assertEqual(self.refused(self.alice, **good | {"envelopes": bad}), ("BAD_PROOF", {"what": "envelope"}))
        long = dict.fromkeys(good["envelopes"], "A" * 4_100)
        self.assertEqual(self.refused(self.alice, **good | {"envelopes": long})[0], "TOO_LONG")
        self.assertEqual(self.refused(self.alice, **good | {"sealed": "A" * 65_540})[0], "TOO_LONG")
        for envelopes_ in (["x"], {"x": 1}, "x"):
            self.assertEqual(self.refused(self.alice, **good | {"envelopes": envelopes_})[0], "BAD_USAGE")

    def test_first_contact_with_256_devices_fits(self) -> None:
        """A line after login is long enough for a message to a room of 256 devices."""
        many = [Device() for _ in range(255)]
        head = self.chain.head
        call = {"id": 1, "do": "say", "room": self.room, "sealed": body(head, b"x" * 40_000)}
        call["envelopes"] = {device.id: "A" * 2_700 for device in many}
        self.alice.ask(**call)
        (answer,) = [line for line in self.alice.events() if line.get("re") == 1]
        self.assertEqual(answer["error"]["code"], "STALE")

    def test_past(self) -> None:
        """The past has its bodies for programs, is said to be sealed to people, and is counted for both."""
        fields = self.sealed(self.b, self.c)
        self.bob.cut()
        self.alice.call(**fields)["ok"]
        bob = self.server.resume("bob")
        self.assertEqual(bob.welcome["missed"], [["#deep", 1]])
        (line,) = bob.call(do="history", room="#deep")["ok"]["lines"]
        self.assertEqual((line["sealed"], line["text"]), (fields["sealed"], None))
        telnet = self.server.back("bob")
        self.assertIn("(end-to-end encrypted: use chat)", "\n".join(telnet.lines()))
        self.assertRegex(telnet.type("/history #deep")[0], r"^[\d :-]+ alice: \(end-to-end encrypted: use chat\)$")
        self.assertEqual(bob.code(do="search", room="#deep", words="x"), "E2E_ONLY")

    def test_who_joins_later(self) -> None:
        """Somebody who comes in reads what was said from then on, body and envelope alike, and nothing older."""
        self.alice.call(**self.sealed(self.b, self.c))["ok"]
        proofs = self.chain.extend(self.a, "add", self.d.account, self.d.public)
        self.alice.call(do="add", room="#deep", user="dave", proofs=proofs)["ok"]
        self.assertEqual(self.alice.code(**self.sealed(self.b, self.c)), "STALE")
        self.alice.call(**self.sealed(self.b, self.c, self.d))["ok"]
        self.assertEqual([line["ev"] for line in self.dave.events()], ["joined", "envelope", "say"])
        self.assertEqual(len(self.dave.call(do="history", room="#deep")["ok"]["lines"]), 1)

    def test_who_was_removed(self) -> None:
        """Who is put out gets nothing more, and may not write."""
        proofs = self.chain.extend(self.a, "remove", self.c.account, self.c.public)
        self.alice.call(do="kick", room="#deep", user="carol", proofs=proofs)["ok"]
        self.quiet()
        self.assertEqual(self.alice.code(**self.sealed(self.b, self.c)), "STALE")
        self.alice.call(**self.sealed(self.b))["ok"]
        self.assertEqual(self.carol.events(), [])
        self.assertEqual(self.carol.code(**self.sealed(self.a, self.b)), "NOT_MEMBER")

    def test_a_device_that_is_none_any_more(self) -> None:
        """What a revoked device still sends in that moment is refused."""
        second = Device()
        self.a.devices.append(second)
        publish(self.alice, self.a)
        laptop = self.server.resume("alice")
        bind(laptop, self.a, second)
        self.server.writer.hold()
        second.revoked = 1
        manifest = self.a.manifest()
        self.alice.ask(id="p", do="publish", manifest=manifest)
        fields = self.sealed(self.a, self.b, self.c)
        laptop.ask(id="s", **fields)
        laptop.ask(id="o", do="post", envelopes=envelopes(self.b.devices[0]))
        while self.server.writer.step():
            pass
        self.server.writer.release()
        self.assertTrue(laptop.closed)
        self.assertEqual([line["ev"] for line in self.bob.events()], [])
        self.assertEqual(self.server.sql("SELECT count(*) FROM envelope"), [(0,)])


class DirectTests(Base):
    """Conversations of two: a sealed one and an open one."""

    def test_two_rooms(self) -> None:
        """Sealed and open are two rooms, each the same from either side; the event says which it is."""
        sealed = self.alice.call(do="dm", user="dave", sealed=True)["ok"]
        self.assertEqual((sealed["sealed"], sealed["room"]), (True, "@dave"))
        (direct,) = self.heard(self.dave, "direct")
        self.assertEqual((direct["room_id"], direct["data"]), (sealed["room_id"], {"sealed": True}))
        opened = self.dave.call(do="dm", user="alice")["ok"]
        self.assertFalse(opened["sealed"])
        self.assertNotEqual(opened["room_id"], sealed["room_id"])
        self.assertEqual(self.dave.call(do="dm", user="alice", sealed=True)["ok"]["room_id"], sealed["room_id"])
        self.assertEqual(self.alice.call(do="dm", user="dave", open=True)["ok"]["room_id"], opened["room_id"])
        kinds = {(room["room_id"], room["sealed"]) for room in self.server.resume("dave").welcome["rooms"]}
        self.assertEqual(kinds, {(sealed["room_id"], True), (opened["room_id"], False)})

    def test_at_the_same_moment(self) -> None:
        """Two who begin with each other at once, on two instances, meet in one room."""
        servers = instances(Path(self.mktemp()))
        for server in reversed(servers):
            self.addCleanup(server.stop)
        alice, bob = servers[0].program("alice"), servers[1].program("bob")
        equip(alice), equip(bob)
        alice.ask(id="d", do="dm", user="bob", sealed=True)
        bob.ask(id="d", do="dm", user="alice", sealed=True)
        rooms = {line["ok"]["room_id"] for client in (alice, bob) for line in client.events() if line.get("re") == "d"}
        self.assertEqual(len(rooms), 1)

    def test_say(self) -> None:
        """There is no log: the header names none, and the envelopes are those of the two."""
        room = self.alice.call(do="dm", user="dave", sealed=True)["ok"]["room_id"]
        self.quiet()
        to = envelopes(self.d.devices[0])
        self.assertEqual(self.alice.code(do="say", room=room, sealed=body(ZEROS), envelopes=to), "ok")
        self.assertEqual(sorted(line["ev"] for line in self.dave.events()), ["envelope", "say"])
        code, said = self.refused(self.alice, do="say", room=room, sealed=body(self.chain.head), envelopes=to)
        self.assertEqual((code, said), ("STALE", {"head": "", "missing": [], "extra": []}))
        code, said = self.refused(self.alice, do="say", room=room, sealed=body(ZEROS))
        self.assertEqual((code, said["missing"]), ("STALE", [self.d.devices[0].id]))

    def test_no_keys(self) -> None:
        """Nothing is sealed for who has no keys, and nothing is begun in clear instead."""
        self.server.program("erin")
        error = self.alice.call(do="dm", user="erin", sealed=True)["error"]
        self.assertEqual(error["code"], "NO_KEYS")
        self.assertEqual(
            error["text"], "erin has no keys here. /dm --open erin talks in clear: the server can read it."
        )
        self.assertEqual(self.refused(self.alice, do="dm", user="bob", sealed=True, open=True)[0], "BAD_USAGE")

    def test_telnet(self) -> None:
        """From telnet one writes to the open one; the sealed one is not opened and not written to."""
        telnet = self.server.back("alice")
        telnet.lines()
        self.assertEqual(telnet.type("/dm --sealed dave"), [E2E_ONLY.replace("#deep", "@dave")])
        room = self.alice.call(do="dm", user="dave", sealed=True)["ok"]["room_id"]
        telnet.lines()
        telnet.type("@dave hi")
        opened = self.server.sql("SELECT room FROM event WHERE kind = 'say' AND text = 'hi'")
        self.assertNotEqual(opened, [(room,)])


class DeleteTests(Base):
    """The end of an account in the presence of sealed groups."""

    def test_signed_leaves(self) -> None:
        """Whoever goes leaves every sealed group by an entry of its log; the owner's role goes as the log says."""
        leave = self.chain.entry(self.a, "leave")
        fields = {"do": "delete-account", "password": "Correct7horse", "leaves": {str(self.room): leave}}
        self.alice.call(**fields)["ok"]
        self.chain.took(leave)
        left, inherited = [line for line in self.bob.events() if line["ev"] in ("left", "inherited")]
        self.assertEqual((left["proof"], inherited["who"], "proof" in inherited), (leave, "bob", False))
        self.assertEqual(self.server.sql("SELECT head FROM room WHERE id = ?", self.room), [(b64(self.chain.head),)])
        answer = self.bob.call(do="recipients", room=self.room)["ok"]
        self.assertEqual(
            [(one["name"], one["role"]) for one in answer["members"]], [("bob", "owner"), ("carol", "member")]
        )

    def test_not_from_telnet(self) -> None:
        """A connection that cannot sign cannot end an account that is in a sealed group."""
        telnet = self.server.back("bob")
        telnet.lines()
        self.assertEqual(telnet.type("/delete-account Correct7horse")[-1], E2E_ONLY)
        self.assertIsNotNone(self.server.connect().call(do="login", name="bob", password="Correct7horse").get("ok"))

    def test_every_group(self) -> None:
        """A leave that is missing or stale changes nothing at all."""
        more, chain = found(self.bob, self.b, "#more")
        good = {str(self.room): self.chain.entry(self.b, "leave"), str(more): chain.entry(self.b, "leave")}
        fields = {"do": "delete-account", "password": "Correct7horse"}
        code, said = self.refused(self.bob, **fields, leaves={str(more): good[str(more)]})
        self.assertEqual((code, said), ("STALE", {"head": "", "missing": [self.room], "extra": []}))
        stale = self.chain.entry(self.b, "leave", before=ZEROS)
        code, said = self.refused(self.bob, **fields, leaves=good | {str(self.room): stale})
        self.assertEqual((code, said["head"]), ("STALE", b64(self.chain.head)))
        self.assertEqual(self.bob.code(**fields, leaves=good), "ok")

    def test_by_an_operator(self) -> None:
        """An account that an operator ends is marked so, and no role moves: nobody signed that."""
        self.server.db.write(lambda tx: user_delete(tx, "alice"))
        self.server.advance(0)
        (left,) = self.heard(self.bob, "left")
        self.assertEqual((left["data"], "proof" in left), ({"gone": True}, False))
        answer = self.bob.call(do="recipients", room=self.room)["ok"]
        self.assertEqual(
            [(one["name"], one["role"]) for one in answer["members"]], [("bob", "member"), ("carol", "member")]
        )
        self.assertEqual(self.bob.code(**self.sealed(self.c)), "ok")
