"""Every refusal as a person reads it, letter by letter.

The rule: what a test expects is what FEATURES.md says, not what the daemon happens to print.
"""

from __future__ import annotations

import fcntl
import os
import re
from dataclasses import replace

from twisted.logger import formatEvent

from chatd.command import ALIASES, TABLE
from chatd.errors import CODES
from tests.memory import ABROAD, DOOR, PASSWORD, Client
from tests.people import Base
from tests.sealing import equip, found


class RefusalTests(Base):
    """Every refusal, its text and its second line (FEATURES §3): each test is named for the code it reaches."""

    LATER = frozenset({"SECRET_IN_LINE"})
    """What `chat` alone refuses (tests.client.test_conversation)."""
    DIALECTS = frozenset(
        {"BAD_LINE", "MID_REUSED", "NOT_YOURS", "QUOTA", "TICKET", "FILE_CUT", "CHECKSUM", "DISK_FULL"}
    )
    ACCOUNTS = frozenset(
        {"CODE_NEEDED", "BAD_CODE", "FACTOR", "BY_INVITATION", "BAD_INVITATION", "BAD_CERTIFICATE", "GUESTS_ONLY"}
    )
    CROWDS = frozenset({"FULL", "CROWDED", "SLOW", "IDLE"})
    SEALED = frozenset({"STALE", "NO_DEVICE", "NO_KEYS", "BAD_PROOF"})
    """tests.test_accounts, tests.test_crowd and tests.irc have them."""
    """Those that only a program can meet, or a file's connection; tests.test_json and tests.test_files have them."""

    def setUp(self) -> None:
        super().setUp()
        self.alice = self.person("alice", "/create #ops")
        self.bob = self.person("bob")
        self.alice.type("/add bob")
        self.carol = self.person("carol")
        self.alice.lines(), self.bob.lines()

    def refused(self, client: Client, typed: str, code: str, *lines: str) -> None:
        """This line is refused with this code and these words, and nothing is changed by it."""
        before = self.server.audit.refusals[code]
        log = self.server.sql("SELECT max(seq) FROM event")
        self.talk(client, (typed, list(lines)))
        self.assertEqual(self.server.audit.refusals[code], before + 1, f"{typed}: {self.server.audit.refusals}")
        self.assertEqual(self.server.sql("SELECT max(seq) FROM event"), log)

    def test_the_table_is_whole(self) -> None:
        """Every code that there is has a test here, belongs to programs, or to an issue to come."""
        here = {
            name.removeprefix("test_") for name in dir(self) if name.startswith("test_") and name.isupper() is False
        }
        here = {name for name in here if name.isupper()}
        self.assertEqual(here | self.DIALECTS | self.SEALED | self.ACCOUNTS | self.CROWDS, CODES.keys() - self.LATER)

    def test_NAME_TAKEN(self) -> None:
        """A group's name that is taken brings two that are free."""
        self.refused(self.alice, "/create #ops", "NAME_TAKEN", '"#ops" is taken. Free: #ops2, #ops_.')
        self.alice.type("/create #dev")
        self.refused(self.alice, "/rename #ops #dev", "NAME_TAKEN", '"#dev" is taken. Free: #dev2, #dev_.')

    def test_BAD_NAME(self) -> None:
        """A group's name has its own alphabet."""
        self.refused(
            self.alice,
            "/create #o/s",
            "BAD_NAME",
            '"#o/s" cannot be the name of a group.',
            "Use # and 1 to 32 of a-z 0-9 . _ -",
        )

    def test_BAD_PASSWORD(self) -> None:
        """A one-line registration says what its password lacks."""
        self.refused(
            self.at_the_door(),
            "/register dave short",
            "BAD_PASSWORD",
            "Password needs: 8+ characters, a capital letter, a number.",
            DOOR,
        )

    def test_BAD_LOGIN(self) -> None:
        """A wrong password to delete an account leaves it."""
        self.refused(self.bob, "/delete-account wrong", "BAD_LOGIN", "Wrong password. 2 tries left.")
        self.refused(self.at_the_door(), "/login bob wrong", "BAD_LOGIN", "Wrong name or password. 1 try left.", DOOR)

    def test_THROTTLED(self) -> None:
        """The third wrong password is one too many."""
        self.refused(
            self.at_the_door(*["/login bob x"] * 2), "/login bob x", "THROTTLED", "Too many tries. Wait 40 s.", DOOR
        )

    def test_REG_CLOSED(self) -> None:
        """No new accounts."""
        self.server.factory.reload(replace(self.settings, registration="closed"))
        self.refused(
            self.at_the_door(), f"/register dave {PASSWORD}", "REG_CLOSED", "This server takes no new accounts.", DOOR
        )

    def test_NOT_LOGGED_IN(self) -> None:
        """Nobody yet."""
        self.refused(self.at_the_door(), "/groups", "NOT_LOGGED_IN", "Log in first: /login or /register.", DOOR)

    def test_LOGGED_IN(self) -> None:
        """Somebody already."""
        self.refused(self.alice, "/login", "LOGGED_IN", "You are alice. /logout first.")

    def test_NO_USER(self) -> None:
        """Nobody of that name."""
        self.refused(self.alice, "/add caro", "NO_USER", "No such person: caro. Did you mean carol?")
        self.refused(self.alice, "/kick zzz", "NO_USER", "No such person: zzz.")

    def test_NO_GROUP(self) -> None:
        """No group of that name."""
        self.refused(self.alice, "/members #opps", "NO_GROUP", "No such group: #opps. Did you mean #ops?")
        self.refused(self.alice, "/members #zzz", "NO_GROUP", "No such group: #zzz.")

    def test_NO_ROOM(self) -> None:
        """Text, a file, and a room's command, while no room is current; of what sends it is said that nothing was."""
        opens = "/join #group or /dm person opens one."
        for typed in ("hi", "/say hi", "/send a.txt", "/image cat.png"):
            self.refused(self.carol, typed, "NO_ROOM", "No room is open. Nothing was sent.", opens)
        for typed in ("/members", "/close"):
            self.refused(self.carol, typed, "NO_ROOM", "No room is open.", opens)

    def test_NOT_MEMBER(self) -> None:
        """Somebody else's group."""
        self.refused(self.carol, "/members #ops", "NOT_MEMBER", "You are not in #ops. /join #ops")
        self.refused(self.carol, "/kick #ops bob", "NOT_MEMBER", "You are not in #ops. /join #ops")

    def test_NOT_THERE(self) -> None:
        """Somebody who is not in the group."""
        for verb in ("/kick", "/remove", "/promote", "/demote", "/transfer"):
            self.refused(self.alice, f"{verb} carol", "NOT_THERE", "carol is not in #ops.")

    def test_ALREADY(self) -> None:
        """Somebody who is."""
        self.refused(self.alice, "/add bob", "ALREADY", "bob is already in #ops.")

    def test_SAME_ROLE(self) -> None:
        """Nothing to change."""
        self.refused(self.alice, "/demote bob", "SAME_ROLE", "bob is an ordinary member of #ops already.")
        self.refused(self.alice, "/transfer alice", "SAME_ROLE", "alice is the owner of #ops already.")

    def test_SELF(self) -> None:
        """Nobody talks to themselves here."""
        self.refused(self.alice, "@alice hi", "SELF", "That is you.")
        self.refused(self.alice, "/dm alice", "SELF", "That is you.")
        self.refused(self.alice, "/ban alice", "SELF", "That is you.")

    def test_GROUPS_ONLY(self) -> None:
        """What a conversation of two does not have."""
        self.alice.type("/dm bob")
        for verb in ("/leave", "/topic", "/door", "/admins"):
            words = (f"Only groups have that: {verb}", "@bob is a conversation of two.")
            self.refused(self.alice, verb, "GROUPS_ONLY", *words)

    def test_PENDING(self) -> None:
        """Asked already."""
        self.carol.type("/join #ops")
        self.carol.send(b"/join #ops\r\n")
        self.shows(self.carol, r"Already asked at \d\d:\d\d; waiting for alice\.")

    def test_NO_REQUEST(self) -> None:
        """Nobody asked."""
        self.carol.type("/join #ops")
        self.person("dave")
        self.alice.lines()
        self.refused(self.alice, "/approve dave", "NO_REQUEST", "dave has not asked to join #ops.")
        self.refused(self.alice, "/deny dave", "NO_REQUEST", "dave has not asked to join #ops.")

    def test_NO_REQUESTS(self) -> None:
        """Nobody at all asked."""
        for typed in ("/approve", "/approve all", "/deny", "/2"):
            self.refused(self.alice, typed, "NO_REQUESTS", "No pending join requests in #ops.")

    def test_BANNED(self) -> None:
        """Kept out."""
        self.alice.type("/ban carol")
        self.refused(self.carol, "/join #ops", "BANNED", "You are banned from #ops.", "Admins of #ops: alice.")

    def test_IS_BANNED(self) -> None:
        """Somebody who is kept out is not added by mistake."""
        self.alice.type("/ban carol")
        self.refused(self.alice, "/add carol", "IS_BANNED", "carol is banned from #ops.", "/unban carol")
        self.refused(self.alice, "/ban carol", "IS_BANNED", "carol is banned from #ops.", "/unban carol")

    def test_NOT_BANNED(self) -> None:
        """Nobody kept carol out."""
        self.refused(self.alice, "/unban carol", "NOT_BANNED", "carol is not banned from #ops.")

    def test_INVITE_ONLY(self) -> None:
        """A group that is entered by /add."""
        self.alice.type("/door invite")
        words = ("#ops is entered by invitation only.", "Admins of #ops: alice.")
        self.refused(self.carol, "/join #ops", "INVITE_ONLY", *words)

    def test_ONLY_ADMIN(self) -> None:
        """What takes an admin, in the words of the older systems."""
        for verb in ("/add", "/remove"):
            words = ("Only admin can add/remove participants", "Admins of #ops: alice.")
            self.refused(self.bob, f"{verb} carol", "ONLY_ADMIN", *words)
        for verb in (
            "/kick carol",
            "/ban carol",
            "/transfer bob",
            "/promote bob",
            "/approve",
            "/1",
            "/topic x",
            "/door open",
        ):
            name = f"/{ALIASES.get(verb.split()[0][1:], verb.split()[0][1:])}"
            words = (f"Only admin can do that: {name}", "Admins of #ops: alice.")
            self.refused(self.bob, verb, "ONLY_ADMIN", *words)

    def test_ONLY_OWNER(self) -> None:
        """What takes the owner."""
        self.alice.type("/promote bob")
        self.alice.type("/add carol")
        self.alice.type("/promote carol")
        self.bob.lines()
        for verb in ("/transfer bob", "/promote carol", "/demote carol", "/rename #dev", "/kick carol", "/ban carol"):
            words = (f"Only the owner can do that: {verb.split()[0]}", "Owner of #ops: alice.")
            self.refused(self.bob, verb, "ONLY_OWNER", *words)

    def test_OWNER_STAYS(self) -> None:
        """An owner hands over first."""
        self.refused(self.alice, "/leave", "OWNER_STAYS", "Give #ops to somebody first: /transfer")

    def test_OWNER_SAFE(self) -> None:
        """Nobody removes the owner."""
        self.alice.type("/promote bob")
        self.bob.lines()
        for verb in ("/kick", "/remove", "/ban"):
            self.refused(self.bob, f"{verb} alice", "OWNER_SAFE", "alice owns #ops and cannot be removed.")

    def test_OPERATORS_ONLY(self) -> None:
        """/stats is for operators."""
        self.refused(self.alice, "/stats", "OPERATORS_ONLY", "Only operators of this server can do that: /stats")
        self.server.factory.reload(replace(self.settings, operators=frozenset({"alice"})))
        self.assertRegex(self.alice.type("/stats")[0], r"^3 accounts, 3 online, 1 node, \d+ events$")

    def test_TOO_LONG(self) -> None:
        """A message, a topic, a reason past its limit."""
        self.refused(self.alice, "x" * 4_001, "TOO_LONG", "4,001 of 4,000 characters.")
        self.refused(self.alice, "@bob " + "x" * 4_001, "TOO_LONG", "4,001 of 4,000 characters.")
        self.refused(self.alice, "/topic " + "x" * 301, "TOO_LONG", "301 of 300 characters.")
        self.refused(self.alice, "/kick bob " + "x" * 301, "TOO_LONG", "301 of 300 characters.")
        self.refused(self.alice, "/away " + "x" * 301, "TOO_LONG", "301 of 300 characters.")
        self.talk(self.alice, ("x" * 4_000, []))

    def test_LINE_TOO_LONG(self) -> None:
        """A line past the framing bound is told once and skipped to its end, however long."""
        words = "More than 8,192 of 4,000 characters. Skipped."
        self.refused(self.alice, "x" * 9_000, "LINE_TOO_LONG", words)
        self.refused(self.alice, "/quit " * 180_000, "LINE_TOO_LONG", words)
        self.talk(self.alice, ("still here", []))

    def test_RATE(self) -> None:
        """From abroad sixty lines at once, then twenty a second."""
        client = self.server.person("dave", ABROAD)
        client.send(b"\r\n" * 59)
        self.refused(client, "/whereami", "RATE", "Slow down: 1 s.")
        self.server.advance(0.1)
        self.talk(client, ("/whereami", ["node 1 of 1"]), ("", []))
        self.refused(client, "/whereami", "RATE", "Slow down: 1 s.")
        self.server.advance(60)
        self.talk(client, *[("/whereami", ["node 1 of 1"])] * 60)
        self.refused(client, "/whereami", "RATE", "Slow down: 1 s.")

    def test_LIMIT(self) -> None:
        """A group that is full."""
        self.server.factory.reload(replace(self.settings, limits=replace(self.settings.limits, group_members=2)))
        self.refused(self.alice, "/add carol", "LIMIT", "#ops is full.")
        self.carol.type("/join #ops")
        self.alice.lines()
        self.refused(self.alice, "/approve carol", "LIMIT", "#ops is full.")

    def test_GROUPS_FULL(self) -> None:
        """Somebody in as many groups as may be."""
        self.server.factory.reload(replace(self.settings, limits=replace(self.settings.limits, groups_per_account=1)))
        self.refused(
            self.alice, "/create #more", "GROUPS_FULL", "You are in 1 group already.", "/leave one of them first."
        )
        self.carol.type("/create #carols")
        self.refused(self.alice, "/add carol", "GROUPS_FULL", "carol is in 1 group already.")

    def test_NO_FILE(self) -> None:
        """A file that is not there."""
        for typed in ("/get 17", "/cancel 17"):
            self.refused(self.alice, typed, "NO_FILE", "No such file: 17.")

    def test_E2E_ONLY(self) -> None:
        """A sealed room takes no text, and shows none."""
        chat = self.server.resume("alice")
        found(chat, equip(chat), "#deep")
        self.alice.type("/join #deep")
        words = "#deep is end-to-end encrypted; this connection cannot decrypt. Use chat."
        self.refused(self.alice, "hi", "E2E_ONLY", words)
        self.refused(self.alice, "/search hi", "E2E_ONLY", words)

    def test_BAD_USAGE(self) -> None:
        """The usage line is the help."""
        self.refused(self.alice, "/add bob carol", "BAD_USAGE", "Usage: /add <user>")
        self.refused(self.alice, "/history nonsense", "BAD_USAGE", f"Usage: {TABLE['history'].usage}")
        self.refused(self.alice, "/door ajar", "BAD_USAGE", "Usage: /door [open|ask|invite]")
        self.refused(self.alice, "/logout 7", "BAD_USAGE", "Usage: /logout [a number of /sessions|all]")

    def test_UNKNOWN_CMD(self) -> None:
        """Never sent as text."""
        self.refused(self.alice, "/aprove", "UNKNOWN_CMD", "Unknown command /aprove. Did you mean /approve? Not sent.")

    def test_UNKNOWN_CMD_names_what_people_use(self) -> None:
        """What only programs use is not held out to people."""
        words = ("Unknown command /vaul. Not sent.", "/help lists the commands.")
        self.refused(self.alice, "/vaul", "UNKNOWN_CMD", *words)
        self.refused(self.alice, "/delete-acount", "UNKNOWN_CMD",
                     "Unknown command /delete-acount. Did you mean /delete-account? Not sent.")  # fmt: skip

    def test_BUSY(self) -> None:
        """While another process holds the write lock nothing is changed; when it lets go, all is well."""
        fd = os.open(self.server.data / "write.lock", os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        words = "The server cannot write just now. Nothing was changed; try again."
        self.refused(self.alice, "hi", "BUSY", words)
        self.refused(self.alice, "/kick bob", "BUSY", words)
        self.talk(self.alice, ("/members", ["#ops 2: alice (owner) bob"]))
        os.close(fd)
        self.talk(self.alice, ("hi", []))
        self.shows(self.bob, r"\d\d:\d\d <alice> hi")

    def test_DRAINING(self) -> None:
        """A server that stops says so, and where to go."""
        self.server.factory.drain()
        self.server.advance(0)
        self.assertEqual(self.alice.lines(), ["This server is closing; reconnect."])

    def test_INTERNAL(self) -> None:
        """What nobody foresaw is logged under the reference that the person is told, and the connection goes on."""
        self.server.sql("DROP TABLE ban")
        [line] = self.alice.type("/ban carol")
        found = re.fullmatch(r"Something broke here; it is logged as ([0-9a-f]{8})\. Nothing was changed\.", line)
        assert found is not None
        [line] = self.alice.type("/bans")
        self.assertRegex(line, "^Something broke here")
        logged = [formatEvent(event) for event in self.logged if event.get("log_failure")]
        self.assertIn(f"ban broke, reference {found[1]}", logged)
        self.assertEqual(len(self.flushLoggedErrors()), 2)
        self.talk(self.alice, ("/members", ["#ops 2: alice (owner) bob"]), ("hi", []))
