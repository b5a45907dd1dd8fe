"""What a file that somebody sent is called here.

The rule: a sender chooses what a name says, never where a file goes. Of a name stays the last part, without anything
that a shell, a terminal or another system obeys.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 180
"""Bytes of a name in UTF-8. File systems take 255; ` (9999)` and what a file is called meanwhile need room, too."""
SUFFIX: Final = 20
"""Bytes of a suffix that a name which is too long keeps."""
UNNAMED: Final = "file"

_DEVICE: Final = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$)\s*(\..*)?")
_FORBIDDEN: Final = frozenset('<>:"|?*')
_SILENT: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Kinds of characters that are not seen, or turn what is: controls, overrides, half surrogates, line ends."""


def saved_as(name: str, number: int = 0) -> str:
    """What a file of this name is called here: one part of a path, good on any system. `number`: not the first one.

    >>> saved_as("../../etc/passwd"), saved_as("C:\\\\x\\\\con.txt"), saved_as("a\\nb.png"), saved_as("..")
    ('passwd', '_con.txt', 'a_b.png', 'file')
    >>> saved_as("cat.png", 1), saved_as("/tmp/notes", 2)
    ('cat (1).png', 'notes (2)')
    """
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    last = unicodedata.normalize("NFC", last)
    letters = ["_" if unicodedata.category(c) in _SILENT or c in _FORBIDDEN else c for c in last]
    last = "".join(" " if unicodedata.category(c) == "Zs" else c for c in letters)
    last = last.strip(" .") if last.strip(" ._-") else ""
    if last.startswith("-"):
        last = f"_{last[1:]}"  # else the next `rm *` takes it for an option
    if _DEVICE.fullmatch(last):
        last = f"_{last}"
    return _numbered(_short(last, LONGEST) or UNNAMED, number)


def _short(name: str, most: int) -> str:
    """At most so many bytes, the suffix kept."""
    if len(name.encode()) <= most:
        return name
    stem, dot, suffix = name.rpartition(".")
    suffix = f"{dot}{suffix}"
    if not stem or len(suffix.encode()) > SUFFIX:
        stem, suffix = name, ""
    return stem.encode()[: most - len(suffix.encode())].decode(errors="ignore").rstrip(" .") + suffix


def _numbered(name: str, number: int) -> str:
    if not number:
        return name
    stem, dot, suffix = name.rpartition(".")
    return f"{stem} ({number}){dot}{suffix}" if stem else f"{name} ({number})"
