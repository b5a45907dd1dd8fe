"""IRC's lines: bytes to command and parameters, and back, with tags (Modern IRC; IRCv3 message-tags).

The rule: nothing that came from data ends a line here. What goes out is cut to the 512 bytes of a line, never inside a
character; what comes in longer than allowed is refused, never cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

LINE: Final = 512
"""Bytes of a line with its CR LF, its tags not counted."""
TAGS: Final = 4_096
"""Bytes of a client's tags, with their `@` and the space behind them."""
ALL_TAGS: Final = 8_191
"""Bytes of a server's tags, likewise: no tag we send comes near it."""

_UNSAFE: Final = re.compile(
    "[\x00\x05-\x0e\x10\x12-\x15\x17-\x1c\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_ESCAPES: Final = str.maketrans({";": r"\:", " ": r"\s", "\\": r"\\", "\r": r"\r", "\n": r"\n", "\x00": "�"})
_ESCAPED: Final = {":": ";", "s": " ", "\\": "\\", "r": "\r", "n": "\n"}


class Message(NamedTuple):
    """A line as a client sent it."""

    tags: dict[str, str]
    command: str
    params: list[str]


class Line(NamedTuple):
    """A line as it goes out, without its end."""

    body: str
    tags: tuple[tuple[str, str], ...] = ()

    def tagged(self, *tags: tuple[str, str]) -> Line:
        """The line with these tags as well."""
        return Line(self.body, (*tags, *self.tags))


def parse(text: str) -> Message:
    """The parts of a line. There is none that has no parts: what is no command is an unknown one.

    >>> parse("@label=7 :x PRIVMSG  #ops :hi all")
    Message(tags={'label': '7'}, command='PRIVMSG', params=['#ops', 'hi all'])
    """
    tags: dict[str, str] = {}
    rest = text
    if rest.startswith("@"):
        head, _, rest = rest[1:].partition(" ")
        for tag in head.split(";"):
            name, _, value = tag.partition("=")
            if name:
                tags[name] = unescape(value)
    rest = rest.lstrip(" ")
    if rest.startswith(":"):
        rest = rest.partition(" ")[2].lstrip(" ")
    middle, colon, trailing = rest.partition(" :")
    words = [word for word in middle.split(" ") if word]
    command, *params = words or [""]
    if colon:
        params.append(trailing)
    return Message(tags, command.upper(), params)


def unescape(value: str) -> str:
    """A tag's value as it was meant: a backslash that escapes nothing is dropped."""
    if "\\" not in value:
        return value
    out, escaped = [], False
    for char in value:
        if escaped:
            out.append(_ESCAPED.get(char, char))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            out.append(char)
    return "".join(out)


def escape(value: str) -> str:
    r"""A tag's value as it is written.

    >>> escape("a b;c")
    'a\\sb\\:c'
    """
    return value.translate(_ESCAPES)


def clean(text: str) -> str:
    """`text` on one line and without what a terminal would obey; IRC's own marks of colour and weight stay.

    >>> clean("a\\x1b[31m\\r\\nb \\x02bold")
    'a�[31m��b \\x02bold'
    """
    return text if text.isprintable() else _UNSAFE.sub("�", text)


def cut(text: str, size: int) -> str:
    """As much of `text` as fits into `size` bytes."""
    if len(text) * 4 <= size:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= size else data[:size].decode("utf-8", "ignore")


def pieces(text: str, size: int, *, whole: bool = False) -> Iterator[str]:
    """`text` in pieces of at most `size` bytes each, between words where there are such; at least one. `whole`: they
    are put together again, so that the spaces at which they are cut stay."""
    while len(text.encode("utf-8", "replace")) > size:
        piece = cut(text, size)
        space = piece.rfind(" ")
        if space > len(piece) // 2:
            yield piece[: space + 1] if whole else piece[:space]
            text = text[space + 1 :]
        else:
            yield piece
            text = text[len(piece) :]
    yield text


def packed(words: Iterable[str], size: int) -> Iterator[str]:
    """`words` joined by spaces, in lines of at most `size` bytes; none without words."""
    line: list[str] = []
    length = 0
    for word in words:
        more = len(word.encode("utf-8", "replace")) + 1
        if line and length + more > size:
            yield " ".join(line)
            line, length = [], 0
        line.append(word)
        length += more
    if line:
        yield " ".join(line)


def dump(lines: Sequence[Line]) -> bytes:
    """Lines as they go out."""
    out = []
    for body, tags in lines:
        body = cut(clean(body), LINE - 2)
        if tags:
            head = ";".join(f"{name}={escape(value)}" if value else name for name, value in tags)
            out.append(f"@{head} {body}\r\n")
        else:
            out.append(f"{body}\r\n")
    return "".join(out).encode("utf-8", "replace")
