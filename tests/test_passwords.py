"""Passwords: what the policy refuses, and how they are kept."""

from __future__ import annotations

import hashlib
import unicodedata
from importlib import resources
from unittest.mock import patch

import bcrypt
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd import passwords
from chatd.passwords import Policy, needs_rehash, unmet, verify

COST = 4
anything = st.one_of(st.text(), st.text(st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)))


class ThePolicy(SynchronousTestCase):
    def test_good(self) -> None:
        """Eight characters with a capital and a number will do."""
        for password in ("Correct7horse", "xK9wLmqp", "Grüße42Länder", "Tr0ub4dor&3"):
            self.assertEqual(unmet(Policy(), password, "alice"), ())

    def test_each_part(self) -> None:
        """Only what is missing is named, in the order of the prompt."""
        for password, missing in (
            ("xK9wLmq", ("length",)),
            ("xk9wlmqp", ("capital",)),
            ("xKvwLmqp", ("number",)),
            ("xkvwlmqp", ("capital", "number")),
            ("", ("length", "capital", "number")),
        ):
            self.assertEqual(unmet(Policy(), password, "alice"), missing)

    def test_characters_count(self) -> None:
        """The length is in characters, however they were composed and however many bytes they take."""
        self.assertEqual(unmet(Policy(), "A1" + "é" * 6, "alice"), ())
        self.assertEqual(unmet(Policy(), "A1" + "e\u0301" * 5, "alice"), ("length",))

    def test_configured(self) -> None:
        """Every part can be set: with all of them off, anything but the name will do."""
        lax = Policy(length=0, capital=False, number=False, common=False)
        self.assertEqual(unmet(lax, "password", "alice"), ())
        self.assertEqual(unmet(lax, "", "alice"), ())
        self.assertEqual(unmet(lax, "alice", "alice"), ("name",))
        self.assertEqual(unmet(Policy(length=20), "Correct7horse", "alice"), ("length",))

    def test_name(self) -> None:
        """The account's own name is no password for it, in no case and no width; for somebody else it may be."""
        for password in ("wolf-gang77", "Wolf-Gang77", "\uff37olf-Gang77"):
            self.assertIn("name", unmet(Policy(), password, "wolf-gang77"))
        self.assertEqual(unmet(Policy(), "Wolf-Gang77", "alice"), ())

    def test_common(self) -> None:
        """A common password is refused in any case, and with the endings people put on to please a policy."""
        for password in (
            "Password1", "PASSWORD1", "Qwerty123", "P@ssw0rd", "Password123!", "Summer2024", "Summer2024!", "Welcome1",
            "Dragon_007", "Admin@123", "Letmein99", "Iloveyou2", "Monkey12345", "Abcd1234", "Passw0rd!", "1Qaz2wsx",
            "Football1111", "\uff30assword1",
        ):  # fmt: skip
            self.assertEqual(unmet(Policy(), password, "alice"), ("common",), password)

    def test_common_is_exact(self) -> None:
        """A common word as a part of something else is no reason to refuse: there is no score."""
        for password in ("Password1isnotmine", "MyDragon4Tea", "Summer8391x", "xPassword1", "Qwerty5uits"):
            self.assertEqual(unmet(Policy(), password, "alice"), ())

    def test_list(self) -> None:
        """The list is some hundreds of entries, one on a line, sorted, each once and folded as it is compared."""
        common = passwords._common()
        text = (resources.files("chatd") / "common_passwords.txt").read_text("ascii")
        self.assertGreater(len(common), 500)
        self.assertEqual(text, "".join(f"{entry}\n" for entry in sorted(common)))
        self.assertEqual(common, {passwords._folded(entry) for entry in common})

    def test_read_once(self) -> None:
        """The list is read at the first question and not again."""
        self.assertIs(passwords._common(), passwords._common())

    @given(anything, anything)
    def test_any_string(self, password: str, name: str) -> None:
        """Whatever is typed, the answer is a choice of the five keys."""
        self.assertTrue({"length", "capital", "number", "name", "common"}.issuperset(unmet(Policy(), password, name)))


class Kept(SynchronousTestCase):
    def test_right_and_wrong(self) -> None:
        """What was set is right, anything else is wrong, case included."""
        hashed = passwords.hash("Correct7horse", COST)
        self.assertTrue(verify("Correct7horse", hashed, COST))
        for wrong in ("correct7horse", "Correct7horse ", "Correct7hors", ""):
            self.assertFalse(verify(wrong, hashed, COST))

    def test_salted(self) -> None:
        """The same password is kept differently each time, and nowhere in the clear."""
        one, other = passwords.hash("Correct7horse", COST), passwords.hash("Correct7horse", COST)
        self.assertNotEqual(one, other)
        self.assertNotIn(b"Correct7horse", one)

    def test_past_72_bytes(self) -> None:
        """All of a long password counts, where bcrypt alone looks at 72 bytes."""
        hashed = passwords.hash("x" * 100 + "1", COST)
        self.assertTrue(verify("x" * 100 + "1", hashed, COST))
        self.assertFalse(verify("x" * 100 + "2", hashed, COST))
        self.assertTrue(verify("ü" * 100_000, passwords.hash("ü" * 100_000, COST), COST))

    def test_nul(self) -> None:
        """A NUL ends nothing."""
        hashed = passwords.hash("abc\0def", COST)
        self.assertTrue(verify("abc\0def", hashed, COST))
        self.assertFalse(verify("abc\0xyz", hashed, COST))
        self.assertFalse(verify("abc", hashed, COST))

    def test_keyboards(self) -> None:
        """Composed or decomposed, ordinary or no-break space: the same password from every keyboard. Width counts."""
        hashed = passwords.hash("Caf\u00e9 no\u00ebl1", COST)
        self.assertTrue(verify("Cafe\u0301\u00a0noe\u0308l1", hashed, COST))
        self.assertFalse(verify("\uff23af\u00e9 no\u00ebl1", hashed, COST))

    @settings(max_examples=30)
    @given(anything)
    def test_any_string(self, password: str) -> None:
        """Any string can be a password, also what PRECIS refuses: control characters, unassigned, lone surrogates."""
        hashed = passwords.hash(password, COST)
        self.assertTrue(verify(password, hashed, COST))
        self.assertTrue(verify(unicodedata.normalize("NFD", password), hashed, COST))
        self.assertFalse(verify(password + "x", hashed, COST))

    def test_own_digest(self) -> None:
        """A hash of the bare password, or of its plain digest, is not ours: leaked ones cannot be tried against it."""
        plain = b"Correct7horse"
        for secret in (plain, hashlib.sha256(plain).digest().hex().encode(), hashlib.blake2b(plain).digest()[:48]):
            leaked = bcrypt.hashpw(secret, bcrypt.gensalt(COST))
            self.assertFalse(verify("Correct7horse", leaked, COST))

    def test_nobody(self) -> None:
        """For an account that does not exist, or whose hash is damaged, no password is right and nothing is raised."""
        good = passwords.hash("Correct7horse", COST)
        damaged = (b"", b"!", good[:-1], good + b"\n", good.replace(b"$04$", b"$99$"), b"$2b$04$" + b"z" * 53)
        for hashed in (None, *damaged):
            self.assertFalse(verify("Correct7horse", hashed, COST))

    def test_same_work(self) -> None:
        """Right, wrong, nobody, damaged or kept at a lower cost: always the rounds of the configured cost."""
        work: list[int] = []

        def counted(secret: bytes, hashed: bytes) -> bytes:
            work.append(2 ** int(hashed[4:6]))
            return bcrypt.hashpw(secret, hashed)

        with patch.object(passwords, "_hashpw", counted):
            for hashed in (
                None,
                b"damaged",
                passwords.hash("right", 7),
                passwords.hash("right", 6),
                passwords.hash("right", 4),
            ):
                for password in ("right", "wrong"):
                    work.clear()
                    verify(password, hashed, 7)
                    self.assertEqual(sum(work), 2**7)

    def test_stand_in_is_nobodys(self) -> None:
        """The stand-in lets nobody in, even by a password it would match."""
        with patch.object(passwords, "_hashpw", lambda secret, hashed: hashed):
            self.assertFalse(verify("anything", None, COST))

    def test_rehash(self) -> None:
        """A hash is made anew when the configured cost has risen, not when it is the same or has fallen."""
        hashed = passwords.hash("Correct7horse", 5)
        self.assertTrue(needs_rehash(hashed, 6))
        self.assertFalse(needs_rehash(hashed, 5))
        self.assertFalse(needs_rehash(hashed, 4))
        self.assertTrue(needs_rehash(b"damaged", 4))

    def test_never_quoted(self) -> None:
        """What goes wrong is told without the password."""
        secret = "S3cret\ud800horse"
        for call in (lambda: passwords.hash(secret, 99), lambda: verify(secret, None, 99)):
            error = self.assertRaises(ValueError, call)
            self.assertNotIn("S3cret", repr(error) + repr(error.__context__))
