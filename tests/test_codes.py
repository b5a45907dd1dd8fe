"""Secrets that people copy by hand: the RFCs' vectors, and what is kept of a code."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from chatd.codes import DRIFT, STEP, hash_code, hotp, matching_step, new_code, new_secret, shown, uri

SECRET = b"12345678901234567890"


class VectorTests(SynchronousTestCase):
    """The RFCs' own examples."""

    def test_hotp(self) -> None:
        """RFC 4226, appendix D."""
        codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
        self.assertEqual([hotp(SECRET, counter) for counter in range(10)], codes)

    def test_totp(self) -> None:
        """RFC 6238, appendix B, for SHA-1 and eight digits."""
        for seconds, code in (
            (59, "94287082"),
            (1111111109, "07081804"),
            (1111111111, "14050471"),
            (1234567890, "89005924"),
            (2000000000, "69279037"),
            (20000000000, "65353130"),
        ):
            self.assertEqual(hotp(SECRET, seconds // STEP, 8), code)


class MatchingTests(SynchronousTestCase):
    """Which code is good now."""

    def test_drift(self) -> None:
        """The codes of the step before and behind are good, too; no others are."""
        now = 2_000_000_000
        step = now // STEP
        good = [
            offset
            for offset in range(-4, 5)
            if matching_step(SECRET, hotp(SECRET, step + offset), now * 1000, 0) == step + offset
        ]
        self.assertEqual(good, list(range(-DRIFT, DRIFT + 1)))

    def test_never_twice(self) -> None:
        """A code that was used is good no more, and none before it."""
        now = 2_000_000_000
        step = now // STEP
        self.assertIsNone(matching_step(SECRET, hotp(SECRET, step), now * 1000, step))
        self.assertIsNone(matching_step(SECRET, hotp(SECRET, step - 1), now * 1000, step))
        self.assertEqual(matching_step(SECRET, hotp(SECRET, step + 1), now * 1000, step), step + 1)

    def test_as_typed(self) -> None:
        """Authenticators show `123 456`; anything else is simply wrong."""
        code = hotp(SECRET, 0)
        self.assertEqual(matching_step(SECRET, f" {code[:3]} {code[3:]} ", 0, -1), 0)
        for typed in ("", "abc", "7552241", "٧٥٥٢٢٤", "\ud800"):
            self.assertIsNone(matching_step(SECRET, typed, 0, -1))


class CodeTests(SynchronousTestCase):
    """Codes that are handed out."""

    def test_as_typed(self) -> None:
        """However it is typed it is the same code; another is another."""
        code = new_code()
        self.assertRegex(code, r"^([a-z2-7]{4}-){3}[a-z2-7]{4}$")
        for typed in (code.upper(), code.replace("-", " "), f"  {code.replace('-', '')} "):
            self.assertEqual(hash_code(typed), hash_code(code))
        self.assertNotEqual(hash_code(new_code()), hash_code(code))

    def test_for_an_authenticator(self) -> None:
        """The secret is shown as an authenticator takes it, and never cut short."""
        self.assertEqual(shown(SECRET), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ")
        self.assertEqual(
            uri(SECRET, "chat.example.org", "a:b"),
            "otpauth://totp/chat.example.org:a%3Ab?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=chat.example.org",
        )
        self.assertTrue(re.fullmatch(r"[A-Z2-7 ]{39}", shown(new_secret())))
