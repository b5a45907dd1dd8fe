"""chatctl: what an operator types, what is said, and with which status it ends (beside a server: test_chatctl_live)."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sqlite3
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from chatd.ctl import does
from chatd.ctl.backup import CERTIFICATE
from chatd.ctl.main import parser
from chatd.texts import chatctl as lines
from chatd.tls import OWN
from tests.ctl import Operator, Ran
from tests.live import ROOT
from tests.memory import PASSWORD, Server, settings


def unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """All of it; Debian 12's Python knows no `filter=` yet, and newer ones warn where none is given."""
    tar.extraction_filter = lambda member, _: member
    tar.extractall(folder)


class AloneTests(SynchronousTestCase):
    """No server runs: the work is done on the file."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp()) / "data"
        self.chatctl = Operator(self.data)

    def say(self, *words: str, typed: str = "", status: int = 0) -> str:
        """What it says, having ended so."""
        ran = self.chatctl(*words, typed=typed)
        self.assertEqual(ran.status, status, ran)
        self.assertEqual(bool(ran.err), not ran.out, ran)
        return ran.out or ran.err

    def test_initdb(self) -> None:
        """It makes the database, and a second time changes nothing."""
        self.assertEqual(self.say("initdb"), "Database ready: schema 1, 0 users.")
        self.say("user", "add", "alice")
        self.assertEqual(self.say("initdb"), "Database ready: schema 1, 1 user.")
        self.assertEqual(self.data.stat().st_mode & 0o777, 0o700)

    def test_without_a_database(self) -> None:
        """Everything else says that there is none, and makes none."""
        for words in (("status",), ("check",), ("user", "list"), ("invite",), ("backup", f"{self.data}.tar")):
            self.assertRegex(self.say(*words, status=1), r"^chatctl: There is no database in \S+/data\. chatctl initdb")
        self.assertFalse(self.data.exists())

    def test_status(self) -> None:
        """Not running is a status of its own."""
        self.say("initdb")
        self.assertRegex(
            self.say("status", status=3), r"^Not running\. 0 users, 0 groups, 0 events, 0\.\d MB, schema 1\.$"
        )

    def test_accounts(self) -> None:
        """A whole life: added, listed, disabled, enabled, with another password, deleted; each is in the log."""
        self.say("initdb")
        said = self.say("user", "add", "Alice")
        self.assertRegex(said, r"^alice added\. Password, shown once: (\w{4}-){3}\w{4}$")
        self.assertEqual(self.say("user", "add", "bob", "--password-stdin", typed=PASSWORD + "\n"), "bob added.")
        self.assertRegex(self.say("user", "list"), r"^alice +since \S+  0 groups\nbob +since \S+  0 groups$")
        self.assertEqual(self.say("user", "disable", "bob"), "bob is disabled.")
        self.assertEqual(self.say("user", "disable", "bob"), "bob is disabled already.")
        self.assertIn("  disabled", self.say("user", "list"))
        server = Server(self.data)
        self.assertEqual(server.connect().code(do="login", name="bob", password=PASSWORD), "BAD_LOGIN")
        server.stop()
        self.assertEqual(self.say("user", "enable", "bob"), "bob is enabled.")
        self.assertEqual(self.say("user", "enable", "bob"), "bob is enabled already.")
        self.assertRegex(self.say("user", "reset-password", "alice"), r"^alice has another password\. Password, shown")
        made = self.chatctl("user", "reset-password", "bob", "--json").fields["password"]
        server = Server(self.data)
        self.assertEqual(server.connect().code(do="login", name="bob", password=made), "ok")
        server.stop()
        self.assertEqual(
            self.say("user", "reset-password", "bob", "--password-stdin", typed="Battery8staple"),
            "bob has another password. 1 session ended.",
        )
        self.assertEqual(
            self.say("user", "delete", "bob", status=2), "chatctl: Say --yes to delete bob without being asked."
        )
        self.assertEqual(self.say("user", "delete", "bob", "--yes"), "bob is deleted.")
        log = (self.data / "log" / "chatctl.log").read_text()
        acts = re.findall(r"^[0-9:]{8} admin +(\S+ \S+) by \S+$", log, re.MULTILINE)
        self.assertEqual(len(acts), len(log.splitlines()))
        self.assertEqual(acts[:2] + acts[-1:], ["user.add alice", "user.add bob", "user.delete bob"])
        self.assertNotIn(made, log)

    def test_refused(self) -> None:
        """What cannot be done is said in the words that people know, with status 1, and changes nothing."""
        self.say("initdb")
        self.say("user", "add", "alice")
        for words, said in (
            (("user", "add", "a1ice"), '"a1ice" is taken. Free: '),
            (
                ("user", "add", "x!"),
                'chatctl: "x!" cannot be a user name.\nUse 2 to 32 of a-z 0-9 . _ - (a few names are reserved).',
            ),
            (("user", "disable", "bob"), "No such person: bob."),
            (("user", "delete", "b b", "-y"), "No such person: b b."),
            (("invite", "--revoke", "7"), "There is no invitation 7."),
        ):
            self.assertIn(said, self.say(*words, status=1))
        short = self.say("user", "add", "bob", "--password-stdin", typed="short\n", status=1)
        self.assertEqual(short, "chatctl: Password needs: 8+ characters, a capital letter, a number.")
        self.assertEqual(self.say("user", "list").count("\n"), 0)

    def test_json(self) -> None:
        """Programs get an object either way."""
        self.say("initdb")
        self.assertEqual(self.chatctl("--json", "initdb").fields["schema"], 1)
        self.assertEqual(
            self.chatctl("user", "enable", "bob", "--json"),
            Ran(1, '{"error": "No such person: bob.", "code": "NO_USER"}', ""),
        )

    def test_usage(self) -> None:
        """What is no command, and a configuration that is wrong, end with status 2."""
        self.assertIn("invalid choice", self.say("frobnicate", status=2))
        wrong = Operator(self.data, "limit = 3\n")
        self.assertEqual(wrong("status").status, 2)
        self.assertRegex(wrong("status").err, r"data.toml:1: unknown option limit")

    def test_invitations(self) -> None:
        """An invitation is a code, counted and for a time, that is stored as a hash only."""
        self.say("initdb")
        said = self.say("invite", "--uses", "3", "--days", "2", "--note", "the team")
        found = re.fullmatch(r"Invitation 1: (\S+)   \(3 uses, until \S+ \S+\)", said)
        assert found is not None
        self.assertRegex(self.say("invite", "--list"), r"^1  3 of 3 uses left, until \S+ \S+  the team$")
        self.assertNotIn(found[1].encode(), (self.data / "chatd.sqlite").read_bytes())
        self.assertEqual(self.say("invite", "--revoke", "1"), "Invitation 1 is revoked.")
        self.assertEqual(self.say("invite", "--list"), "No invitations.")

    def test_registering_by_invitation(self) -> None:
        """Where accounts are by invitation, the code lets in as many as it was made for."""
        self.say("initdb")
        code = self.chatctl("invite", "--uses", "1", "--json").fields["code"]
        server = Server(self.data, settings=replace(settings(), registration="invited"))
        self.addCleanup(server.stop)
        bob, carol = server.connect(), server.connect()
        self.assertEqual(bob.code(do="register", name="bob", password=PASSWORD, code=code.upper()), "ok")
        self.assertNotEqual(carol.code(do="register", name="carol", password=PASSWORD, code=code), "ok")
        self.assertEqual(self.say("invite", "--list"), "No invitations.")

    def test_somebody_writes(self) -> None:
        """Where another process holds the write lock, it is said that nothing was changed, with status 4."""
        self.say("initdb")
        other = sqlite3.connect(self.data / "chatd.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        self.patch(sqlite3, "connect", _impatient(sqlite3.connect))
        self.assertRegex(self.say("user", "add", "bob", status=4), "^chatctl: The database cannot be written just now")
        other.close()

    def test_a_newer_database(self) -> None:
        """It keeps its hands off a database that it does not know."""
        self.say("initdb")
        connection = sqlite3.connect(self.data / "chatd.sqlite")
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'compat'")
        connection.commit()
        connection.close()
        self.assertRegex(self.say("user", "list", status=1), r"needs a chatd that knows schema 99")

    def test_the_certificate_goes_along(self) -> None:
        """The certificate that the server has made for itself is in the backup: who has pinned it finds it again."""
        self.assertEqual(CERTIFICATE, OWN)
        self.say("initdb")
        (self.data / OWN).write_text("a key and a certificate")
        backup, elsewhere = self.data.with_name("backup.tar"), Operator(self.data.with_name("elsewhere"))
        self.say("backup", str(backup), "--verify")
        self.assertEqual(elsewhere("restore", str(backup)).status, 0)
        self.assertEqual((elsewhere.data / OWN).read_text(), "a key and a certificate")
        self.assertEqual((elsewhere.data / OWN).stat().st_mode & 0o777, 0o600)

    def test_a_newer_backup(self) -> None:
        """A backup of a newer chatd is neither verified nor restored by this one."""
        self.say("initdb")
        connection = sqlite3.connect(self.data / "chatd.sqlite")
        connection.execute("PRAGMA user_version = 99")
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'compat'")
        connection.commit()
        connection.close()
        backup, elsewhere = self.data.with_name("backup.tar"), Operator(self.data.with_name("elsewhere"))
        self.assertIn("knows schema 99", self.say("backup", str(backup), status=1))
        with sqlite3.connect(self.data / "chatd.sqlite") as connection:
            connection.execute("UPDATE meta SET value = '1' WHERE key = 'compat'")
        connection.close()
        self.say("backup", str(backup))
        folder = Path(self.mktemp())
        with tarfile.open(backup) as tar:
            unpack(tar, folder)
        connection = sqlite3.connect(folder / "chatd.sqlite")
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'compat'")
        connection.commit()
        connection.close()
        held = json.loads((folder / "backup.json").read_text())
        data = (folder / "chatd.sqlite").read_bytes()
        held["database"] = [len(data), hashlib.sha256(data).hexdigest()]
        (folder / "backup.json").write_text(json.dumps(held))
        with tarfile.open(backup, "w") as tar:
            for name in ("chatd.sqlite", "backup.json"):
                tar.add(folder / name, name)
        for words in (("verify", str(backup)), ("restore", str(backup))):
            ran = elsewhere(*words)
            self.assertEqual((ran.status, "knows schema 99" in ran.err), (1, True), ran)
        self.assertFalse((elsewhere.data / "chatd.sqlite").exists())

    def test_root_leaves_nothing_of_its_own(self) -> None:
        """What root makes in the folder of the server's user belongs to that user: else the server could not start."""
        if os.geteuid():
            raise SkipTest("only root can make files that are others'")
        self.say("initdb")
        os.chown(self.data, 12_345, 12_345)
        self.say("user", "add", "alice")
        backup = self.data.with_name("backup.tar")
        self.say("backup", str(backup))
        elsewhere = Operator(self.data.with_name("elsewhere"))
        elsewhere.data.mkdir(mode=0o700)
        os.chown(elsewhere.data, 12_345, 12_345)
        self.assertEqual(elsewhere("restore", str(backup)).status, 0)
        for data in (self.data, elsewhere.data):
            self.assertEqual({path.lstat().st_uid for path in data.rglob("*")}, {12_345})
        self.assertEqual(backup.stat().st_uid, 0)

    def test_no_database_at_all(self) -> None:
        """A file that is something else is said to be damaged."""
        self.data.mkdir(parents=True)
        (self.data / "chatd.sqlite").write_text("This is no database, though it is long enough to be one." * 20)
        self.assertRegex(self.say("check", status=1), "^chatctl: The database is damaged: file is not a database")

    def test_a_damaged_backup(self) -> None:
        """A byte that was changed, and an end that is missing, are found; nothing is restored from such a file."""
        self.say("initdb")
        self.say("user", "add", "alice")
        backup = self.data.with_name("backup.tar")
        self.assertRegex(
            self.say("backup", str(backup)), r"^\S+backup\.tar 0\.\d MB: 1 user, 0 groups, 1 event, 0 files"
        )
        self.assertRegex(self.say("backup", str(backup), status=1), "backup.tar: is there already$")
        whole = backup.read_bytes()
        at = whole.index(b"alice")
        elsewhere = Operator(self.data.with_name("elsewhere"))
        for broken in (whole[:at] + b"malice"[:5] + whole[at + 5 :], whole[: len(whole) // 2], b"", b"x" * 4096):
            backup.write_bytes(broken)
            self.assertRegex(self.say("verify", str(backup), status=1), r"is no backup of chatd: ")
            self.assertEqual(elsewhere("restore", str(backup)).status, 1)
            self.assertFalse((elsewhere.data / "chatd.sqlite").exists())
        backup.write_bytes(whole)
        self.assertEqual(elsewhere("restore", str(backup)).status, 0)
        self.assertEqual({path.name for path in elsewhere.data.iterdir()}, {"chatd.sqlite", "log"})

    def test_what_differs(self) -> None:
        """Where what is restored is not what the backup was made of, verify names the tables, with status 1."""
        self.say("initdb")
        backup, folder = self.data.with_name("backup.tar"), Path(self.mktemp())
        self.say("backup", str(backup))
        with tarfile.open(backup) as tar:
            unpack(tar, folder)
        held = json.loads((folder / "backup.json").read_text())
        held["tables"]["account"][0] = 7
        held["users"] = 7
        (folder / "backup.json").write_text(json.dumps(held))
        with tarfile.open(backup, "w") as tar:
            for name in ("chatd.sqlite", "backup.json"):
                tar.add(folder / name, name)
        ran = self.chatctl("verify", str(backup))
        self.assertEqual(ran.status, 1)
        self.assertEqual(ran.out.splitlines()[:2], ["users differs.", "table account differs."])
        self.assertRegex(ran.out.splitlines()[2], "does not restore to what it was made of: 2 differences.$")

    def test_no_room_for_a_backup(self) -> None:
        """A disk that is full, or a folder that is not there, is said to be so; nothing is left half done."""
        self.say("initdb")
        backup = self.data.with_name("backups") / "backup.tar"
        self.assertRegex(self.say("backup", str(backup), status=1), r"backups: there is no such folder$")
        backup.parent.mkdir()

        def full(*args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(does.backup, "snapshot", full)
        self.assertEqual(
            self.say("backup", str(backup), status=4),
            f"chatctl: There is no room for {backup}. Nothing is left there.",
        )
        self.assertEqual(list(backup.parent.iterdir()), [])

    def test_a_backup_that_reaches_out(self) -> None:
        """What a backup holds besides what it lists, or under other names than ours, is not taken out of it."""
        self.say("initdb")
        backup = self.data.with_name("backup.tar")
        self.say("backup", str(backup))
        whole = backup.read_bytes()
        elsewhere = Operator(self.data.with_name("elsewhere"))
        for name in ("../../evil", "/tmp/evil", "blobs/01/../../evil"):
            backup.write_bytes(whole)
            with tarfile.open(backup, "a") as tar:
                tar.addfile(tarfile.TarInfo(name))
            self.assertRegex(elsewhere("restore", str(backup)).err, "it holds other files than it lists")
            held = {"format": 1, "database": [0, ""], "blobs": {name: [0, ""]}}
            listed = json.dumps(held).encode()
            with tarfile.open(backup, "w") as tar:
                entry = tarfile.TarInfo("backup.json")
                entry.size = len(listed)
                tar.addfile(entry, io.BytesIO(listed))
                tar.addfile(tarfile.TarInfo("chatd.sqlite"))
                tar.addfile(tarfile.TarInfo(name))
            self.assertRegex(elsewhere("restore", str(backup)).err, "it lists ")
        self.assertFalse((elsewhere.data / "chatd.sqlite").exists())

    def test_export(self) -> None:
        """What a member may hear of a room goes into a new file; others' rooms, other names and forms are refused."""
        server = Server(self.data)
        alice, bob = server.person("alice"), server.person("bob")
        for typed in ("/create #ops", "before bob came", "/add bob", "hello", "@bob psst"):
            alice.type(typed)
        bob.lines()
        server.stop()
        for form in ("txt", "jsonl", "html"):
            path = self.data.with_name(f"ops.{form}")
            self.assertRegex(self.say("export", "bob", "#ops", str(path)), rf"^\d lines of #ops in \S+ops\.{form}\.$")
            self.assertIn("hello", path.read_text())
            self.assertNotIn("before bob came", path.read_text())
        path = self.data.with_name("psst.txt")
        self.say("export", "bob", "@alice", str(path))
        self.assertIn("alice: psst", path.read_text())
        self.assertIn("psst.txt: File exists", self.say("export", "bob", "@alice", str(path), status=1))
        other = str(self.data.with_name("other.txt"))
        for words, said in (
            (("bob", "#nowhere", other), "No such group: #nowhere."),
            (("carol", "#ops", other), "No such person: carol."),
            (("bob", "@carol", other), "No such person: carol."),
        ):
            self.assertIn(said, self.say("export", *words, status=1))
        self.assertIn("must end with .txt", self.say("export", "bob", "#ops", "ops.doc", status=2))
        self.assertFalse(Path(other).exists())

    def test_help(self) -> None:
        """--help says with which status it ends, and every command says what it does."""
        text = parser().format_help()
        for word in ("exit status", "initdb", "restore", "not now"):
            self.assertIn(word, text)


def _impatient(connect: Any) -> Any:
    def opened(*args: Any, **options: Any) -> Any:
        connection = connect(*args, **options)
        connection.execute("PRAGMA busy_timeout = 0")
        return _Impatient(connection) if options.get("isolation_level", "") is None else connection

    return opened


class _Impatient:
    """A connection that does not wait for others, whatever it is told."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, *args: Any) -> Any:
        return self._connection.execute(statement.replace("busy_timeout = 3000", "busy_timeout = 0"), *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


DAMAGE = {
    "gap": "DELETE FROM event WHERE seq = 5",
    "tail": "DELETE FROM event WHERE seq = (SELECT max(seq) FROM event)",
    "data": "UPDATE event SET data = '{' WHERE kind = 'created'",
    "membership": "UPDATE member SET role = 2 WHERE role = 1 AND room = (SELECT id FROM room WHERE name = '#ops')",
    "reference": "UPDATE member SET account = 99 WHERE account = 2",
    "owner": "UPDATE member SET role = 1 WHERE role = 3",
    "empty": "UPDATE member SET until = 99 WHERE room = (SELECT id FROM room WHERE name = '#ops')",
    "inbox": "UPDATE account SET inbox = NULL WHERE name = 'bob'",
    "cursor": "UPDATE account SET seen = 10000 WHERE name = 'bob'",
}


class CheckTests(SynchronousTestCase):
    """Everything that can be wrong is found, and nothing is where all is well."""

    def setUp(self) -> None:
        self.data = Path(self.mktemp()) / "data"
        self.chatctl = Operator(self.data)
        server = Server(self.data)
        alice, bob, carol = (server.person(name) for name in ("alice", "bob", "carol"))
        for client, text in (
            (alice, "/create #ops bob"),
            (alice, "/promote bob"),
            (bob, "/join #dev"),
            (carol, "/join #dev"),
            (bob, "/approve carol"),
            (bob, "/transfer carol"),
            (bob, "y"),
            (alice, "/dm bob"),
            (alice, "hello"),
            (carol, f"/delete-account {PASSWORD}"),
            (alice, "/kick #ops bob"),
            (alice, "/add #ops bob"),
        ):
            client.type(text)
        server.stop()

    def damage(self, statement: str) -> None:
        """Change the file behind the server's back."""
        connection = sqlite3.connect(self.data / "chatd.sqlite")
        connection.execute(statement)
        connection.commit()
        connection.close()

    def kinds(self) -> set[str]:
        """The kinds of faults that are found."""
        ran = self.chatctl("check", "--json")
        kinds = {fault["kind"] for fault in ran.fields["faults"]}
        self.assertEqual(ran.status, 1 if kinds else 0)
        return kinds

    def test_sound(self) -> None:
        """After a busy evening everything is as it should be."""
        ran = self.chatctl("check")
        self.assertRegex(ran.out, r"^Sound: 2 users, 2 groups, \d+ events, 0 files\.$")
        self.assertEqual(ran.status, 0)

    def test_each_damage(self) -> None:
        """Each kind of damage is found and told in a sentence; nothing is changed by looking."""
        whole = (self.data / "chatd.sqlite").read_bytes()
        for kind, statement in DAMAGE.items():
            (self.data / "chatd.sqlite").write_bytes(whole)
            self.damage(statement)
            self.assertIn(kind, self.kinds())
            broken = (self.data / "chatd.sqlite").read_bytes()
            said = self.chatctl("check").out.splitlines()
            self.assertRegex(said[-1], r"^\d+ faults? found\.$")
            self.assertGreater(len(said), 1, kind)
            self.assertEqual((self.data / "chatd.sqlite").read_bytes(), broken)

    def test_a_damaged_file(self) -> None:
        """Bytes that SQLite did not write are found."""
        path = self.data / "chatd.sqlite"
        whole = bytearray(path.read_bytes())
        whole[4096 * 8 : 4096 * 9] = b"\x55" * 4096
        path.write_bytes(whole)
        self.assertEqual(self.kinds(), {"integrity"})

    def test_every_sentence(self) -> None:
        """Every kind of fault has a sentence, and all are met by these tests or those of files."""
        self.assertEqual(lines.FAULTS.keys(), {*DAMAGE, "integrity", "differs"})


class DocumentedTests(SynchronousTestCase):
    """docs/operations.md."""

    def test_every_command_works(self) -> None:
        """What stands there to be typed, in its order, does what it says: on a server with one user, bob not yet there,
        and the backup restored on an empty host."""
        base = Path(self.mktemp())
        data = base / "chat"
        chatctl = Operator(data)
        server = Server(data)
        server.person("alice").type("/create #ops")
        server.stop()
        text = (ROOT / "docs" / "operations.md").read_text("utf-8")
        lines = re.findall(r"^    chatctl (--data .*)$", text, re.MULTILINE)
        self.assertGreater(len(lines), 14)
        for line in lines:
            words = shlex.split(line)
            self.assertEqual(words[:2], ["--data", "/srv/chat"], line)
            words = [word.replace("/srv/backup", str(base)) for word in words[2:]]
            if words[0] == "restore":
                shutil.rmtree(data)
            ran = chatctl(*words)
            self.assertEqual(ran.status, 3 if words[0] == "status" else 0, (line, ran))
        self.assertEqual(chatctl("check").status, 0)
        verbs = {line.split()[2] for line in lines}
        self.assertEqual(verbs, {"status", "initdb", "check", "user", "invite", "export", "backup", "restore"})

    def test_every_status(self) -> None:
        """The statuses in the table are those that there are."""
        text = (ROOT / "docs" / "operations.md").read_text("utf-8")
        table = text[text.index("| status | means |") :].split("\n\n")[0]
        listed = [int(number) for number in re.findall(r"^\| (\d) \|", table, re.MULTILINE)]
        self.assertEqual(listed, sorted({does.DONE, does.REFUSED, does.USAGE, does.STOPPED, does.BUSY}))
