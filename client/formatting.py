"""Text of people, made safe and good to read: `*bold*` `_italic_` `~strike~` `` `code` ``, fences, emoji, colours.

The rule: everything passes `clean` before anything else, so nothing that somebody wrote moves the cursor, colours the
screen, turns the reading direction or ends a line. Markup is only ever *shown*: the text itself stays as typed.

A shown text is a list of fragments (style class, text), which a terminal colours and anything else joins.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final

from wcwidth import wcswidth, wcwidth

from chatd import texts
from client import emoji

Fragment = tuple[str, str]
Fragments = list[Fragment]

COLOURS: Final = 12
"""How many colours people share."""
FENCE: Final = "```"
_MARKS: Final = {"*": "class:bold", "_": "class:italic", "~": "class:strike", "`": "class:code"}
_INLINE: Final = re.compile(
    r"(?<![\w*_~`])(?P<mark>[*_~`])(?=\S)(?P<body>(?:(?!(?P=mark)).)+?)(?<=\S)(?P=mark)(?![\w*_~`])"
)
_LINK: Final = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;:!?)]")


def clean(text: str) -> str:
    """One line of somebody's text without anything that a terminal obeys; a tab is four spaces."""
    return texts.clean(text.replace("\t", "    "))


def inline(text: str, *, ascii_only: bool = False) -> Fragments:
    """One clean line with its markup applied. Code is left as it stands, and so are links.

    >>> inline("so *very* `a*b*c`")
    [('', 'so '), ('class:bold', 'very'), ('', ' '), ('class:code', 'a*b*c')]
    """
    found: Fragments = []
    at = 0
    for match in re.finditer(f"{_LINK.pattern}|{_INLINE.pattern}", text):
        if match.start() > at:
            found.append(("", _plain(text[at : match.start()], ascii_only)))
        if match["mark"] is None:
            found.append(("class:link", match[0]))
        elif match["mark"] == "`":
            found.append((_MARKS["`"], match["body"]))
        else:
            found.append((_MARKS[match["mark"]], _plain(match["body"], ascii_only)))
        at = match.end()
    if at < len(text):
        found.append(("", _plain(text[at:], ascii_only)))
    return found


def _plain(text: str, ascii_only: bool) -> str:
    return text if ascii_only else emoji.shown(text)


def block(text: str, *, ascii_only: bool = False) -> list[Fragments]:
    """A whole text, line by line; between fences everything is code."""
    rows: list[Fragments] = []
    fenced = False
    for row in map(clean, re.split("\r\n|\n", text)):
        if row.strip().startswith(FENCE):
            fenced = not fenced
            rest = row.strip().removeprefix(FENCE)
            if rest.endswith(FENCE) and fenced and len(rest) > len(FENCE):
                rows.append([("class:code", rest.removesuffix(FENCE))])
                fenced = False
            continue
        rows.append([("class:code", row)] if fenced else inline(row, ascii_only=ascii_only))
    return rows or [[("class:code", clean(text))]]


def colour(name: str) -> str:
    """The style of a person's name: the same everywhere, always."""
    return f"class:person{zlib.crc32(name.encode()) % COLOURS}"


def plain(fragments: Iterable[Fragment]) -> str:
    """The text alone."""
    return "".join(text for _, text in fragments)


def to_ascii(text: str) -> str:
    """`text` for a terminal that has ASCII only.

    >>> to_ascii("né 🚀")
    'n? ?'
    """
    return text.encode("ascii", "replace").decode()


def width(text: str) -> int:
    """How many columns a clean text takes."""
    found = wcswidth(text)
    return found if found >= 0 else sum(max(0, wcwidth(letter)) for letter in text)


def cut(text: str, columns: int, sign: str = "…") -> str:
    """`text` within so many columns, its loss shown.

    >>> cut("abcdef", 4)
    'abc…'
    """
    if width(text) <= columns:
        return text
    taken, used = [], width(sign)
    for letter in text:
        used += max(0, wcwidth(letter))
        if used > columns:
            break
        taken.append(letter)
    return "".join(taken) + sign


def wrapped(row: Iterable[Fragment], columns: int) -> list[Fragments]:
    """A row as the rows of a terminal that it takes.

    >>> wrapped([("", "ab"), ("class:bold", "cd漢")], 3)
    [[('', 'ab'), ('class:bold', 'c')], [('class:bold', 'd漢')]]
    """
    found: list[Fragments] = [[]]
    used = 0
    for style, text in row:
        start = 0
        for at, letter in enumerate(text):
            wide = max(0, wcwidth(letter))
            if used and used + wide > columns:
                found[-1] += [(style, text[start:at])] if at > start else []
                found.append([])
                start = at
                used = 0
            used += wide
        if start < len(text):
            found[-1].append((style, text[start:]))
    return found


def rows(text: str, columns: int) -> int:
    """How many rows of a terminal a text takes."""
    return max(1, -(-width(text) // max(1, columns)))
