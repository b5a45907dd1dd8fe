"""A preview of a picture that somebody sent, made by Pillow in a process of its own.

The rule: what comes from others is decoded where it can do no harm. The process gets the open file and nothing else,
has bounds on memory, time and files, knows the five formats people send, looks at how many pixels there are before it
decodes one, and ends. Whatever goes wrong in it is one sentence here. The original is only read.

    python -I -m client.files.preview WAY COLUMNS ROWS TRUE_COLOUR        picture on stdin, JSON on stdout
"""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

from orjson import JSONDecodeError, dumps, loads

from client.files.ability import Look, Way

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP")
PIXELS: Final = 40_000_000
"""More than this are not decoded; a JPEG is decoded smaller where it can be, and counts as it is decoded."""
MEMORY: Final = 512 * 1024 * 1024
"""Bytes of address space: 40 million pixels with transparency take two thirds of it."""
PROCESSOR: Final = 5
PATIENCE: Final = 10.0
"""Seconds of processor time, and until the process is ended."""
MODULE: Final = ("-m", "client.files.preview")
ANSWER: Final = 8 * 1024 * 1024


class Undrawable(Exception):
    """There is no preview. Why stands in it, in a word or two."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture's own size in pixels, its format, and the rows that show it."""

    width: int
    height: int
    format: str
    rows: tuple[str, ...]


def preview(file: IO[bytes], look: Look) -> Preview:
    """Have the picture in this file drawn. It takes up to PATIENCE seconds, so it is for a thread.

    @raise Undrawable: broken, too large, no picture, or of a format that is not drawn.
    """
    words = [look.way, str(look.columns), str(look.rows), str(int(look.true_colour))]
    try:
        done = subprocess.run(
            [sys.executable, "-I", *MODULE, *words],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
            close_fds=True,
        )
        answer: dict[str, Any] = loads(done.stdout[:ANSWER]) if done.returncode == 0 else {"error": "broken"}
    except subprocess.TimeoutExpired:
        raise Undrawable("it takes too long") from None
    except (OSError, JSONDecodeError):
        raise Undrawable("broken") from None
    if "error" in answer:
        raise Undrawable(answer["error"])
    return Preview(answer["width"], answer["height"], answer["format"], tuple(answer["rows"]))


def main(words: list[str]) -> None:
    """What the process does."""
    _confine()
    look = Look(Way(words[0]), int(words[1]), int(words[2]), words[3] == "1")
    try:
        answer = _made(sys.stdin.buffer, look)
    except Undrawable as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "too large"}
    except Exception:  # whatever a broken picture makes of a decoder
        answer = {"error": "broken"}
    sys.stdout.buffer.write(dumps(answer))


def _confine() -> None:
    """Bounds from here on: memory, processor time, no large file, no core, no child."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, PROCESSOR),
        (resource.RLIMIT_FSIZE, ANSWER),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))


def _made(file: IO[bytes], look: Look) -> dict[str, object]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    from client.files import drawing

    Image.MAX_IMAGE_PIXELS = None  # counted below, once it is known how small it can be decoded
    try:
        picture: Image.Image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise Undrawable("no picture that can be drawn") from None
    width, height = picture.size
    found: dict[str, object] = {"width": width, "height": height, "format": picture.format, "rows": []}
    if width < 1 or height < 1:
        raise Undrawable("broken")
    size = drawing.fitting(width, height, look)
    picture.draft("RGB", size)
    if picture.size[0] * picture.size[1] > PIXELS:
        raise Undrawable(f"{width * height / 1e6:,.0f} million pixels")
    if look.way is Way.WORDS:
        return found
    picture.thumbnail((max(size), max(size)), reducing_gap=2.0)
    turned = ImageOps.exif_transpose(picture)
    picture = _flat(turned if turned is not None else picture)
    size = drawing.fitting(*picture.size, look)
    if picture.size != size:
        picture = picture.resize(size)
    return found | {"rows": drawing.draw(picture, look)}


def _flat(picture: Image) -> Image:
    """Without transparency: on white, as most were made for."""
    from PIL import Image as Images

    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Images.new("RGBA", picture.size, "white")
        return Images.alpha_composite(ground, picture).convert("RGB")
    return picture.convert("RGB")


if __name__ == "__main__":
    main(sys.argv[1:])
