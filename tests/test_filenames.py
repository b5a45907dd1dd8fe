"""Names of files: whatever somebody sends, what is kept is one harmless part of a path."""

from __future__ import annotations

import os
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chatd.filenames import LONGEST, saved_as

nasty = st.text(st.sampled_from('ab./\\:*?"<>|~-_ \n\0\x1b\u202e\ud800é🚀'), max_size=40)
devices = st.sampled_from(["con", "PRN.txt", "aux.", "NUL", "com1.png", "lpt9", "COM¹", "CONIN$", "/dev/null"])
anything = st.one_of(st.text(max_size=400), nasty, devices, st.text(min_size=250, max_size=600))


class Names(SynchronousTestCase):
    """`saved_as`."""

    def test_ordinary_names_stay(self) -> None:
        """What is harmless keeps its name, with letters of any language and spaces."""
        for name in ("report.pdf", "Überblick 2026 (final).ods", "写真.png", "a.tar.gz", "Makefile", "x~", "1"):
            self.assertEqual(saved_as(name), name)

    def test_what_is_taken_away(self) -> None:
        """Paths, hidden dots, devices, control characters, turned text and options do not come through."""
        for sent, kept in (
            ("../../etc/passwd", "passwd"),
            ("/etc/shadow", "shadow"),
            ("C:\\Windows\\system32\\evil.dll", "evil.dll"),
            ("..", "file"),
            ("", "file"),
            ("...", "file"),
            ("a/", "a"),
            (".bashrc", "bashrc"),
            ("-rf", "_rf"),
            ("nul.txt", "_nul.txt"),
            ("x\u202egnp.exe", "x_gnp.exe"),
            ("a\x1b[2Jb", "a_[2Jb"),
            ("what?.png", "what_.png"),
            ("dot. . ", "dot"),
            ("\ud800\udfff.png", "__.png"),
        ):
            self.assertEqual(saved_as(sent), kept, ascii(sent))

    def test_long_names_keep_their_suffix(self) -> None:
        """A name of 300 characters is cut before its suffix, between letters."""
        self.assertEqual(saved_as("x" * 300 + ".png"), "x" * (LONGEST - 4) + ".png")
        self.assertEqual(saved_as("é" * 300), "é" * (LONGEST // 2))
        self.assertEqual(saved_as("a." + "y" * 300), ("a." + "y" * 300)[:LONGEST])

    def test_numbers(self) -> None:
        """The next of a name has its number before the suffix."""
        self.assertEqual([saved_as("cat.png", n) for n in range(3)], ["cat.png", "cat (1).png", "cat (2).png"])
        self.assertEqual(saved_as("README", 1), "README (1)")

    @given(anything, st.integers(0, 9_999))
    def test_any_name(self, name: str, number: int) -> None:
        """Whatever is sent: one part, not hidden, no option, short, printable, and the same when it is kept again."""
        kept = saved_as(name, number)
        self.assertEqual(os.path.basename(kept), kept)
        self.assertNotIn(kept, ("", ".", ".."))
        self.assertFalse(kept[0] in ".- " or kept[-1] in ". ", ascii(kept))
        self.assertLess(len(kept.encode()), 200)
        for letter in kept:
            self.assertNotIn(letter, '/\\<>:"|?*')
            self.assertNotIn(unicodedata.category(letter), ("Cc", "Cf", "Cs", "Zl", "Zp"))
        self.assertEqual(saved_as(saved_as(name)), saved_as(name))

    @given(anything, st.lists(st.integers(0, 9_999), unique=True, min_size=2, max_size=5))
    def test_numbers_tell_names_apart(self, name: str, numbers: list[int]) -> None:
        """Two numbers never give one name."""
        self.assertEqual(len({saved_as(name, number) for number in numbers}), len(numbers))

    @given(devices)
    def test_no_device(self, name: str) -> None:
        """What another system takes for a device gets a name of its own, but for a path's last part."""
        kept = saved_as(name)
        self.assertTrue(kept == "null" or kept.startswith("_"), kept)
