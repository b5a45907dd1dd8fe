"""A small picture as what a terminal draws: kitty's protocol, iTerm2's, sixel, or half blocks.

The rule: pure; a picture of the right size comes in, rows of a terminal go out. Rows hold escape sequences and are
written as they are, so they are made here from numbers alone and never from somebody's text.
"""

from __future__ import annotations

import re
from base64 import b64encode
from io import BytesIO
from typing import TYPE_CHECKING, Final

from client.files.ability import Look, Way

if TYPE_CHECKING:
    from PIL.Image import Image

CELL: Final = (10, 20)
"""Pixels of a character cell, where the terminal does not scale by itself (sixel)."""
PIECE: Final = 4096
"""Bytes of base64 in one of kitty's sequences."""
PALETTE: Final = 64
"""Colours of a sixel picture."""
_CUBE: Final = (0, 95, 135, 175, 215, 255)


def fitting(width: int, height: int, look: Look) -> tuple[int, int]:
    """To how many pixels a picture is to be reduced. It is never enlarged.

    >>> fitting(4000, 3000, Look(Way.BLOCKS, 40, 12)), fitting(4000, 3000, Look(Way.SIXEL, 40, 12))
    ((32, 24), (320, 240))
    """
    unit = (1, 2) if look.way is Way.BLOCKS else CELL
    most = (max(1, look.columns) * unit[0], max(1, look.rows) * unit[1])
    scale = min(most[0] / width, most[1] / height, 1.0)
    return max(1, round(width * scale)), max(1, round(height * scale))


def cells(width: int, height: int) -> tuple[int, int]:
    """How many columns and rows so many pixels take."""
    return max(1, -(-width // CELL[0])), max(1, -(-height // CELL[1]))


def draw(picture: Image, look: Look) -> list[str]:
    """The rows that show an RGB picture which fits already."""
    match look.way:
        case Way.KITTY:
            return [_kitty(picture)]
        case Way.ITERM2:
            return [_iterm2(picture)]
        case Way.SIXEL:
            return [_sixel(picture)]
        case Way.BLOCKS:
            return _blocks(picture, true_colour=look.true_colour)
        case Way.WORDS:
            return []


def _png(picture: Image) -> bytes:
    made = BytesIO()
    picture.save(made, "PNG")
    return made.getvalue()


def _kitty(picture: Image) -> str:
    """Transmit and show at once (a=T) a PNG (f=100), in pieces; no answer wanted (q=2), it would look typed."""
    columns, rows = cells(*picture.size)
    data = b64encode(_png(picture)).decode()
    pieces = [data[at : at + PIECE] for at in range(0, len(data), PIECE)]
    made = []
    for number, piece in enumerate(pieces):
        more = int(number < len(pieces) - 1)
        head = f"a=T,f=100,q=2,c={columns},r={rows},m={more}" if number == 0 else f"q=2,m={more}"
        made.append(f"\x1b_G{head};{piece}\x1b\\")
    return "".join(made)


def _iterm2(picture: Image) -> str:
    columns, rows = cells(*picture.size)
    data = _png(picture)
    head = f"inline=1;size={len(data)};width={columns};height={rows};preserveAspectRatio=1"
    return f"\x1b]1337;File={head}:{b64encode(data).decode()}\x07"


def _sixel(picture: Image) -> str:
    """Bands of six rows: for each colour in the band one line of characters, each six pixels high, runs shortened."""
    few = picture.quantize(PALETTE)
    width, height = few.size
    palette = few.getpalette() or []
    pixels = few.tobytes()
    made = [f'\x1bP0;1;0q"1;1;{width};{height}']
    for colour in sorted(set(pixels)):
        red, green, blue = (round(part * 100 / 255) for part in palette[3 * colour : 3 * colour + 3])
        made.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, height, 6):
        lines: dict[int, bytearray] = {}
        for bit in range(min(6, height - top)):
            start = (top + bit) * width
            for at, colour in enumerate(pixels[start : start + width]):
                line = lines.get(colour)
                if line is None:
                    line = lines[colour] = bytearray(width)
                line[at] |= 1 << bit
        made.append("$".join(f"#{colour}{_runs(lines[colour])}" for colour in sorted(lines)) + "-")
    return "".join(made)[:-1] + "\x1b\\"


def _runs(line: bytearray) -> str:
    """
    >>> _runs(bytearray([1, 1, 1, 1, 1, 0, 0, 0, 0]))
    '!5@'
    """
    text = bytes(line).rstrip(b"\0").translate(_SIXELS).decode()
    return re.sub(r"(.)\1{3,}", lambda run: f"!{len(run[0])}{run[1]}", text)


_SIXELS: Final = bytes(min(63 + number, 255) for number in range(256))


def _blocks(picture: Image, *, true_colour: bool) -> list[str]:
    """Each character is two pixels: `▀` in the colour of the upper, on the colour of the lower one."""
    width, height = picture.size
    pixels = picture.tobytes()

    def colour(x: int, y: int) -> str:
        red, green, blue = pixels[3 * (y * width + x) : 3 * (y * width + x) + 3]
        return f"2;{red};{green};{blue}" if true_colour else f"5;{nearest(red, green, blue)}"

    made = []
    for top in range(0, height, 2):
        row, before = [], ("", "")
        for x in range(width):
            now = (f"38;{colour(x, top)}", f"48;{colour(x, top + 1)}" if top + 1 < height else "49")
            changed = ";".join(new for new, old in zip(now, before, strict=True) if new != old)
            row.append(f"\x1b[{changed}m▀" if changed else "▀")
            before = now
        made.append("".join(row) + "\x1b[0m")
    return made


def nearest(red: int, green: int, blue: int) -> int:
    """The nearest of the 256 colours: of the cube, or of the greys.

    >>> nearest(255, 255, 255), nearest(0, 0, 0), nearest(128, 128, 128), nearest(250, 10, 10)
    (231, 16, 244, 196)
    """
    steps = [min(range(6), key=lambda n, part=part: abs(_CUBE[n] - part)) for part in (red, green, blue)]  # type: ignore[misc]
    grey = min(23, max(0, round(((red + green + blue) / 3 - 8) / 10)))
    cube_off = sum((_CUBE[step] - part) ** 2 for step, part in zip(steps, (red, green, blue), strict=True))
    grey_off = sum((8 + 10 * grey - part) ** 2 for part in (red, green, blue))
    return 232 + grey if grey_off < cube_off else 16 + 36 * steps[0] + 6 * steps[1] + steps[2]
