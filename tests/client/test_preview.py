"""Previews of pictures: what each kind of terminal is sent, and what hostile pictures come to.

The golden files in tests/client/golden hold what is sent for one small picture, byte for byte, but for packed pixels,
which are unpacked first (packers differ). `python -m tests.client.test_preview` writes them anew.
"""

from __future__ import annotations

import io
import json
import os
import pty
import random
import re
import struct
import sys
import tempfile
import threading
import tty
import zlib
from base64 import b64decode
from pathlib import Path
from typing import IO

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from client.files import ability, drawing
from client.files import preview as previews
from client.files.ability import Look, Way
from client.files.preview import Preview, Undrawable, preview

GOLDEN = Path(__file__).parent / "golden"
LOOKS = {
    "kitty": Look(Way.KITTY, 40, 12),
    "iterm2": Look(Way.ITERM2, 40, 12),
    "sixel": Look(Way.SIXEL, 40, 12),
    "blocks-true": Look(Way.BLOCKS, 40, 12, true_colour=True),
    "blocks-256": Look(Way.BLOCKS, 40, 12),
    "words": Look(Way.WORDS, 40, 12),
}


def small() -> Image.Image:
    """Ten by nine pixels: red grows to the right, green downwards, a blue cross; nine rows end in half a character."""
    picture = Image.new("RGB", (10, 9))
    for x in range(10):
        for y in range(9):
            picture.putpixel((x, y), (x * 28, y * 31, 255 if x == 4 or y == 4 else 0))
    return picture


def readable(rows: list[str]) -> str:
    """Rows with their escapes written out, and pictures in them as the colours of their pixels."""

    def pixels(match: re.Match[str]) -> str:
        held = Image.open(io.BytesIO(b64decode(match[0])))
        return f"<{held.size[0]}x{held.size[1]} {held.convert('RGB').tobytes().hex()}>"

    def size(match: re.Match[str]) -> str:
        return "size=<of the file>;"

    shown = "\n".join(json.dumps(re.sub(r"size=\d+;", size, row), ensure_ascii=False)[1:-1] for row in rows)
    return re.sub(r"iVBOR[A-Za-z0-9+/=]+", pixels, shown) + "\n"


def of(data: bytes) -> IO[bytes]:
    """An open file with this in it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.seek(0)
    return file


def as_file(picture: Image.Image, form: str = "PNG", **how: object) -> bytes:
    """A picture as a file."""
    made = io.BytesIO()
    picture.save(made, form, **how)
    return made.getvalue()


def png(width: int, height: int, rows: bytes, kind: int = 2) -> bytes:
    """A PNG that says it has this size, with these packed rows."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Renderers(SynchronousTestCase):
    """client/files/drawing.py against its golden files."""

    def test_golden(self) -> None:
        """Each renderer sends exactly what its golden file holds."""
        for name, look in LOOKS.items():
            golden = (GOLDEN / f"{name}.txt").read_text("utf-8")
            self.assertEqual(readable(drawing.draw(small(), look)), golden, name)

    def test_through_the_process(self) -> None:
        """The process in which pictures are decoded sends the same, and says what the picture is."""
        for name, look in LOOKS.items():
            with of(as_file(small())) as file:
                made = preview(file, look)
            self.assertEqual((made.width, made.height, made.format), (10, 9, "PNG"))
            self.assertEqual(readable(list(made.rows)), (GOLDEN / f"{name}.txt").read_text("utf-8"), name)

    def test_kitty_in_pieces(self) -> None:
        """A large picture goes in pieces of 4,096 characters, all but the last marked so."""
        noise = Image.frombytes("RGB", (100, 100), random.Random(1).randbytes(30_000))
        (row,) = drawing.draw(noise, LOOKS["kitty"])
        pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", row)
        self.assertGreater(len(pieces), 5)
        self.assertEqual("".join(f"\x1b_G{head};{data}\x1b\\" for head, data in pieces), row)
        self.assertTrue(all(len(data) == 4096 and head.endswith("m=1") for head, data in pieces[:-1]))
        self.assertTrue(pieces[-1][0].endswith("m=0"))
        held = Image.open(io.BytesIO(b64decode("".join(data for _, data in pieces))))
        self.assertEqual(held.tobytes(), noise.tobytes())

    def test_sixels_can_be_read_back(self) -> None:
        """The sixels of a picture of few colours say each pixel's colour."""
        picture = small().quantize(8).convert("RGB")
        (row,) = drawing.draw(picture, LOOKS["sixel"])
        for x in range(10):
            for y in range(9):
                wanted = tuple(round(part * 100 / 255) for part in picture.getpixel((x, y)))  # type: ignore[union-attr]
                self.assertEqual(unsixel(row)[x, y], wanted)

    @given(st.integers(1, 70_000), st.integers(1, 70_000), st.integers(1, 200), st.integers(1, 60))
    def test_it_fits(self, width: int, height: int, columns: int, rows: int) -> None:
        """Of any shape, it is never enlarged, and fits into its columns and rows."""
        for way in (Way.BLOCKS, Way.SIXEL):
            wide, high = drawing.fitting(width, height, Look(way, columns, rows))
            self.assertLessEqual((wide, high), (max(1, width), max(1, height)))
            taken = (wide, -(-high // 2)) if way is Way.BLOCKS else drawing.cells(wide, high)
            self.assertTrue(1 <= taken[0] <= columns and 1 <= taken[1] <= rows)

    @given(st.tuples(*[st.integers(0, 255)] * 3))
    def test_256_colours(self, colour: tuple[int, int, int]) -> None:
        """The colour taken is one of the cube or of the greys, and none of these is much nearer."""
        cube = [0, 95, 135, 175, 215, 255]
        table = {
            16 + 36 * r + 6 * g + b: (cube[r], cube[g], cube[b]) for r in range(6) for g in range(6) for b in range(6)
        }
        table |= {232 + n: (8 + 10 * n,) * 3 for n in range(24)}

        def off(number: int) -> int:
            return sum((one - other) ** 2 for one, other in zip(table[number], colour, strict=True))

        self.assertEqual(off(drawing.nearest(*colour)), min(map(off, table)))


def unsixel(data: str) -> dict[tuple[int, int], tuple[int, int, int]]:
    """A reader of sixels: the colour of each pixel."""
    body = data.removeprefix("\x1bP0;1;0q").removesuffix("\x1b\\")
    colours: dict[str, tuple[int, int, int]] = {}
    found = {}
    x = top = 0
    colour = ""
    for word in re.finditer(r'"[\d;]+|#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([?-~])|(\$)|(-)', body):
        if word[1]:
            colours[word[1]] = (int(word[2]), int(word[3]), int(word[4]))
        elif word[5]:
            colour = word[5]
        elif word[9]:
            x = 0
        elif word[10]:
            x, top = 0, top + 6
        elif word[6] or word[8]:
            bits = ord(word[7] or word[8]) - 63
            run = range(x, x + int(word[6] or 1))
            found |= {(at, top + bit): colours[colour] for at in run for bit in range(6) if bits >> bit & 1}
            x = run.stop
    return found


class Hostile(SynchronousTestCase):
    """Pictures that are none."""

    def refused(self, data: bytes) -> str:
        with of(data) as file:
            return str(self.assertRaises(Undrawable, preview, file, LOOKS["blocks-true"]))

    def test_bombs(self) -> None:
        """A small file of 900 million pixels is refused before one is decoded; so is a large WebP or GIF."""
        packed = zlib.compress(bytes(10_000_000), 9)
        self.assertEqual(self.refused(png(30_000, 30_000, packed)), "900 million pixels")
        gif = bytearray(as_file(small(), "GIF"))
        gif[6:10] = struct.pack("<HH", 65_535, 65_535)
        self.assertEqual(self.refused(bytes(gif)), "4,295 million pixels")

    def test_memory_and_time_are_bounded(self) -> None:
        """What gets past the count meets the process's bounds, and that is a refusal, too."""
        large = as_file(Image.new("RGBA", (5_000, 5_000)), compress_level=1)
        self.patch(previews, "MEMORY", 768 * 1024 * 1024)
        program = "import client.files.preview as p, sys; p.{0}; sys.argv[1:] and p.main(sys.argv[1:])"
        for bound, why in (("MEMORY = 150 * 1024 * 1024", "too large"), ("PROCESSOR = 0", "broken")):
            self.patch(previews, "MODULE", ("-c", program.format(bound)))
            self.assertEqual(self.refused(large), why)

    def test_a_process_that_hangs(self) -> None:
        """It is ended after its time."""
        self.patch(previews, "MODULE", ("-c", "import signal; signal.pause()"))
        self.patch(previews, "PATIENCE", 0.2)
        self.assertEqual(self.refused(b""), "it takes too long")

    def test_broken(self) -> None:
        """Cut short at any place, or with bytes changed, it is a refusal or a picture, and never anything else."""
        good = as_file(small().resize((64, 64)))
        luck = random.Random(7)
        for _ in range(6):
            bad = bytearray(good[: luck.randrange(len(good))])
            for _ in range(luck.randrange(5)):
                bad[luck.randrange(len(bad))] = luck.randrange(256)
            with of(bytes(bad)) as file:
                try:
                    self.assertIsInstance(preview(file, LOOKS["blocks-256"]), Preview)
                except Undrawable as error:
                    self.assertIn(str(error), ("broken", "no picture that can be drawn"))

    def test_no_picture(self) -> None:
        """Text, nothing, and formats that are not drawn (EPS would start a program)."""
        eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
        for data in (b"hello", b"", eps, as_file(small(), "TIFF"), as_file(small(), "PPM")):
            self.assertEqual(self.refused(data), "no picture that can be drawn")

    def test_large_photographs_are_drawn(self) -> None:
        """A JPEG of 108 million pixels is decoded small."""
        with of(as_file(Image.new("L", (12_000, 9_000)), "JPEG", quality=10)) as file:
            made = preview(file, LOOKS["blocks-256"])
        self.assertEqual((made.width, made.height, len(made.rows)), (12_000, 9_000, 12))

    def test_turned_and_transparent(self) -> None:
        """A photograph that says it lies on its side is turned; what is transparent is white."""
        exif = Image.Exif()
        exif[0x0112] = 6
        with of(as_file(Image.new("RGB", (8, 4), "red"), "JPEG", exif=exif)) as file:
            self.assertEqual(len(preview(file, LOOKS["blocks-true"]).rows), 4)
        with of(as_file(Image.new("RGBA", (1, 2), (255, 0, 0, 0)))) as file:
            rows = preview(file, LOOKS["blocks-true"]).rows
        self.assertEqual(rows, ("\x1b[38;2;255;255;255;48;2;255;255;255m▀\x1b[0m",))

    def test_the_original_is_not_touched(self) -> None:
        """The file is read, and that is all."""
        path = Path(self.mktemp())
        path.write_bytes(as_file(small()))
        path.chmod(0o400)
        before = path.read_bytes(), path.stat().st_mtime_ns
        with path.open("rb") as file:
            preview(file, LOOKS["sixel"])
        self.assertEqual((path.read_bytes(), path.stat().st_mtime_ns), before)


class Abilities(SynchronousTestCase):
    """client/files/ability.py."""

    def test_by_environment(self) -> None:
        """Terminals that say who they are; those behind tmux or screen are asked, whoever stands behind."""
        for environment, way in (
            ({"TERM": "xterm-kitty"}, Way.KITTY),
            ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Way.KITTY),
            ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Way.ITERM2),
            ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Way.ITERM2),
            ({"TERM": "foot"}, Way.SIXEL),
            ({"TERM": "linux"}, Way.BLOCKS),
            ({"TERM": "dumb"}, Way.WORDS),
            ({}, Way.WORDS),
            ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, Way.WORDS),
            ({"TERM": "xterm-256color"}, None),
            ({"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1", "TMUX": "x"}, None),
            ({"TERM": "screen", "TERM_PROGRAM": "iTerm.app", "STY": "x"}, None),
            ({"TERM": "dumb", "CHAT_PICTURES": "sixel"}, Way.SIXEL),
            ({"TERM": "dumb", "CHAT_PICTURES": "nonsense"}, Way.WORDS),
        ):
            self.assertIs(ability.by_environment(environment), way, environment)
        self.assertTrue(ability.true_colour({"COLORTERM": "truecolor"}))
        self.assertFalse(ability.true_colour({"TERM": "xterm-256color"}))

    def test_by_answer(self) -> None:
        """kitty's OK, the 4 of sixel among the attributes (not as the first, which is a class), or neither."""
        for answer, way in (
            (b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", Way.KITTY),
            (b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1b[?62;4;22c", Way.SIXEL),
            (b"\x1b[?62;4;22c", Way.SIXEL),
            (b"\x1b[?4;6c", Way.BLOCKS),
            (b"\x1b[?1;2c", Way.BLOCKS),
            (b"", Way.BLOCKS),
        ):
            self.assertIs(ability.by_answer(answer), way, answer)

    def asked(self, answer: bytes) -> tuple[Way, bytes]:
        """A terminal that answers so."""
        outside, inside = pty.openpty()
        self.addCleanup(os.close, outside)
        self.addCleanup(os.close, inside)
        tty.setraw(inside)

        def terminal() -> None:
            heard = b""
            while not heard.endswith(b"\x1b[c"):
                heard += os.read(outside, 100)
            os.write(outside, answer)

        thread = threading.Thread(target=terminal)
        thread.start()
        result = ability.ask(inside, inside)
        thread.join()
        return result

    def test_asking(self) -> None:
        """What was typed while it was asked is kept, wherever it stood; silence means blocks."""
        self.assertEqual(self.asked(b"he\x1b_Gi=31;OK\x1b\\llo\x1b[?62;c"), (Way.KITTY, b"hello"))
        self.assertEqual(self.asked(b"\x1b[?62;4cx"), (Way.SIXEL, b"x"))
        self.patch(ability, "PATIENCE", 0.05)
        self.assertEqual(self.asked(b"typed"), (Way.BLOCKS, b"typed"))


if __name__ == "__main__":
    for name_, look_ in LOOKS.items():
        (GOLDEN / f"{name_}.txt").write_text(readable(drawing.draw(small(), look_)), "utf-8")
    sys.exit()
