"""What sentences are made of: times, sizes, lists, and `clean`.

The rule: whatever came from people goes through `clean`, so that nothing in data can end a line or reach a terminal as
an escape.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

Fields = Mapping[str, Any]
Sentence = str | Callable[[Fields], str]

SEALED: Final = "(end-to-end encrypted: use chat)"
BLANK: Final = "(removed)"
LONGEST: Final = 32
"""The characters a name may have."""
CLOSED: Final = "a closed group"
"""What a group is called that has lost its name since."""
UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
BREAK: Final = re.compile("\r\n|\n")


def clean(text: str) -> str:
    """`text` with every control character, line separator and bidi override or isolate shown as U+FFFD.

    >>> clean("a\\x1b[31m\\r\\nb")
    'a�[31m��b'
    """
    return text if text.isprintable() else UNSAFE.sub("�", text)


def clock(at: int) -> str:
    """The local time of day of a moment in ms: `14:02`."""
    return minute(at // 60_000)


@lru_cache(maxsize=4096)
def minute(minute: int) -> str:
    return time.strftime("%H:%M", time.localtime(minute * 60))


def stamp(at: int) -> str:
    """The local date and time of a moment in ms: `2026-11-01 14:02:07`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at // 1000))


def date(at: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at // 1000))


def safe(value: Any) -> Any:
    """Fields with every text in them cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {key: safe(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [safe(part) for part in value]
    return value


def said(sentence: Sentence, fields: Fields) -> list[str]:
    text = sentence.format_map(fields) if isinstance(sentence, str) else sentence(fields)
    return text.split("\n") if text else []


def listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def brief(name: str) -> str:
    """What was typed for a name, no longer than a name can be.

    >>> brief("bob"), brief("b" * 3_000) == "b" * 32 + "…"
    ('bob', True)
    """
    return name if len(name) <= LONGEST else f"{name[:LONGEST]}…"


def because(why: str | None) -> str:
    return f": {why}" if why else "."


def times(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def wait(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def size(amount: float) -> str:
    """`2.1 MB`; a million bytes is one. What is less than a tenth of it: `12.3 kB`, `400 bytes`."""
    if amount < 1_000:
        return times(int(amount), "byte")
    return f"{amount / 1_000:.1f} kB" if amount < 99_950 else f"{amount / 1_000_000:,.1f} MB"


def span(seconds: float) -> str:
    """A rough length of time: `3m`."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return f"{seconds:.0f}s"


_UNITS: Final = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def kept(seconds: int | None, lines: int | None, *, otherwise: str = "for ever") -> str:
    """`for 30 days, while among the newest 500`."""
    parts = []
    if seconds is not None:
        size, unit = next((size, unit) for size, unit in _UNITS if seconds % size == 0)
        parts.append(f"for {times(seconds // size, unit)}")
    if lines is not None:
        parts.append(f"while among the newest {lines:,}")
    return ", ".join(parts) or otherwise
