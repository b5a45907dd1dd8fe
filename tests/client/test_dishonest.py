"""A dishonest server, one lie a test, before whole chats (E2E.md §10.2): what people then see, and how it heals.

The rule: the lie is told on the cable, in the lines that a real server sends; everything else is honest. After each,
nothing wrong is on the screen, the warning that names it is, and both talk on. What only a colluding member or a clone
of somebody's keys can do is told to the objects themselves, in tests/client/crypto/test_dishonest.py.
"""

from __future__ import annotations

import os
from argparse import Namespace
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatd import texts
from client.crypto import stream
from client.files.desk import Files
from client.modes import Follow
from client.outbox import Entry, new_mid
from tests.client import inmemory
from tests.client.inmemory import Cable, Person
from tests.client.lying import NOT_SHOWN, Lie, Line, LyingTestCase
from tests.memory import PASSWORD
from tests.sealing import Device, Keys


class LieTests(LyingTestCase):
    """What is said of a room, and by whom; who is in; whose keys they are; what is sealed."""

    # -- who said it, and where -----------------------------------------------------------------------------------

    def test_reattributed(self) -> None:
        """A line that is said to be another's is nobody's."""
        self.lie(self.each("say", lambda line: {**line, "by": "carol", "by_id": 3}), "EVIL")
        self.heals("carol: (not shown: this is not what carol sent)", gap=True)

    def test_another_mid(self) -> None:
        """A line under another id is not shown."""
        self.lie(self.each("say", lambda line: {**line, "mid": "019a0000-0000-7000-8000-000000000001"}), "EVIL")
        self.heals(NOT_SHOWN, gap=True)

    def test_moved(self) -> None:
        """A line that was said in another room is not shown here."""
        self.alice.type("/create #other bob")
        other = next(place.id for place in self.bob.chat.view.places.values() if place.name == "#other")
        self.alice.type("/join #ops")
        self.lie(self.each("say", lambda line: {**line, "room": "#other", "room_id": other}), "EVIL")
        self.heals(f"#other alice: {NOT_SHOWN}", gap=True)

    def test_another_body(self) -> None:
        """The body of another line does not open with this one's envelope."""
        bodies: list[str] = []

        def keep(line: Line) -> list[Line]:
            if line.get("ev") == "say":
                bodies.append(line["sealed"])
            return [line]

        self.lie(keep, "one")
        self.lie(self.each("say", lambda line: {**line, "sealed": bodies[0]}), "EVIL")
        self.heals(NOT_SHOWN, gap=True)
        self.assertEqual(self.bob.said().count("alice: one"), 1)

    def test_in_clear(self) -> None:
        """What the server itself says in a sealed room is not shown, live or of the past."""

        def clear(line: Line) -> Line:
            return {**{name: value for name, value in line.items() if name != "sealed"}, "text": "EVIL", "e2e": True}

        self.lie(self.each("say", clear), "true")
        self.heals(NOT_SHOWN, "Warning: something in #ops is not what alice sent. It is not shown.")

    def test_in_clear_of_the_past(self) -> None:
        """A page of the past that the server has written itself shows nothing."""

        def page(line: Line) -> list[Line]:
            for told in (line.get("ok") or {}).get("lines", ()):
                told |= {"text": "EVIL", "sealed": None, "seq": told["seq"] + 1_000}
            return [line]

        self.lie(page, "/history", by=self.bob)
        self.heals()

    def test_called_something_else(self) -> None:
        """What somebody said is no file that the server offers in their name, and no change of the group."""
        data = {"file": 17, "name": "EVIL.sh", "type": "", "size": 9, "digest": "0" * 64, "sealed": {"size": 9}}
        self.lie(self.each("say", lambda line: {**line, "ev": "file", "data": data}), "lunch?")
        self.assertEqual(self.bob.said()[-1], "alice: lunch?")
        self.lie(self.each("say", lambda line: {**line, "ev": "topic"}), "a topic?")
        self.assertEqual(self.bob.said()[-1], "alice: a topic?")
        out = {"ev": "removed", "who": "bob", "who_id": 2, "data": {"name": "#ops"}}
        self.lie(self.each("say", lambda line: {**line, **out}), "still there?")
        self.lie(self.each("say", lambda line: {**line, **out, "sealed": "AAAA"}), "EVIL")
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        self.heals(NOT_SHOWN, hidden="EVIL.sh", gap=True)

    def test_under_the_name_of_a_room(self) -> None:
        """A line of a room that nobody knows does not pass for one of a sealed room whose name it bears."""
        self.bob.type("/create --open #mine")
        self.assertEqual(self.bob.chat.talk.prompt, "#mine(admin) [open]> ")

        def clear(line: Line) -> Line:
            fields = {name: value for name, value in line.items() if name != "sealed"}
            return {**fields, "room_id": 99, "text": "EVIL"}

        self.lie(self.each("say", clear), "true")
        self.assertIn(f"#ops alice: {NOT_SHOWN}", self.bob.said())
        self.bob.type("/join #ops")
        self.heals(gap=True)

    def test_pages_of_other_rooms(self) -> None:
        """Whatever room the server says that a page of the past is of: it shows what was said in the one asked for."""
        self.bob.type("@carol between us")
        self.bob.type("/join #ops")
        room = self.bob.chat.view.current
        direct = next(fields for fields in self.bob.chat.store.all(room + 1) if fields.get("text") == "between us")
        about = {"at": 1_700_000_000_000, "mid": None, "proof": None, "data": None}
        alice = {"by": "alice", "by_id": 1, "text": "EVIL", "sealed": None}
        carol = {"by": "bob", "by_id": 2, "text": None, "sealed": "AAAA", "seq": direct["seq"]}

        def page(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "lines" in ok:
                more = {"ev": "topic", "room": "#ops", "room_id": 99}
                ok["room_id"] = 99
                ok["lines"] = [
                    {**about, **alice, **more, "seq": 1 << 40, "sealed": "AAAA"},
                    {**about, **alice, "seq": 1},
                    {**about, **carol},
                ]
            if "events" in ok:
                names = {"kind": "say", "by_name": "alice", "who": 0, "who_name": "", "room": 99}
                ok["events"] = [{**about, **alice, **names, "by": 1, "seq": 1}]
            return [line]

        pages: list[Any] = []
        self.lie(page, "/history", f"/export {self.root / 'taken.txt'}", by=self.bob)
        self.bob.cables[-1].lie = page
        self.bob.chat.past.page(room, 1 << 40, 100, lambda events, _: pages.append(events))
        self.settle()
        self.bob.cables[-1].lie = None
        self.assertNotIn("EVIL", (self.root / "taken.txt").read_text())
        self.assertNotIn("EVIL", str(pages[-1]))
        self.assertEqual(" ".join(self.bob.seen).count("between us"), 1)
        self.heals()

    def script(self, since: str, lie: Lie) -> list[str]:
        """What `chat tail` hears, started while the server lies."""
        heard: list[Line] = []
        bob = self.bob

        class Script(Follow):
            chat = property(lambda _: bob.chat)  # type: ignore[assignment]

            def heard(self, fields: Mapping[str, Any]) -> None:
                heard.append(dict(fields))

            def bye(self) -> None:
                pass

        script = Script(self.server.reactor, Namespace(room="#ops", since=since, profile="bob"))
        self.patch(inmemory, "Screen", lambda: script)
        script.before()
        self.reconnect(lie, killed=True)
        self.alice.type("hidden")
        self.bob.cables[-1].lie = None
        self.alice.type("said live")
        return [str(fields.get("text")) for fields in heard if fields["ev"] == "say"]

    def test_what_scripts_hear(self) -> None:
        """What `chat wait` and `chat tail` hear was said, live and of the past, and is what it was."""

        def lying(line: Line) -> list[Line]:
            if "lines" in (line.get("ok") or {}):
                about = {"seq": 1, "at": 1_700_000_000_000, "by": "alice", "by_id": 1, "sealed": None, "mid": None}
                elsewhere = {"room": "#x", "room_id": 99}
                line["ok"]["lines"].append({**about, **elsewhere, "text": "EVIL", "proof": None})
            if line.get("ev") == "say":
                clear = {name: value for name, value in line.items() if name != "sealed"}
                return [{**clear, "room_id": 99, "text": "EVIL"}]
            return [line]

        self.assertEqual(self.script("2h", lying), ["before", "before, too", "None", "said live"])

    def test_what_scripts_heard_before(self) -> None:
        """What this device has opened once is opened still for a script that looks at it again."""
        self.assertEqual(self.script("0", lambda line: [line]), ["before", "before, too", "hidden", "said live"])

    def test_a_file_of_no_size(self) -> None:
        """A member who says impossible things of a file says nothing, and keeps nobody from hearing others."""
        lie = self.each("say", lambda line: {**line, "data": {"file": 17}})
        for size in (2.0**70, 1 << 53, -1, "many", None):
            about = {"key": "", "id": "", "name": "EVIL", "digest": "0" * 64, "size": size}
            sealed = stream.sealed_size(int(size)) if isinstance(size, float | int) and size >= 0 else 0
            content = {"file": {**about, "sealed": float(sealed)}}
            self.bob.cables[-1].lie = lie
            self.alice.chat.sealed.do(self.alice.chat.sealed.say(new_mid(), self.alice.chat.view.current, content))
            self.carol.type("meanwhile")
        self.bob.cables[-1].lie = None
        self.assertEqual(self.bob.said().count("carol: meanwhile"), 5)
        self.assertEqual(self.bob.said().count("alice: "), 5)
        self.heals()

    def test_what_terminals_obey(self) -> None:
        """Nothing that the server calls anybody or anything moves a cursor, ends a line or leaves the folder."""
        self.alice.type("/create --open #open bob")
        self.bob.type("/join #open")
        place = self.bob.chat.view.place
        assert place is not None
        evil = "\x1b[2J\nEVIL\x9b31m"
        for kind in texts.EVENTS:
            data = {"name": evil, "was": evil, "door": evil, "how": evil, "file": 1, "size": 9}
            for room in (place.id, 99):
                told = {"ev": kind, "by": evil, "by_id": 1, "who": evil, "who_id": 3, "text": evil, "data": data}
                self.lie(
                    self.each(
                        "say", lambda line, told=told, room=room: {**line, "room": evil, "room_id": room, **told}
                    ),
                    "true",
                )
        self.assertEqual([row for row in self.bob.seen if not row.isprintable()], [])
        place.name = f"#../../{evil}"
        folder = self.root / "here"
        folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        self.bob.type("/export")
        name, *more = os.listdir()
        self.assertTrue(name.isprintable(), name)
        self.assertEqual(more, [])
        text = Path(name).read_text()
        self.assertEqual([row for row in text.splitlines() if not row.isprintable() or row.startswith("EVIL")], [])

    def test_an_open_conversation_made_up(self) -> None:
        """What the server says in somebody's name in an open conversation is marked as what it can have written."""
        self.bob.type("@carol sealed")
        carol = {"room": "@carol", "room_id": 99, "by": "carol", "by_id": 3, "who": "bob", "who_id": 2}

        def made_up(line: Line) -> list[Line]:
            if line.get("ev") != "say":
                return [line]
            about = {"at": line["at"], **carol}
            began = {"ev": "direct", "seq": line["seq"], "data": {"sealed": False}, **about}
            return [began, {"ev": "say", "seq": line["seq"] + 1, "text": "send it here", **about}]

        self.lie(made_up, "EVIL")
        self.assertIn("[carol] [open] send it here", self.bob.said())
        self.assertIn("[me -> carol] sealed", " ".join(self.bob.said()))
        self.bob.type("@carol still sealed")
        self.assertNotIn("still sealed", self.bob.cables[-1].said)

    # -- who is in ----------------------------------------------------------------------------------------------------

    def test_unsigned_member(self) -> None:
        """Somebody whom no admin has signed in is not in, and gets nothing."""
        self.person("dave")
        strip = self.each("joined", lambda line: {name: value for name, value in line.items() if name != "proof"})
        self.lie(strip, "/add dave")
        self.heals("Warning: the server says that #ops has changed, and no admin has signed it. It is not believed.")

    def test_unsigned_changes(self) -> None:
        """Nobody is promoted, removed or let in by the server's word alone."""
        room = next(place.id for place in self.bob.chat.view.places.values() if place.name == "#ops")
        seq = self.server.sql("SELECT max(seq) FROM event")[0][0]
        about = {"room": "#ops", "room_id": room, "by": "alice", "by_id": 1, "at": "2023-11-14T22:13:20.000Z"}

        def made_up(kind: str, **more: Any) -> Lie:
            return lambda line: [{"ev": kind, "seq": line["seq"], **about, **more}] if "seq" in line else [line]

        for kind, more in (
            ("promoted", {"who": "carol", "who_id": 3}),
            ("removed", {"who": "carol", "who_id": 3, "data": {"name": "#ops"}}),
            ("renamed", {"text": "#evil", "data": {"was": "#ops"}}),
            ("door", {"data": {"door": "open"}}),
        ):
            seq += 1
            before = sum("no admin has signed it" in row for row in self.bob.seen)
            self.lie(made_up(kind, **more), "EVIL")
            after = sum("no admin has signed it" in row for row in self.bob.seen)
            self.assertGreater(after, before, kind)
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        self.heals()

    def test_signed_for_something_else(self) -> None:
        """An entry that somebody signed once tells what it says, and tells it once; who inherits is no word of the
        server's.
        """
        kept: list[Line] = []
        self.lie(lambda line: kept.append(line) or [line] if line.get("ev") == "door" else [line], "/door open")
        carol = {"who": "carol", "who_id": 3}
        again = [
            {**kept[0], "ev": "promoted", **carol},
            {**kept[0], "ev": "removed", "who": "bob", "who_id": 2, "data": {"name": "#ops"}},
            {**kept[0], "data": {"door": "invite"}},
            {**kept[0], "by": "carol"},
            {**kept[0], "by": "carol", "by_id": 3},
            {**kept[0], "ev": "inherited", "who": "bob", "who_id": 2},
        ]
        before = len(self.bob.seen)
        for told in again:
            self.lie(self.each("say", lambda line, told=told: {**told, "seq": line["seq"]}), "EVIL")
        shown = self.bob.seen[before:]
        self.assertEqual(sum("no admin has signed it" in row for row in shown), len(again))
        self.assertEqual([row for row in shown if "no admin has signed it" not in row and "Something" not in row], [])
        self.lie(self.each("say", lambda line: {**kept[0], "seq": line["seq"]}), "EVIL")
        self.assertEqual(" ".join(self.bob.seen).count("set the door of #ops"), 1)
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        self.heals("Warning: something of alice's was sent to you twice. It is shown once.", gap=True)

    def test_who_is_in(self) -> None:
        """Who is in a group, and as what, is what was signed: nobody is hidden, made up or given a rank."""

        def lies(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "members" in ok:
                ok["members"] = [{"name": "EVIL", "account": 9, "role": "admin"}, *ok["members"][:2]]
            if "admins" in ok:
                ok |= {"owner": "EVIL", "admins": ["bob"]}
            return [line]

        self.lie(lies, "/members", "/admins", by=self.bob)
        self.assertEqual(
            self.bob.seen[-2:], ["#ops 3: alice (owner) bob carol (gone, says the server)", "#ops owner alice"]
        )
        self.heals()

    def test_an_owner_leaves(self) -> None:
        """Who inherits is what the signed log says."""
        self.alice.type("/delete-account")
        self.alice.type(PASSWORD)
        self.assertEqual(self.bob.chat.talk.prompt, "#ops(admin) [e2e]> ")
        self.assertNotIn("Warning", " ".join(self.bob.seen))

    def test_changes_of_the_past(self) -> None:
        """A page of the past brings no change of a sealed group that nobody has signed."""
        room = self.bob.chat.view.current
        about = {"seq": 1, "at": 1_700_000_000_000, "kind": "removed", "room": room, "by": 1, "who": 3}
        names = {"by_name": "alice", "who_name": "carol", "mid": None, "text": "EVIL", "data": None, "sealed": None}

        def page(line: Line) -> list[Line]:
            if "events" in (line.get("ok") or {}):
                line["ok"]["events"] = [{**about, **names, "proof": None}]
            return [line]

        pages: list[Any] = []
        cable = self.bob.cables[-1]
        cable.lie = page
        self.bob.chat.past.page(room, 1 << 40, 100, lambda events, _: pages.append(events))
        self.settle()
        cable.lie = None
        lines = self.bob.chat.transcript.as_lines(pages[-1])
        self.assertEqual([row for line in lines for row in line.rows if "EVIL" in str(row)], [])
        self.assertIn(1, [fields["seq"] for fields in pages[-1]])

    def test_ghost_device(self) -> None:
        """A device that its person has not signed gets nothing, and is named."""
        ghost = Device()

        def name(line: Line) -> list[Line]:
            for member in (line.get("ok") or {}).get("members", ()):
                if member["name"] == "carol":
                    member["devices"].append(ghost.id)
            return [line]

        self.bob.chat.sealed.courier._rooms.clear()
        before = len(self.bob.cables[-1].said)
        self.lie(name, "not for ghosts", by=self.bob)
        sent = self.bob.cables[-1].said[before:]
        self.assertNotIn(f'"{ghost.id}":', sent)
        self.heals("Warning: the server names a device of carol that carol has not signed. It gets nothing.")

    # -- whose keys ---------------------------------------------------------------------------------------------------

    def told_of_alice(self, *manifests: str, seq: int) -> Lie:
        """The server shows these manifests as alice's newest."""

        def show(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "manifests" in ok and ok.get("name") == "alice":
                ok["manifests"] = [{"seq": seq, "hash": "", "manifest": one, "at": 1} for one in manifests]
            for member in ok.get("members", ()) if ok.get("sealed") else ():
                if member["name"] == "alice":
                    member |= {"manifest": seq, "hash": "AAAA"}
            return [line]

        return show

    def test_somebody_else_under_a_name(self) -> None:
        """A name is whose it was when that person was met: nothing is sealed, and nobody let in, for another one whom
        the server shows under it.
        """
        mallory, _ = self.person("mallory"), self.person("dave")
        self.alice.type("@dave hello")
        account, body = self.server.sql("SELECT account, body FROM manifest ORDER BY account")[3]

        def show(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            for given in ok.get("manifests", ()) if "none" in ok else ():
                given |= {"account": account, "manifest": body}
            return [line]

        told = "Warning: the server shows somebody else as {} than before. Nothing was done."
        self.lie(show, "@carol SECRET", "/dm carol", by=self.bob)
        self.assertEqual(self.bob.seen.count(told.format("carol")), 2)
        self.lie(show, "/add dave", "/create #other dave", "/safety dave", to=self.alice)
        self.assertEqual(self.alice.seen.count(told.format("dave")), 3)
        self.assertEqual(mallory.chat.view.places, {})
        self.assertNotIn("SECRET", " ".join(mallory.seen))
        self.heals(hidden="is verified")

    def test_another_identity(self) -> None:
        """Another account key in alice's place is told; nothing goes to it, and what is really hers is held."""
        hers = self.bob.chat.sealed.keys.person(1)
        assert hers is not None
        forged = Keys(1, generation=2, seq=1, hash=hers.manifest.hash).manifest()
        self.bob.chat.sealed.courier._rooms.clear()
        self.lie(self.told_of_alice(forged, seq=2), "to carol alone", "/keys alice", by=self.bob)
        self.assertIn("alice's key changed; nothing is sent until /accept alice or /verify alice.", self.bob.seen)
        self.assertNotIn("to carol alone", " ".join(self.alice.said()))
        self.assertIn("bob: to carol alone", self.carol.said())
        self.wait(5)
        self.assertIn("bob: to carol alone  +", self.bob.said(), "not all of the room could see it")

    def test_unsigned_manifest(self) -> None:
        """A list of devices that alice has not signed is not used."""
        hers = self.bob.chat.sealed.keys.person(1)
        assert hers is not None
        raw = bytearray(Keys(1, generation=1, seq=1, hash=hers.manifest.hash).manifest().encode())
        bad = bytearray(b64decode(bytes(raw)))
        bad[-1] ^= 1
        self.bob.chat.sealed.courier._rooms.clear()
        self.lie(self.told_of_alice(b64encode(bad).decode(), seq=2), "/keys alice", by=self.bob)
        self.heals("Warning: the server shows keys of alice that alice has not signed. They are not used.")

    def test_rolled_back_manifest(self) -> None:
        """An old list of devices is not believed: a revoked device does not come back."""
        first = self.server.sql("SELECT body FROM manifest WHERE account = 1 AND seq = 1")[0][0]
        laptop = Person(self, "laptop")
        for line in ("l", "alice", "Correct7horse"):
            laptop.type(line)
        code = next(row.rpartition(" ")[2] for row in laptop.seen if "/device add" in row)
        self.alice.type(f"/device add {code}")
        self.bob.type("both")
        self.lie(self.told_of_alice(first, seq=1), "/keys alice", by=self.bob)
        self.heals("Warning: the server shows an old list of alice's devices. It is not believed.")

    def test_swapped_one_time_key(self) -> None:
        """A one-time key that the device has not signed is not used, and the first message goes once it is right."""
        erin = self.person("erin")

        def swap(line: Line) -> list[Line]:
            keys = (line.get("ok") or {}).get("keys")
            for given in keys.values() if isinstance(keys, dict) else ():
                raw = bytearray(b64decode(given["key"]))
                raw[70] ^= 1
                given["key"] = b64encode(raw).decode()
            return [line]

        self.lie(swap, "/dm bob", "EVIL", to=erin, by=erin)
        self.assertIn("Warning: the server shows keys of bob that bob has not signed. They are not used.", erin.seen)
        self.assertNotIn("EVIL", " ".join(self.bob.said()))
        erin.type("hello bob")
        self.assertIn("hello bob", " ".join(self.bob.said()))

    # -- sealed or open -----------------------------------------------------------------------------------------------

    def reconnect(self, lie: Lie, *, killed: bool = False) -> None:
        """bob comes back, or is started again, to a server that lies from the first line on."""
        begin = Cable.__init__

        def lying(cable: Cable, *args: Any) -> None:
            begin(cable, *args)
            cable.lie = lie

        if killed:
            self.bob.kill()
            self.patch(Cable, "__init__", lying)
            self.bob.start()
        else:
            self.bob.pull()
            self.patch(Cable, "__init__", lying)
            self.bob.plug()

    def test_called_open(self) -> None:
        """A room that was sealed stays so, whatever the server calls it: nothing is said there in clear."""

        def opened(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            for room in ok.get("rooms", ()):
                room["sealed"] = False
            if "sealed" in ok:
                ok["sealed"] = False
            return [line]

        self.reconnect(opened, killed=True)
        self.assertIn("Warning: the server calls #ops open.", " ".join(self.bob.seen))
        self.bob.type("/join #ops")
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        self.bob.type("SECRET")
        self.assertNotIn("SECRET", self.bob.cables[-1].said)
        self.assertIn("bob: SECRET", self.alice.said())

    def test_called_open_nothing_goes_in_clear(self) -> None:
        """Neither a file, nor words that are looked for, nor a text of the server's own passes in a room that was
        sealed and is called open.
        """
        secret = self.root / "SECRET.txt"
        secret.write_text("SECRET " * 100)
        lies = {"words": "", "room": "#ops"}
        sent: list[dict[str, Any]] = []
        self.patch(Files, "_start", lambda _, record: sent.append(record))

        def opened(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            for room in ok.get("rooms", ()):
                room["sealed"] = False
            if "lines" in ok:
                about = {"seq": 1, "at": 1_700_000_000_000, "by": "alice", "by_id": 1, "mid": None, "proof": None}
                ok |= lies | {"lines": [{**about, "text": "EVIL", "sealed": None}]}
            return [line]

        self.reconnect(opened, killed=True)
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        for line in (f"/send {secret}", "/search SECRET", "/history"):
            self.bob.type(line)
        self.assertIsNotNone(sent[0]["message"], "it is not sealed")
        self.assertNotIn("SECRET", self.bob.cables[-1].said)
        self.assertNotIn("EVIL", " ".join(self.bob.seen))

    def test_called_open_at_a_login(self) -> None:
        """The same at a login by name and password, where the server also calls the person by another name."""

        def opened(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "rooms" in ok:
                ok["name"] = "bobby"
            for room in ok.get("rooms", ()):
                room["sealed"] = False
            return [line]

        self.bob.type("/logout")
        self.bob.cables[-1].lie = opened
        for line in ("l", "bob", PASSWORD):
            self.bob.type(line)
        self.assertIn("[e2e]", self.bob.chat.talk.prompt)
        self.bob.type("SECRET")
        self.assertNotIn("SECRET", self.bob.cables[-1].said)

    def test_names_exchanged(self) -> None:
        """Who writes to a room writes to those whose room has that name: names, kinds and roles are what was signed."""
        self.alice.type("/create #other bob")
        self.bob.type("@carol hi carol")
        self.bob.type("@alice hi alice")
        places = self.bob.chat.view.places
        called = {place.id: (place.name, place.kind, place.role) for place in places.values()}
        names = [name for name, _, _ in called.values()]

        def exchanged(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            for room, name in zip(ok.get("rooms", ()), reversed(names), strict=False):
                room |= {"room": name, "kind": "direct" if name[0] == "@" else "group", "role": "owner"}
            return [line]

        self.reconnect(exchanged, killed=True)
        places = self.bob.chat.view.places
        self.assertEqual({place.id: (place.name, place.kind, place.role) for place in places.values()}, called)
        number = next(number for number, (name, _, _) in called.items() if name == "@carol")
        renamed = {"ev": "renamed", "room_id": number, "text": "@alice", "by": "carol", "by_id": 3}
        again = {**renamed, "ev": "direct", "room": "@alice", "data": {"sealed": True}}
        for told in (renamed, again):
            self.lie(self.each("say", lambda line, told=told: {"at": line["at"], "seq": line["seq"], **told}), "EVIL")
        self.assertEqual(places[number].name, "@carol")

    def test_a_name_that_turns_out_wrong(self) -> None:
        """What is written to a room that was called another before its log was known is not said."""
        room = self.bob.chat.view.current
        self.bob.chat.sealed.keys.book.put("room", str(room), None)

        def wrong(line: Line) -> list[Line]:
            for told in (line.get("ok") or {}).get("rooms", ()):
                told["room"] = "#public"
            return [line]

        self.reconnect(wrong, killed=True)
        self.assertEqual(self.bob.chat.talk.prompt, "#public [e2e]> ")
        self.bob.type("EVIL")
        self.assertIn("Warning: the server has called #ops #public. Nothing was said there.", self.bob.seen)
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        self.assertNotIn("EVIL", " ".join(self.alice.seen))

    def test_another_conversation(self) -> None:
        """`/dm` opens no room that is another's, a group, or open, whatever the server answers."""
        self.alice.type("/create --open #public bob")
        self.bob.type("/dm carol")
        self.bob.type("/join #ops")
        taken = [place.id for place in self.bob.chat.view.places.values()]
        told = "Warning: the server shows somebody else as alice than before. Nothing was done."
        for number in taken:

            def elsewhere(line: Line, number: int = number) -> list[Line]:
                if "sealed" in (line.get("ok") or {}) and line["ok"].get("room") == "@alice":
                    line["ok"] |= {"room_id": number, "sealed": False}
                return [line]

            self.lie(elsewhere, "/dm alice", "@alice SECRET", by=self.bob)
        self.assertEqual(self.bob.seen.count(told), 2 * len(taken))
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        self.assertNotIn("SECRET", self.bob.cables[-1].said)

    def test_queued_for_a_room_that_is_hidden(self) -> None:
        """What waits for a sealed room does not go out in clear where the server hides the room."""

        def hidden(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "rooms" in ok:
                ok["rooms"] = []
            return [line]

        self.bob.pull()
        self.bob.type("SECRET")
        self.reconnect(hidden)
        self.assertNotIn("SECRET", self.bob.cables[-1].said)

    def test_what_is_here_stays(self) -> None:
        """What was opened here is neither forgotten because the server says that it has nothing, nor because it calls
        the person another name.
        """

        def empty(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "rooms" in ok:
                ok |= {"seq": 0, "name": "bobby"}
            return [line]

        self.reconnect(empty, killed=True)
        self.assertIn("alice: before", self.bob.said())
        self.reconnect(lambda line: [line], killed=True)
        self.assertEqual([row[:14] for row in self.bob.said()].count("alice: before"), 1)
        self.heals()

    def test_taken_for_somebody_else(self) -> None:
        """Whose token it was, that person it is: nothing is said to a server that takes one for somebody else."""

        def other(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "rooms" in ok:
                ok |= {"account": 99, "rooms": []}
            return [line]

        self.reconnect(other)
        self.assertIn("The server takes you for somebody else than before. Not connecting.", self.bob.seen)
        self.assertFalse(self.bob.cables[-1].whole)
        self.assertEqual(self.bob.chat.talk.prompt, "#ops [e2e]> ")
        self.assertEqual(sum("Recovery code" in row for row in self.bob.seen), 1)

    def test_sent_by_name(self) -> None:
        """What a script sends to a sealed group by its name does not go out in clear where the server gives the name to
        another room, or to none.
        """
        me = self.bob.chat.view.account
        for rooms in ([], [{"room": "#ops", "room_id": 99, "kind": "group", "role": "member", "sealed": False}]):

            def hidden(line: Line, rooms: list[Line] = rooms) -> list[Line]:
                ok = line.get("ok") or {}
                if "rooms" in ok:
                    ok["rooms"] = rooms
                return [line]

            self.reconnect(hidden, killed=True)
            entry = Entry(new_mid(), me, "say", "#ops", "SECRET", self.bob.chat.now())
            self.bob.chat.sender.queue(entry)
            self.settle()
            self.assertNotIn("SECRET", self.bob.cables[-1].said)
            self.assertIn("Not sent: SECRET", self.bob.seen)
            self.assertIn("Warning: the server calls #ops open.", " ".join(self.bob.seen))

    def test_keys_hidden(self) -> None:
        """Whose keys were seen once is not written to in clear because the server hides them."""
        self.bob.type("/dm carol")
        self.bob.type("once")

        def hidden(line: Line) -> list[Line]:
            ok = line.get("ok") or {}
            if "manifests" in ok and "none" in ok:
                ok |= {"manifests": [], "none": ["carol"]}
            return [line]

        self.lie(hidden, "@carol SECRET", by=self.bob)
        self.assertIn("Warning: the server shows no keys of carol any more.", " ".join(self.bob.seen))
        self.assertNotIn("SECRET", self.bob.cables[-1].said)
        self.assertIn("SECRET", " ".join(self.carol.said()))
