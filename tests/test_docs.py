"""The documents say what is: every example is played, every table held against the code, every command looked up.

Where one of these fails because the code has changed, `python -m tests.docs_tools` writes into the documents what is
derived from it and what the examples really show; read what it wrote.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from OpenSSL.crypto import FILETYPE_PEM, load_certificate
from twisted.trial.unittest import SynchronousTestCase

from chatd import codes, texts
from chatd.cluster import Options as ClusterOptions
from chatd.command import TABLE
from chatd.config import OPTIONS
from chatd.errors import CODES
from chatd.limits import Limits
from chatd.model import Event
from chatd.service import Options
from chatd.session import TRANSITIONS, State
from chatd.tls import fingerprint, self_signed
from tests.docs_tools import DERIVED, DOCUMENTS, MOMENT, ROOT, derive, differences, utc
from tests.memory import PASSWORD, Client, Server, settings
from tests.sealing import Chain, Device, Keys, b64, body, envelopes
from tests.test_layout import MAY_IMPORT

README = ROOT / "README.md"
PROTOCOL = ROOT / "docs" / "protocol.md"
OPERATIONS = ROOT / "docs" / "operations.md"
LATER = frozenset({"docs/performance.md"})
"""What is linked to and written by a program, so that a fresh copy may not have it."""


def rows(path: Path, heading: str, below: str = "") -> list[list[str]]:
    """The rows of a document's first table (below these words) whose first column is headed so."""
    found: list[list[str]] | None = None
    text = path.read_text("utf-8")
    for line in text[text.index(below) :].split("\n"):
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if found is None:
            found = [] if cells and cells[0] == heading else None
        elif not cells:
            break
        elif not cells[0].startswith("---"):
            found.append(cells)
    assert found, f"{path.name} has no table that begins with {heading}"
    return found


def coded(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]*)`", cell)


class Examples(SynchronousTestCase):
    """What a reader is shown is what happens."""

    def test_they_happen(self) -> None:
        """Each document's examples, played from its top to its end, bring what stands there, and nothing else."""
        for name in DOCUMENTS:
            found = differences(ROOT / name)
            self.assertEqual(found, [], f"{name} differs:\n" + "\n\n".join(map(str, found)))

    def test_what_is_derived(self) -> None:
        """The tables that are derived from the code are as the code is now, and each stands somewhere."""
        derived = set()
        for name in DOCUMENTS:
            text = (ROOT / name).read_text("utf-8")
            self.assertEqual(text, derive(text), f"{name}: python -m tests.docs_tools")
            derived |= set(re.findall(r"<!-- ([a-z]+) -->", text))
        self.assertEqual(derived, set(DERIVED))

    def test_links(self) -> None:
        """Every link within the repository leads somewhere."""
        for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
            text = path.read_text("utf-8")
            for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
                target = (path.parent / link).resolve()
                self.assertTrue(target.exists() or str(target.relative_to(ROOT)) in LATER, f"{path.name}: {link}")
            for named in re.findall(r"\b(?:docs|etc|chatd|tests)/[\w./-]+\.(?:md|toml|cfg|py|sql)\b", text):
                self.assertTrue((ROOT / named).exists() or named in LATER, f"{path.name}: {named}")


class Tables(SynchronousTestCase):
    """What docs/protocol.md lists is what there is."""

    def test_every_refusal(self) -> None:
        """The refusals are those of errors.py, each with its fields."""
        found = {coded(row[0])[0]: set(coded(row[1])) for row in rows(PROTOCOL, "code")}
        self.assertEqual(found, {code: set(names) for code, names in CODES.items()})

    def test_every_transition(self) -> None:
        """The life of a connection is session.py's table."""
        text = PROTOCOL.read_text("utf-8")
        table = [line for line in text.split("\n") if line.startswith(("| | line |", "| **"))]
        head, *body = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table]
        found = {
            (State(row[0]), what): State(after)
            for row in body
            for what, after in zip(head[1:], row[1:], strict=True)
            if after
        }
        self.assertEqual(found, TRANSITIONS)

    def test_limits(self) -> None:
        """The numbers are the defaults."""
        named = {}
        for row in rows(PROTOCOL, "limit"):
            numbers = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,.]*(?<![,.])", row[1])]
            names = coded(row[0])
            named.update(zip(names, numbers * len(names) if len(numbers) == 1 else numbers, strict=True))
        for name, number in named.items():
            self.assertEqual(number, getattr(Limits(), name), name)
        self.assertLess(set(named), {field.name for field in fields(Limits)})

    def test_who_imports_whom(self) -> None:
        """The table in docs/architecture.md is the one that tests/test_layout.py holds the code to."""
        for files, _, allowed in rows(ROOT / "docs" / "architecture.md", "file"):
            if "," not in allowed and allowed != "all":
                parts = {re.sub(r"\.py|/", "", file) for file in coded(files)}
                wanted = {other for part in parts for other in MAY_IMPORT[part] - {part}}
                self.assertEqual(set(allowed.split()), wanted, files)

    def test_what_a_person_is_shown(self) -> None:
        """Each kind of event reads as the table has it, for those around, for who did it and to whom it was done."""
        shown: dict[str, tuple[str, str, dict[str, Any]]] = {
            "`say`, current room": ("say", "#ops", {"text": "hi"}),
            "`say`, other room": ("say", "#ops", {"text": "hi"}),
            "`say`, to one person": ("say", "@alice", {"text": "hi"}),
            "`say`, how: action": ("say", "#ops", {"text": "hi", "data": {"how": "action"}}),
            "`say`, sealed": ("say", "#ops", {"sealed": "AAAA"}),
            "`say`, blanked later": ("say", "#ops", {}),
            "`joined`, how: open": ("joined", "#ops", {"data": {"how": "open"}, "by": 2, "by_name": "bob"}),
            "`joined`, how: approved": ("joined", "#ops", {"data": {"how": "approved"}}),
            "`joined`, how: added": ("joined", "#ops", {"data": {"how": "added"}}),
            "`left`": ("left", "#ops", {}),
            "`left`, a conversation of two": ("left", "@alice", {}),
            "`closed`": ("closed", "#ops", {}),
            "`removed`": ("removed", "#ops", {"text": "spam"}),
            "`removed`, by a ban": ("removed", "#ops", {"text": "spam", "data": {"ban": True}}),
            "`banned`": ("banned", "#ops", {"text": "spam"}),
            "`unbanned`": ("unbanned", "#ops", {}),
            "`promoted`": ("promoted", "#ops", {}),
            "`demoted`": ("demoted", "#ops", {}),
            "`topic`": ("topic", "#ops", {"text": "Releases"}),
            "`topic`, empty": ("topic", "#ops", {"text": ""}),
            "`renamed`": ("renamed", "#ops", {"text": "#dev", "data": {"was": "#ops"}}),
            "`door`": ("door", "#ops", {"data": {"door": "open"}}),
            "`file`": ("file", "#ops", {"text": "meow", "data": {"file": 17, "name": "cat.png", "size": 2_100_000}}),
            "`gone`, taken back": ("gone", "#ops", {"data": {"file": 17, "seq": 5, "how": "withdrawn"}}),
            "`nick`": ("nick", "#ops", {"text": "flora", "data": {"was": "alice"}}),
            "`retention`": ("retention", "#ops", {"data": {"seconds": 2_592_000, "lines": None}}),
            "`asked`, in your inbox": ("asked", "", {"data": {"name": "#ops", "room": 7}}),
            "`denied`, in your inbox": ("denied", "", {"text": "not now", "data": {"name": "#ops", "room": 7}}),
        }
        for kind in ("transferred", "inherited"):
            shown[kind] = (kind, "#ops", {})
        for kind in ("created", "registered", "direct", "deleted", "logged_out", "keys", "link"):
            shown[kind] = (kind, "#ops", {})
        current = {f"`say`, {how}" for how in ("current room", "how: action", "sealed", "blanked later")}
        table = {}
        for label, *cells in rows(PROTOCOL, "event"):
            together = label.startswith(("`transferred`", "`created`"))
            table.update(dict.fromkeys(coded(label) if together else [label], cells))
        self.assertEqual(table.keys(), shown.keys())
        self.assertEqual({kind for kind, *_ in shown.values()} | {"say"}, kinds())
        for label, (kind, room, held) in shown.items():
            event = Event(9, MOMENT, kind, 7, 1, 2, "alice", "bob", None, None, None, None, None)._replace(**held)
            others, doer, target = table[label]
            for cell, viewer in ((others, 9), (doer or others, 1), (target or others, 2)):
                if cell.startswith("nothing:"):
                    continue
                seen = room if viewer != 1 or room[:1] != "@" else "@bob"
                with utc():
                    lines = texts.event(event, seen, viewer, label in current)
                self.assertEqual(lines, coded(cell), f"{label} to {viewer}")


def kinds() -> set[str]:
    """Every kind of event that the code can append, or names as one."""
    found: set[str] = set()
    for path in (ROOT / "chatd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "append" and len(node.args) >= 3:
                found |= {part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
    return {kind for kind in found if isinstance(kind, str)} | set(texts.EVENTS)


class Program:
    """One json connection; whatever it receives is kept."""

    def __init__(self, story: Story, certificate: Any = None) -> None:
        self._story = story
        self.client: Client = story.server.connect(secure=certificate is not None, certificate=certificate)

    def __call__(self, do: str, **given: Any) -> dict[str, Any]:
        """Call, and keep the answer and everybody's events."""
        answer = self.client.call(do=do, **given)
        self._story.answers[do].append(answer)
        for program in self._story.programs:
            for event in program.client.events():
                if event["ev"] == "envelope":
                    continue
                self._story.events[event["ev"]].append(event)
        return answer


class Story:
    """What happens when every command is given and every kind of event comes about."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(
            folder, settings=replace(settings(), operators=frozenset({"alice"}), guests=True, oper=("op", "Secret1x"))
        )
        self.answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.programs: list[Program] = []
        self._happen()
        self.server.stop()

    def _connect(self, certificate: Any = None) -> Program:
        self.programs.append(Program(self, certificate))
        return self.programs[-1]

    def _happen(self) -> None:
        alice, bob, carol = (self._connect() for _ in range(3))
        token = alice("register", name="alice", password=PASSWORD, client="x")["ok"]["token"]
        bob("register", name="bob", password=PASSWORD, since=0)
        carol("register", name="carol", password=PASSWORD)
        alice("create", room="#ops", people=["bob", "nobody"])
        alice("join", room="#ops")
        carol("join", room="#ops")
        alice("requests", room="#ops")
        alice("deny", room="#ops", who="carol", reason="no")
        carol("join", room="#ops")
        alice("approve", room="#ops", who="carol")
        alice("join", room="#new")
        for given in ({"door": "open"}, {}):
            alice("door", room="#new", **given)
        bob("join", room="#new")
        alice("say", room="#ops", text="hi", mid="019a0000-0000-7000-8000-000000000001")
        alice("msg", user="bob", text="psst")
        for name in ("bob", "carol"):
            alice("dm", user=name)
        for do in ("promote", "demote"):
            alice(do, room="#ops", user="bob")
        for given in ({"text": "t"}, {}):
            alice("topic", room="#ops", **given)
        alice("rename", room="#ops", name="#dev")
        for do, given in (("kick", {"reason": "r"}), ("ban", {"reason": "r"}), ("unban", {}), ("add", {}), ("ban", {})):
            alice(do, room="#dev", user="carol", **given)
            alice("bans", room="#dev")
        for do in ("unban", "add", "remove"):
            alice(do, room="#dev", user="carol")
        for do in ("members", "online", "admins", "history", "seen"):
            alice(do, room="#dev")
        alice("search", room="#dev", words="hi")
        alice("say", room="#dev", text="waves", how="action")
        alice("roster", room="#dev")
        alice("past", room="#dev", way="latest")
        alice("retention", room="#dev")
        alice("retention", room="#dev", keep="30d")
        alice("export", room="#dev")
        alice("talks", since=0, until=2_000_000_000_000)
        bob("away", text="lunch")
        alice("msg", user="bob", text="psst")
        for do in ("directory", "census", "vanish"):
            alice(do)
        self._seal(alice, bob, token)
        alice("transfer", room="#dev", user="bob")
        alice("leave", room="#dev")
        bob("leave", room="#dev")
        for do in ("close", "groups", "whoami", "sessions", "ping", "help", "menu", "whereami", "stats"):
            alice(do)
        self._send_files(alice)
        alice("help", command="kick")
        alice("whois", user="bob")
        alice("whois", user="bob", roles="yes")
        bob("oper", name="op", password="Secret1x")
        for given in ({"text": "lunch"}, {}):
            alice("away", **given)
        alice("ack", seq=3)
        alice("watch")
        alice("typing", room="#new")
        pem = self_signed(["alice"])
        alice("cert", what="add", which=fingerprint(pem))
        alice("cert")
        certificate = load_certificate(FILETYPE_PEM, pem)
        self._connect(certificate)("external", client="y", device=self.device)
        self._connect(certificate)("external", later="yes")
        alice("cert", what="drop", which=1)
        alice("who", mask="*")
        alice("monitor", people=["bob"])
        alice("marker", room="#new")
        alice("marker", room="#new", time=1)
        again = self._connect()
        again("hello")
        again("hello", token=token)
        self._connect()("login", name="alice", password=PASSWORD, client="y", device=self.device)
        alice("logout", which=2)
        for do in ("login", "register"):
            self._connect()(do, name="alice" if do == "login" else "erin", password=PASSWORD, later="yes")
        dave = self._connect()
        dave("guest", name="dave")
        dave("join", room="#dave")
        dave("nick", name="david")
        alice("door", room="#new", door="open")
        dave("join", room="#new")
        dave("vanish", reason="bye")
        alice("password", old=PASSWORD, new="Battery8staple")
        self._second_factor(alice)
        other = self._connect()
        other("login", name="carol", password=PASSWORD)
        other("logout", which="all")
        self._connect()("login", name="alice", password="Battery8staple", since=0)
        alice("delete-account", password="Battery8staple", leaves=self.last)
        bob("logout")
        bob("quit")

    def _second_factor(self, alice: Program) -> None:
        """A second factor, and how it goes again."""
        given = {"password": "Battery8staple"}
        uri = alice("totp", state="on", **given)["error"]["with"]["uri"]
        secret = base64.b32decode(uri.partition("secret=")[2].partition("&")[0])
        step = self.server.now // 1000 // codes.STEP
        spare = alice("totp", state="on", code=codes.hotp(secret, step), **given)["ok"]["codes"]
        alice("totp")
        fresh = alice("totp", state="codes", code=spare[0], **given)["ok"]["codes"]
        alice("totp", state="off", code=fresh[0], **given)

    def _seal(self, alice: Program, bob: Program, token: str) -> None:
        """A sealed group, from keys to the end."""
        a, b = Keys(1), Keys(2)
        for program, keys in ((alice, a), (bob, b)):
            manifest = keys.manifest()
            program("publish", manifest=manifest)
            program("publish", manifest=manifest)
            keys.published(manifest)
            program("bind", device=keys.devices[0].id)
            (spare,) = keys.devices[0].prekeys(keys.account, 1, "fallback")
            program("stock", keys=keys.devices[0].prekeys(keys.account, 2), fallback=spare)
        again = self._connect()
        self.device = a.devices[0].id
        again("hello", token=token, device=self.device)
        again("link", device=Device().id, entry="AAAA")
        alice("links")
        alice("manifest", user="bob")
        alice("manifests", people=["bob"])
        alice("vault", blob="AAAA")
        alice("claim", devices=[b.devices[0].id])
        chain = Chain()
        proofs = chain.extend(a, "create", 1, a.public, "ask #sealed")
        room = alice("create", room="#sealed", sealed=True, proofs=proofs)["ok"]["room_id"]
        alice("recipients", room=room)
        bob("join", room="#sealed", ak=b64(b.public))
        alice("requests", room="#sealed")
        alice("approve", room="#sealed", who="bob", proofs=chain.extend(a, "add", 2, b.public))
        seq = alice("say", room=room, sealed=body(chain.head), envelopes=envelopes(b.devices[0]))["ok"]["seq"]
        alice("post", seq=seq, envelopes=envelopes(b.devices[0]))
        alice("roomlog", room="#sealed")
        bob("received", n=2)
        bob("leave", room="#sealed", proofs=chain.extend(b, "leave"))
        self.last = {str(room): chain.entry(a, "leave")}

    def _send_files(self, alice: Program) -> None:
        """Files that come and go, by people's lines and by programs' calls."""
        for do, given in (("send", {"path": "a.txt"}), ("image", {"path": "cat.png", "caption": "meow"})):
            alice(do, room="#new", **given)
        mid = "019a0000-0000-7000-8000-000000000009"
        given = {"room": "#new", "size": 5, "name": "b.txt", "type": "text/plain", "caption": "see", "mid": mid}
        ticket = alice("upload", **given)["ok"]["ticket"]
        raw = self.server.connect()
        digest = hashlib.sha256(b"hello").hexdigest().encode()
        raw.send(b"RAW " + ticket.encode() + b"\nhello" + digest + b"\n")
        file = json.loads(raw.read().splitlines()[1])["ok"]["file"]
        alice("upload", **given)
        alice("upload", room="#sealed", size=0)
        for do in ("get", "download"):
            alice(do, file=file)
        for do in ("files", "quota"):
            alice(do, room="#new")
        for number in (1, file):
            alice("cancel", file=number)


class Fields(SynchronousTestCase):
    """What programs receive is what docs/protocol.md says, field by field."""

    def setUp(self) -> None:
        self.story = Story(Path(self.mktemp()))

    def answered(self, *verbs: str) -> Iterator[dict[str, Any]]:
        """The answers to these, without refusals."""
        for do in verbs:
            for answer in self.story.answers[do]:
                if "ok" in answer:
                    yield answer

    def test_every_command_is_answered(self) -> None:
        """The story gives every command there is, and each is answered."""
        todo = "have Story give it, and say in docs/protocol.md, where answers are listed, what it answers"
        self.assertEqual(TABLE.keys() - self.story.answers.keys(), set(), todo)
        self.assertEqual(self.story.answers.keys() - TABLE.keys(), set())
        self.assertEqual({do for do in TABLE if not any(self.answered(do))}, set())

    def test_answers(self) -> None:
        """Each answer has the fields in its row, and no others; each field in the row occurs."""
        listed = set()
        welcome = {name for row in rows(PROTOCOL, "member of `ok`") for name in coded(row[0])}
        greeting = {"version", "server", "node", "policy", "message_characters", "default_door", "commands"}
        for verbs, ok, named in rows(PROTOCOL, "do"):
            for do in coded(verbs):
                listed.add(do)
                wanted = set(coded(ok))
                if "see *Logging in*" in ok:
                    wanted |= welcome | (greeting if do == "hello" else set())
                found = list(self.answered(do))
                self.assertEqual({key for answer in found for key in answer["ok"]}, wanted, do)
                self.assertEqual({answer["as"] for answer in found if "as" in answer}, set(coded(named)), do)
        self.assertEqual(listed, {do for do in TABLE if any(self.answered(do))})

    def test_what_is_in_an_answer(self) -> None:
        """The records in lists have the fields that the text names."""
        text = " ".join(PROTOCOL.read_text("utf-8").split())

        def after(words: str, until: str) -> set[str]:
            start = text.index(words) + len(words)
            return set(coded(text[start : text.index(until, start)]))

        def held(do: str, key: str) -> set[str]:
            return {name for answer in self.answered(do) for entry in answer["ok"].get(key, ()) for name in entry}

        self.assertEqual(held("history", "lines"), after("`history` and `search` has", ", with"))
        self.assertEqual(held("members", "members"), after("A person of `members` has", " (of `roster`"))
        self.assertEqual(held("requests", "requests"), after("; a request", "; a ban"))
        self.assertEqual(held("bans", "bans"), after("; a ban", "; a session"))
        self.assertEqual(held("sessions", "sessions"), after("; a session", "."))
        described = {coded(row[0])[0]: set(coded(row[1])) for row in rows(PROTOCOL, "member of `ok`")}
        self.assertEqual(held("login", "rooms"), described["rooms"] - {"group", "direct", "cursor"})
        self.assertEqual(
            set(next(self.answered("hello"))["ok"]["commands"][0]), after("a table with", "and `args`") | {"args"}
        )

    def test_events(self) -> None:
        """Every kind of event comes about, with the members and the data that its row has."""
        described = {coded(row[0])[0]: row[1:] for row in rows(PROTOCOL, "kind")}
        self.assertEqual(described.keys(), kinds())
        self.assertEqual(self.story.events.keys(), kinds())
        always = {"ev", "seq", "room", "room_id", "by", "by_id", "at"}
        members = {name for row in self._members() for name in coded(row[0])}
        self.assertEqual({name for found in self.story.events.values() for event in found for name in event}, members)
        for kind, (where, who, text, data) in described.items():
            found = self.story.events[kind]
            for event in found:
                wanted = always | ({"who", "who_id"} if who else set())
                self.assertEqual(event.keys() & wanted, wanted, event)
                self.assertEqual("who" in event, who == "yes", event)
                mark = {"i": "inbox", "g": "#", "d": "@"}
                marks = tuple(mark[place.strip()[0]] for place in where.split(","))
                self.assertTrue(event["room"].startswith(marks) or event["room"] == "", event)
                must, _, may = data.partition(";")
                held = set(event.get("data", {}))
                self.assertEqual(held - names(may), names(must), event)
            self.assertEqual(any("text" in event for event in found), bool(text), kind)
            self.assertEqual(any("data" in event for event in found), bool(data), kind)
            if text and "," not in text and ";" not in text:
                self.assertTrue(all("text" in event for event in found), kind)

    def _members(self) -> list[list[str]]:
        """The table of an event's members: the second that is headed so."""
        return rows(PROTOCOL, "member", below="### Events")


def names(cell: str) -> set[str]:
    """The names in a cell, without what stands in brackets behind them."""
    return set(coded(re.sub(r"\([^)]*\)", "", cell)))


class Operations(SynchronousTestCase):
    """What docs/operations.md tells an operator to type exists."""

    def test_make(self) -> None:
        """Every target named anywhere is in the Makefile, every variable too."""
        makefile = (ROOT / "Makefile").read_text("utf-8")
        for name in (*DOCUMENTS, "CHANGELOG.md"):
            text = (ROOT / name).read_text("utf-8")
            for target, rest in re.findall(r"(?:`|^    )make ([a-z][a-z-]*)((?: [A-Z]+=\S+)*)", text, re.MULTILINE):
                self.assertRegex(makefile, rf"(?m)^{target}:", f"{name}: make {target}")
                for variable in re.findall(r"([A-Z]+)=", rest):
                    self.assertRegex(makefile, rf"(?m)^{variable} \?=", f"{name}: {variable}")

    def test_options(self) -> None:
        """Every option of a `twistd` line is one of the plugin's or twistd's own; every setting is in chatd.toml."""
        known = {f"--{option[0]}" for source in (Options, ClusterOptions) for option in _options(source)}
        text = OPERATIONS.read_text("utf-8")
        used = {
            word
            for line in re.findall(r"twistd[^\n`]* chatd\b[^\n`]*", text)
            for word in re.findall(r"--[a-z-]+", line)
        }
        self.assertEqual(used - known - {"--pidfile", "--logfile", "--listen", "--help"}, set())
        variables = {f"CHATD_{name.replace('.', '_').upper()}" for name in OPTIONS}
        self.assertEqual(set(re.findall(r"\bCHATD_[A-Z_]+\b", text)) - variables, set())
        settings = {
            name for name in re.findall(r"`([a-z]+\.[a-z_]+)`", text) if name.split(".")[0] in ("log", "limits")
        }
        self.assertEqual(settings - OPTIONS.keys(), set())

    def test_every_log_line(self) -> None:
        """Every event of the log is explained, and no other."""
        named = {coded(row[0])[0].split()[0] for row in rows(OPERATIONS, "line")}
        self.assertEqual(named, set(texts.AUDIT))


def _options(source: Any) -> list[Any]:
    return [*getattr(source, "optParameters", ()), *getattr(source, "optFlags", ())]
