"""Accounts on the open network: second factors, invitations, back-off, logins that go on and that end."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from chatd import codes
from chatd.commands import account
from tests.memory import ABROAD, DOOR, PASSWORD, Client, Server, settings

DAY = 86_400.0


class Base(SynchronousTestCase):
    """A server in memory."""

    def setUp(self) -> None:
        self.server = Server(Path(self.mktemp()), settings=settings(limit_loopback=True))
        self.addCleanup(self.server.stop)

    def code(self, uri: str, steps: int = 0) -> str:
        """What an authenticator shows now, or so many steps from now."""
        secret = base64.b32decode(uri.partition("secret=")[2].partition("&")[0])
        return codes.hotp(secret, self.server.now // 1000 // codes.STEP + steps)

    def with_factor(self, name: str) -> tuple[Client, str, list[str]]:
        """Somebody with a second factor: the connection, what the authenticator has, the recovery codes. The code that
        switched it on is over."""
        client = self.server.program(name)
        uri = client.call(do="totp", state="on", password=PASSWORD)["error"]["with"]["uri"]
        spare = client.call(do="totp", state="on", password=PASSWORD, code=self.code(uri))["ok"]["codes"]
        self.server.advance(2 * codes.STEP)
        return client, uri, spare


class FactorTests(Base):
    """`/totp`."""

    def test_by_a_person(self) -> None:
        """The password is asked for, the secret shown, a code asked for until it is right; then the recovery codes."""
        bob = self.server.person("bob")
        bob.lines()
        self.assertEqual(bob.type("/totp"), ["You have no second factor. /totp on"])
        self.assertEqual(bob.type("/totp on"), ["Password: "])
        shown = bob.type(PASSWORD)
        self.assertRegex(shown[-3], "^Type this into an authenticator: ([A-Z2-7]{4} ){7}[A-Z2-7]{4}$")
        self.assertRegex(shown[-2], r"^or have it scan: otpauth://totp/chatd:bob\?secret=[A-Z2-7]{32}&issuer=chatd$")
        self.assertEqual(shown[-1], "Code: ")
        wrong = bob.type("000000")
        self.assertEqual([wrong[0], wrong[1:]], ["Wrong code. 2 tries left.", shown[-3:]])
        done = bob.type(self.code(shown[-2]))
        self.assertEqual(
            done[0], "The second factor is on. Recovery codes, each good once; shown once, write them down:"
        )
        self.assertEqual(len(" ".join(done[1:]).split()), codes.RECOVERY)
        self.assertEqual(bob.type("/totp"), ["A second factor is on; 8 recovery codes left."])
        self.assertEqual(bob.type("/totp on"), ["A second factor is on already.", "/totp off"])
        self.assertEqual(bob.type("/totp maybe"), ["Usage: /totp [on|off|codes]"])

    def test_begun_under_another_password(self) -> None:
        """A secret that was shown to whoever knew the password before is not the one that is switched on after it has
        changed.
        """
        client = self.server.program("bob")
        begun = client.call(do="totp", state="on", password=PASSWORD)["error"]["with"]["uri"]
        client.call(do="password", old=PASSWORD, new="Another5horse")["ok"]
        again = client.call(do="totp", state="on", password="Another5horse")["error"]["with"]["uri"]
        self.assertNotEqual(begun, again)
        answer = client.call(do="totp", state="on", password="Another5horse", code=self.code(begun))
        self.assertEqual(answer["error"]["code"], "BAD_CODE")
        client.call(do="totp", state="on", password="Another5horse", code=self.code(again))["ok"]

    def test_at_the_door(self) -> None:
        """The code is asked for once the password was right, and again when it is wrong; a wrong password asks for
        none."""
        _, uri, _ = self.with_factor("alice")
        client = self.server.connect()
        client.type("l")
        client.type("alice")
        self.assertEqual(client.type("Wrong7horse"), ["", "Wrong name or password. 2 tries left.", DOOR])
        client.type("l")
        client.type("alice")
        self.assertEqual(client.type(PASSWORD), ["", "Code: "])
        self.assertEqual(client.type("12345"), ["Wrong code. 1 try left.", "Code: "])
        self.assertEqual(client.type(self.code(uri))[0], "Welcome, alice.")

    def test_on_one_line(self) -> None:
        """`/login NAME PASSWORD CODE` for scripts; without the code it is asked for."""
        _, uri, _ = self.with_factor("alice")
        client = self.server.connect()
        self.assertEqual(client.type(f"/login alice {PASSWORD} {self.code(uri)}")[0], "Welcome, alice.")
        self.server.advance(codes.STEP)
        other = self.server.connect()
        self.assertEqual(other.type(f"/login alice {PASSWORD}"), ["Code: "])
        self.assertEqual(other.type(self.code(uri))[0], "Welcome, alice.")

    def test_by_a_program(self) -> None:
        """CODE_NEEDED, with the question, then in; a code is good once, on every connection."""
        _, uri, _ = self.with_factor("alice")
        given = {"do": "login", "name": "alice", "password": PASSWORD}
        client = self.server.connect()
        error = client.call(**given)["error"]
        self.assertEqual((error["code"], error["ask"]["field"], error["with"]), ("CODE_NEEDED", "code", {"uri": ""}))
        code = self.code(uri)
        self.assertEqual(self.server.connect().code(**given, code=code), "ok")
        self.assertEqual(client.code(**given, code=code), "BAD_CODE")
        self.assertEqual(client.code(**given, code=self.code(uri, 1)), "ok")

    def test_clocks_that_differ(self) -> None:
        """One step early or late is good, two are not."""
        _, uri, _ = self.with_factor("alice")
        for steps, code in ((2, "BAD_CODE"), (-2, "BAD_CODE"), (-1, "ok"), (1, "ok")):
            given = {"name": "alice", "password": PASSWORD, "code": self.code(uri, steps)}
            self.assertEqual(self.server.connect().code(do="login", **given), code, steps)

    def test_recovery_codes(self) -> None:
        """Each stands in for a code once, however it is typed; new ones make the old ones void."""
        client, uri, spare = self.with_factor("alice")
        given = {"do": "login", "name": "alice", "password": PASSWORD}
        self.assertEqual(self.server.connect().code(**given, code=spare[0].upper().replace("-", " ")), "ok")
        self.assertEqual(self.server.connect().code(**given, code=spare[0]), "BAD_CODE")
        self.assertEqual(client.call(do="totp")["ok"], {"on": True, "left": 7})
        call = {"do": "totp", "state": "codes", "password": PASSWORD}
        self.assertEqual(client.code(**call), "CODE_NEEDED")
        self.assertEqual(client.code(**call, code="000000"), "BAD_CODE")
        fresh = client.call(**call, code=self.code(uri))["ok"]["codes"]
        self.assertEqual(self.server.connect().code(**given, code=spare[1]), "BAD_CODE")
        self.assertEqual(self.server.connect().code(**given, code=fresh[1]), "ok")

    def test_off(self) -> None:
        """With password and code; then the password alone is enough, and nothing of it is left in the database."""
        client, uri, _ = self.with_factor("alice")
        call = {"do": "totp", "state": "off"}
        self.assertEqual(client.code(**call, password="Wrong7horse", code=self.code(uri)), "BAD_LOGIN")
        self.assertEqual(client.code(**call, password=PASSWORD, code="000000"), "BAD_CODE")
        self.assertEqual(client.code(**call, password=PASSWORD, code=self.code(uri)), "ok")
        self.assertEqual(client.code(**call, password=PASSWORD), "FACTOR")
        self.assertEqual(self.server.sql("SELECT * FROM factor UNION SELECT *, 1 FROM recovery"), [])
        self.assertEqual(self.server.connect().code(do="login", name="alice", password=PASSWORD), "ok")

    def test_begun_and_not_ended(self) -> None:
        """A secret of which no code was typed asks nobody for one; the next try shows the same."""
        client = self.server.program("alice")
        call = {"do": "totp", "state": "on", "password": PASSWORD}
        first, second = (client.call(**call)["error"]["with"]["uri"] for _ in range(2))
        self.assertEqual(first, second)
        self.assertEqual(self.server.connect().code(do="login", name="alice", password=PASSWORD), "ok")

    def test_guessing(self) -> None:
        """A wrong code is counted like a wrong password, and the wait doubles: whoever has the password has some
        hundred tries a day at a million codes."""
        self.with_factor("alice")
        tries, waited = 0, 0.0
        while waited < DAY:
            answer = self.server.connect().call(do="login", name="alice", password=PASSWORD, code="000000")["error"]
            if answer["code"] == "BAD_CODE":
                tries += 1
            else:
                tries += 1
                waited += answer["with"]["wait"]
                self.server.advance(answer["with"]["wait"])
        self.assertLess(tries, 120)

    def test_irc(self) -> None:
        """SASL has no place for a code: it is refused in one sentence; without SASL, too."""
        self.with_factor("alice")
        blob = base64.b64encode(f"\0alice\0{PASSWORD}".encode()).decode()
        client = self.server.connect()
        client.send(
            f"CAP REQ sasl\r\nNICK alice\r\nUSER a 0 * a\r\nAUTHENTICATE PLAIN\r\nAUTHENTICATE {blob}\r\n".encode()
        )
        self.assertRegex(client.lines()[-1], " 904 alice :A code of your second factor is needed. IRC clients cannot")
        client = self.server.connect()
        client.send(f"PASS alice:{PASSWORD}\r\nNICK alice\r\nUSER a 0 * a\r\n".encode())
        self.assertTrue(any(" 464 " in line and "second factor" in line for line in client.lines()))

    def test_a_deleted_account(self) -> None:
        """It is deleted with a code only, and the secret goes with it."""
        client, uri, _ = self.with_factor("alice")
        call = {"do": "delete-account", "password": PASSWORD}
        self.assertEqual(client.code(**call), "CODE_NEEDED")
        self.assertEqual(client.code(**call, code="000000"), "BAD_CODE")
        self.assertEqual(client.code(**call, code=self.code(uri)), "ok")
        self.assertEqual(self.server.sql("SELECT * FROM factor UNION SELECT *, 1 FROM recovery"), [])


class InvitationTests(Base):
    """`accounts.registration = "invited"`."""

    def setUp(self) -> None:
        super().setUp()
        self.server.factory.reload(replace(self.server.instance.settings, registration="invited"))

    def invite(self, uses: int = 1, seconds: float = DAY) -> str:
        """A code, as chatctl makes it."""
        code = codes.new_code()
        until = self.server.now + int(seconds * 1000)
        self.server.db.write(lambda tx: tx.add_invitation(codes.hash_code(code), uses, until, "for bob"))
        self.server.advance(0)
        return code

    def register(self, name: str, code: str | None) -> str:
        """What comes of registering with this code."""
        given: dict[str, Any] = {} if code is None else {"code": code}
        return self.server.connect().code(do="register", name=name, password=PASSWORD, **given)

    def test_by_a_person(self) -> None:
        """The code is asked for first; a wrong one ends it; on one line it stands last."""
        code = self.invite(2)
        bob = self.server.connect()
        self.assertEqual(bob.type("r"), ["Invitation: "])
        self.assertEqual(bob.type("nonsense"), ["That invitation is used up, over, or mistyped.", DOOR])
        bob.type("r")
        self.assertEqual(bob.type(code.upper()), ["Username: "])
        for line in ("bob", PASSWORD):
            bob.type(line)
        self.assertEqual(bob.type(PASSWORD)[1], "Welcome, bob.")
        carol = self.server.connect()
        self.assertEqual(carol.type(f"/register carol {PASSWORD} {code}")[0], "Welcome, carol.")

    def test_counted(self) -> None:
        """As often as it says; a refused registration costs none."""
        code = self.invite(2)
        self.assertEqual(self.register("bob", None), "BY_INVITATION")
        self.assertEqual(self.register("bob", code), "ok")
        self.assertEqual(self.register("bob", code), "NAME_TAKEN")
        self.assertEqual(self.register("carol", code), "ok")
        self.assertEqual(self.register("dave", code), "BAD_INVITATION")

    def test_over(self) -> None:
        """It ends, too."""
        code = self.invite(2, seconds=60.0)
        self.server.advance(61.0)
        self.assertEqual(self.register("bob", code), "BAD_INVITATION")

    def test_two_at_once(self) -> None:
        """Of two who use the last one at once one is in, and the other is not."""
        code = self.invite()
        bob, carol = self.server.connect(), self.server.connect()
        self.server.passwords.hold()
        for client, name in ((bob, "bob"), (carol, "carol")):
            client.ask(id=1, do="register", name=name, password=PASSWORD, code=code)
        self.server.passwords.release()
        self.server.advance(0)
        outcomes = [client.objects()[0] for client in (bob, carol)]
        self.assertEqual(["ok" in outcome for outcome in outcomes], [True, False])
        self.assertEqual(outcomes[1]["error"]["code"], "BAD_INVITATION")

    def test_not_kept_as_it_is(self) -> None:
        """The database has the hash alone."""
        code = self.invite()
        self.assertNotIn(code.replace("-", ""), str(self.server.sql("SELECT * FROM invitation")))


class BackOffTests(Base):
    """Wrong passwords."""

    def wrong(self) -> dict[str, Any]:
        """A wrong one for bob, from an address of its own each time."""
        self.last = getattr(self, "last", 0) + 1
        client = self.server.connect(f"198.51.100.{self.last}")
        error: dict[str, Any] = client.call(do="login", name="bob", password="Wrong7horse")["error"]
        return error

    def test_doubled(self) -> None:
        """Each further miss doubles the wait, up to the most; so long after the last it is forgotten."""
        for left in (2, 1):
            self.assertEqual(self.wrong()["with"], {"left": left, "own": False})
        for wait in (40, 80, 160, 320, 640, 900, 900):
            error = self.wrong()
            self.assertEqual((error["code"], error["with"]), ("THROTTLED", {"wait": wait}))
            self.server.advance(wait)
        self.server.advance(900)
        self.assertEqual(self.wrong()["with"], {"left": 2, "own": False})

    def test_by_address(self) -> None:
        """An address may be wrong ten times as often, with whatever names; then its wait doubles, too."""
        client = self.server.connect(ABROAD)
        waits = []
        for number in range(31):
            error = client.call(do="login", name=f"nobody{number}", password="x")["error"]
            if error["code"] == "THROTTLED":
                waits.append(error["with"]["wait"])
                self.server.advance(error["with"]["wait"])
        self.assertEqual(waits, [40, 80])


class LoginTests(Base):
    """Standing logins."""

    def tidy(self) -> None:
        """What each instance does by the hour."""
        logins = [protocol.session.login for protocol in self.server.factory.connections if protocol.session.login]
        self.server.db.write(lambda tx: account.tidy_logins(tx, logins, 30))
        self.server.advance(0)

    def test_connected_for_long(self) -> None:
        """Whoever was connected for more than thirty days comes back by the token."""
        alice = self.server.program("alice")
        for _ in range(31):
            self.server.advance(DAY)
            alice.call(do="ping")
            self.tidy()
        alice.cut()
        self.assertEqual(self.server.connect().code(do="hello", token=alice.welcome["token"]), "ok")

    def test_not_used_for_long(self) -> None:
        """What nobody used for thirty days resumes nothing, and a day later is not kept either; nor are old counts."""
        alice = self.server.program("alice")
        self.server.connect().call(do="login", name="alice", password="Wrong7horse")
        alice.cut()
        self.server.advance(30 * DAY + 1)
        self.assertEqual(self.server.connect().code(do="hello", token=alice.welcome["token"]), "NOT_LOGGED_IN")
        self.assertEqual(self.server.sql("SELECT count(*) FROM login"), [(1,)])
        self.server.advance(DAY)
        self.tidy()
        self.assertEqual(
            self.server.sql("SELECT count(*) FROM login UNION ALL SELECT count(*) FROM throttle"), [(0,)] * 2
        )
